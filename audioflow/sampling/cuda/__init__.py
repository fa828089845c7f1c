"""The engines ``cuda``, ``cuda-fp16`` and ``cuda-graph``: autoregressive WaveNets on a GPU.

::

    engine          draws block by block, for as many utterances as there are
    conditioning    what mel and speaker add, block by block
    kernel          one program draws all samples of a block for up to 16 utterances; its laws are in ``laws``, groups
                    of samples in ``groups``, and ``products`` are what both are made of
    weights         a network as the kernel reads it; its law of a group in ``group_weights``
    graph           the steps of the engine ``cached``, recorded once and played back
"""
