"""The engine ``cpu``: one compiled loop over all samples, layers and utterances.

``lanes`` has sixteen numbers as one value, ``vectors`` the inner product, ``laws`` the draws, ``loop`` the step;
``weights`` and ``conditioning`` lay out what it reads, and ``engine`` is what the vocoders call.

The compiler is numba, which librosa brings along: it needs no tool chain on the user's machine, and keeps what it has
compiled from run to run. A step of a WaveNet is a chain of small products, each of which waits for the one before, so
what counts is that weights come from the cache at full width and that nothing else costs anything. An extension in C++
would run the same loads and products, and would have to be built for every system.
"""
