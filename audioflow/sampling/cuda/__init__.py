"""The engines ``cuda``, ``cuda-fp16`` and ``cuda-graph``: autoregressive WaveNets on a GPU.

::

    engine          draws block by block, for as many utterances as there are
    conditioning    what mel and speaker add, block by block
    kernel          one program draws all samples of a block for up to 16 utterances; its laws are in ``laws``
    weights         a network as the kernel reads it
    graph           the steps of the engine ``cached``, recorded once and played back
"""
