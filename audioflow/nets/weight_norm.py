"""Weight normalisation, put on and folded away in one place.

References:
    Salimans and Kingma, "Weight Normalization", 2016, https://arxiv.org/abs/1602.07868
"""

from typing import TypeVar

from torch import nn
from torch.nn.utils import parametrizations, parametrize

Layer = TypeVar("Layer", bound=nn.Module)


def weight_normed(layer: Layer) -> Layer:
    """Put weight normalisation ``w = g v / |v|`` (one ``g`` per output channel) on a layer and return it."""
    parametrizations.weight_norm(layer)
    return layer


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
