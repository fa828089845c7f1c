"""Perceptual distances: the teacher's hidden activations on a sample and on the recording."""

from collections.abc import Sequence

import torch
from torch import Tensor

SMALL = 1e-8


def feature_distance(wanted: Sequence[Tensor], found: Sequence[Tensor]) -> Tensor:
    r"""Squared difference of activations as a share of their energy, averaged over layers.

    .. math:: \text{mean}_l\; \lVert h_l(x) - h_l(y) \rVert^2 / \lVert h_l(y) \rVert^2

    Args:
        wanted: activations on the recordings, ``[B, C, T]`` each.
        found: activations on the samples.

    References:
        van den Oord et al., "Parallel WaveNet", 2017, https://arxiv.org/abs/1711.10433 (features of a recogniser)
    """
    return torch.stack([_share(a.float(), b.float()) for a, b in zip(wanted, found, strict=True)]).mean()


def gram_distance(wanted: Sequence[Tensor], found: Sequence[Tensor]) -> Tensor:
    r"""The same of Gram matrices :math:`G = h h^T / T`: which features go together, wherever in time (a style loss).

    References:
        Gatys, Ecker and Bethge, "Image Style Transfer", 2016; van den Oord et al., "Parallel WaveNet", 2017
    """
    return feature_distance([gram(one) for one in wanted], [gram(one) for one in found])


def gram(h: Tensor) -> Tensor:
    """``h [B, C, T]`` -> mean products of channels, ``[B, C, C]``, in float32."""
    h = h.float()
    return h @ h.transpose(1, 2) / h.shape[-1]


def _share(wanted: Tensor, found: Tensor) -> Tensor:
    return (found - wanted).square().sum() / wanted.square().sum().clamp(min=SMALL)
