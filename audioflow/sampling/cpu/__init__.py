"""The engines ``cpu``, ``cpu-int16`` and ``cpu-int8``: one compiled loop over all steps, layers and utterances.

``lanes`` has sixteen numbers as one value, ``vectors`` the inner product, ``quantized`` that of 8-bit numbers; ``laws``
has the draws, ``groups`` those of several samples at once; ``loop`` the step, ``byte_loop`` the step in 8 bits.
``weights``, ``byte_weights``, ``group_weights`` and ``conditioning`` lay out what it reads, and ``engine`` is what the
vocoders call; ``forced`` says what a network makes of given samples there.

The compiler is numba, which librosa brings along: it needs no tool chain on the user's machine, and keeps what it has
compiled from run to run. A step of a WaveNet is a chain of small products, each of which waits for the one before, so
what counts is that weights come from the cache at full width and that nothing else costs anything. An extension in C++
would run the same loads and products, and would have to be built for every system.
"""

from functools import cache


@cache
def int8_works() -> bool:
    """Whether the CPU multiplies 8-bit numbers four at a time (AVX-512 VNNI): the engine ``cpu-int8`` needs it."""
    try:
        # The compiler takes half a second to load.
        from llvmlite import binding  # noqa: PLC0415
    except ImportError:
        return False
    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:  # not known of this kind of CPU
        return False
    return bool(features.get("avx512vnni", False)) and bool(features.get("avx512bw", False))
