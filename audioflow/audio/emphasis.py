"""Pre-emphasis: a filter that makes speech about as loud at high frequencies as at low ones, and its inverse."""

from torch import Tensor
from torch.nn import functional


def emphasize(x: Tensor, coefficient: float) -> Tensor:
    """``u_t = x_t - a x_{t-1}`` along the last axis; silence comes before the start.

    >>> import torch
    >>> emphasize(torch.tensor([1.0, 1.0, 0.0]), 0.5).tolist()
    [1.0, 0.5, -0.5]
    """
    return x - coefficient * _later(x, 1) if coefficient else x


def deemphasize(u: Tensor, coefficient: float) -> Tensor:
    r"""Undo :func:`emphasize`: ``x_t = u_t + a x_{t-1}``.

    All steps at once, with ``D`` a delay of one step, by
    :math:`(1 - aD)^{-1} = (1 + aD)(1 + a^2D^2)(1 + a^4D^4) \cdots`.

    >>> import torch
    >>> deemphasize(torch.tensor([1.0, 0.5, -0.5]), 0.5).tolist()
    [1.0, 1.0, 0.0]
    """
    delay, factor = 1, coefficient
    while factor and delay < u.shape[-1]:
        u = u + factor * _later(u, delay)
        delay, factor = 2 * delay, factor * factor
    return u


def _later(x: Tensor, steps: int) -> Tensor:
    """``x`` delayed, with zeros before its start: ``a b c`` -> ``0 a b``."""
    return functional.pad(x, (steps, 0))[..., : x.shape[-1]]
