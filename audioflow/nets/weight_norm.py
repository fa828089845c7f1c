"""Weight normalisation, put on and folded away in one place.

References:
    Salimans and Kingma, "Weight Normalization", 2016, https://arxiv.org/abs/1602.07868
"""

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.parametrizations import _WeightNorm

Layer = TypeVar("Layer", bound=nn.Module)


def weight_normed(layer: Layer) -> Layer:
    """Put weight normalisation ``w = g v / |v|`` (one ``g`` per output channel) on a layer and return it."""
    parametrizations.weight_norm(layer)
    return layer


def joined_weights(layers: Iterable[nn.Module]) -> Tensor:
    """Weights of several layers one below the other, ``[out + out + ..., in, ...]``.

    Where all of them are normalised, and nothing more is done to them, it is done to all at once.
    """
    found = list(layers)
    if not all(_only_normed(layer) for layer in found):
        return torch.cat([layer.weight for layer in found])  # type: ignore[misc]
    scales, directions = ([getattr(x.parametrizations.weight, f"original{i}") for x in found] for i in (0, 1))  # type: ignore[union-attr]
    joined: Tensor = torch._weight_norm(torch.cat(directions), torch.cat(scales), 0)
    return joined


def _only_normed(layer: nn.Module) -> bool:
    if not parametrize.is_parametrized(layer, "weight"):
        return False
    steps = layer.parametrizations.weight  # type: ignore[union-attr]
    return len(steps) == 1 and isinstance(steps[0], _WeightNorm) and steps[0].dim == 0  # type: ignore[arg-type,index,union-attr]


def fold_weight_norm(module: nn.Module) -> int:
    """Replace ``g v / |v|`` by its value in every layer below ``module``; the outputs stay the same.

    Returns:
        The number of layers that were folded; 0 when nothing was left to fold.
    """
    folded = 0
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
            folded += 1
    return folded
