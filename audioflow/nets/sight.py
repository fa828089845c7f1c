r"""What a unit may see: one rule, from which every mask and every padding in the library follows.

Each unit has a *degree*: it may see the units of its layer's input whose degree is not larger. And each tap of a
convolution looks at an *offset* in time. :func:`visible` joins the two. In the pictures, rows are outputs, columns are
inputs, one block for each offset, and ``#`` is a weight that stays::

    degrees, all of time     causal, no degrees      degrees and causality together
    (MADE, MAF over rows)    (WaveNet, IAF)          (every sample after every earlier one)
      -1    0   +1             -1    0   +1             -1    0   +1
      #..  #..  #..            ###  ###  ...            ###  #..  ...
      ##.  ##.  ##.            ###  ###  ...            ###  ##.  ...
      ###  ###  ###            ###  ###  ...            ###  ###  ...

A coupling layer has two degrees; NICE, RealNVP and Glow leave out the weights that would be zero, by giving one half to
the network and the other half its outputs.

References:
    Germain, Gregor, Murray and Larochelle, "MADE", 2015, https://arxiv.org/abs/1502.03509
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Sight = Literal["all", "past", "before"]
"""Along an axis: both sides; up to and with the present; the past without the present."""

TOLD = -1
"""Degree of what is known from the start, such as the mel: every unit may see it."""


def tap_offsets(kernel_size: int, dilation: int, sight: Sight) -> list[int]:
    """Where the taps of a convolution look, relative to their output.

    >>> tap_offsets(3, 2, "all"), tap_offsets(3, 2, "past"), tap_offsets(3, 2, "before")
    ([-2, 0, 2], [-4, -2, 0], [-5, -3, -1])

    Raises:
        ValueError: an even kernel that sees both sides has no middle.
    """
    if sight == "all" and kernel_size % 2 == 0:
        raise ValueError(f"a layer that sees both sides needs an odd kernel_size, not {kernel_size}")
    last = {"all": (kernel_size - 1) // 2 * dilation, "past": 0, "before": -1}[sight]
    return [last - dilation * (kernel_size - 1 - tap) for tap in range(kernel_size)]


def padding(offsets: Sequence[int]) -> tuple[int, int]:
    """Zeros before and after a signal, so that a convolution with these offsets keeps its length.

    Below zero means that steps are cut off there: a layer that sees only what came before never sees the last step.

    >>> padding([-4, -2, 0]), padding([-5, -3, -1])
    ((4, 0), (5, -1))
    """
    return -min(offsets), max(offsets)


def visible(out_degrees: Tensor, in_degrees: Tensor, offsets: Sequence[int] = (0,), sight: Sight = "all") -> Tensor:
    r"""Which inputs each output may see at each offset: boolean ``[out, in, taps]``.

    With ``n`` the degree of an output, ``m`` that of an input and ``o`` the offset of a tap,

    .. math::
        \text{all: } m \le n \qquad \text{past: } o < 0 \text{ or } (o = 0 \text{ and } m \le n) \qquad
        \text{before: } o < 0

    Each relation is transitive, so a stack of such layers keeps it.

    >>> visible(torch.tensor([0, 1]), torch.tensor([0, 1]))[..., 0].int().tolist()
    [[1, 0], [1, 1]]
    >>> visible(torch.tensor([0, 1]), torch.tensor([0, 1]), [-1, 0, 1], "past")[0].int().tolist()
    [[1, 1, 0], [1, 0, 0]]
    """
    by_degree = (in_degrees <= out_degrees[:, None])[..., None]
    offset = torch.tensor(list(offsets), device=in_degrees.device)
    if sight == "all":
        return by_degree.expand(-1, -1, len(offset))
    present = (offset == 0) & by_degree if sight == "past" else torch.zeros_like(by_degree)
    return (offset < 0) | present


def spread_degrees(units: int, lowest: int, highest: int) -> Tensor:
    """Degrees of ``units`` hidden units, from ``lowest`` to ``highest`` in equal shares, in order.

    >>> spread_degrees(6, 0, 2).tolist()
    [0, 0, 1, 1, 2, 2]
    """
    return lowest + torch.arange(units) * (highest - lowest + 1) // units
