"""Signals by rows: step by step, and the utterances of a step side by side, ``[T, B, C]``.

A look ``o`` steps away is one ``o B`` rows away, in all utterances alike, so convolutions are products of matrices. It
is how :mod:`audioflow.compiled.cpu_stack` works; what comes before and after it in a network may as well.
"""

from torch import Tensor
from torch.nn import functional

from audioflow.nets.masked_convolution import MaskedConv1d


def rows_of(x: Tensor) -> Tensor:
    """``x [B, C, T]`` as ``[T, B, C]``, side by side in memory; copied unless it lies like this already."""
    return x.permute(2, 0, 1).contiguous()


def channels_of(rows: Tensor) -> Tensor:
    """``rows [T, B, C]`` as ``[B, C, T]``, where they are: nothing is copied."""
    return rows.permute(1, 2, 0)


def convolved(layer: MaskedConv1d, rows: Tensor) -> Tensor:
    """What a layer without dilation makes of ``rows [T, B, in]``: ``[T, B, out]``."""
    first, last = layer.offsets[0], layer.offsets[-1]
    if first or last:
        around = functional.pad(rows, (0, 0, 0, 0, -first, last))
        rows = around.unfold(0, layer.kernel_size[0], 1).flatten(2)
    return functional.linear(rows, layer.weight.flatten(1), layer.bias)
