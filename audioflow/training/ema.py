"""A moving average of the weights: smoother than the weights of any one step, and what synthesis uses."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def decay_at(updates: int, decay: float) -> float:
    """Give the share of the old average that is kept at one update.

    It rises as ``(1 + updates) / (10 + updates)`` until it meets ``decay``, so that the random start is soon forgotten.

    Args:
        updates: updates made before this one.
        decay: the highest share, in [0, 1).
    """
    return min(decay, (1 + updates) / (10 + updates))


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Make a copy of the model whose parameters follow the exponential moving average.

    At every ``update_parameters(model)``: ``average = d * average + (1 - d) * weight`` with ``d`` from
    :func:`decay_at`. The first update copies. Buffers (flags, statistics) are copied at each update, never averaged.

    Args:
        model: the model in training.
        decay: the highest share of the old average that is kept, in [0, 1).
    """
    average = AveragedModel(model)
    average.multi_avg_fn = _lerp(average, decay)
    average.module.eval()
    for parameter in average.parameters():
        parameter.requires_grad_(False)
    return average


def _lerp(average: AveragedModel, decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], _updates: Tensor | int) -> None:
        # The average's own count lies on the CPU; the copy that comes as an argument would make the CPU wait for a GPU.
        torch._foreach_lerp_(list(averages), list(weights), 1 - decay_at(int(average.n_averaged), decay))

    return update
