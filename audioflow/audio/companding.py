"""Mu-law companding: 256 classes that are fine where speech is quiet and coarse where it is loud."""

import math

import torch
from torch import Tensor


def mu_law_encode(x: Tensor, classes: int = 256) -> Tensor:
    """Amplitudes to class indices.

    With ``mu = classes - 1``: ``y = sign(x) ln(1 + mu |x|) / ln(1 + mu)``, ``index = round((y + 1) / 2 * mu)``.

    Args:
        x: any shape, in [-1, 1]; values beyond are clamped.
        classes: number of classes, at least 2.

    Returns:
        int64 in 0..classes-1, shape of ``x``.

    References:
        ITU-T Recommendation G.711, "Pulse code modulation (PCM) of voice frequencies", 1988.

    Example:
        >>> mu_law_encode(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([  0, 128, 255])
    """
    mu = classes - 1
    x = x.clamp(-1.0, 1.0)
    companded = x.sign() * torch.log1p(mu * x.abs()) / math.log1p(mu)
    return torch.floor((companded + 1.0) / 2.0 * mu + 0.5).long()


def mu_law_decode(index: Tensor, classes: int = 256) -> Tensor:
    """Class indices to amplitudes: ``x = sign(y) ((1 + mu)^|y| - 1) / mu`` with ``y = 2 index / mu - 1``.

    Args:
        index: any shape, in 0..classes-1.
        classes: number of classes, at least 2.

    Returns:
        float32 (float64 where ``index`` is float64) in [-1, 1], shape of ``index``.
    """
    mu = classes - 1
    companded = 2.0 * index.to(torch.promote_types(index.dtype, torch.float32)) / mu - 1.0
    amplitude = torch.expm1(companded.abs() * math.log1p(mu)) / mu
    return companded.sign() * amplitude.clamp(max=1.0)  # rounding can pass 1 by a hair
