"""The slow twin of every autoregressive network: nothing is kept from slot to slot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from audioflow.nets.masks import wide
from audioflow.nets.slots import AutoregressiveNet, Slot


@dataclass
class UncachedState:
    """What is known of the signal, ``x [B, C, T]`` with zeros in the slots to come, and how many slots are known."""

    known: int
    slots: list[Slot]
    x: Tensor
    cond: Tensor | None
    mask: Tensor | None


class Uncached(AutoregressiveNet[UncachedState]):
    """The same network, run over the whole signal for each slot: the specification of its step.

    Args:
        network: shares its weights with this one.
    """

    def __init__(self, network: AutoregressiveNet[Any]) -> None:
        super().__init__()
        self.network = network

    @override
    def forward(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        params: Tensor = self.network(x, cond, mask)
        return params

    @override
    def slots(self, steps: int) -> Iterator[Slot]:
        return self.network.slots(steps)

    @override
    def init_state(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> UncachedState:
        return UncachedState(0, list(self.slots(z.shape[-1])), torch.zeros_like(wide(z)), cond, mask)

    @override
    def step(self, state: UncachedState, previous: Tensor | None) -> tuple[Tensor, UncachedState]:
        if previous is not None:
            channels, steps = state.slots[state.known]
            # Gradients may need the signal as it was.
            state.x = state.x.clone()
            state.x[:, channels, steps] = previous
            state.known += 1
        channels, steps = state.slots[state.known]
        params = self(state.x, state.cond, state.mask).unflatten(1, (-1, state.x.shape[1]))
        return params[:, :, channels, steps].flatten(1, 2), state

    @override
    def joined(self, pieces: Sequence[Tensor]) -> Tensor:
        return self.network.joined(pieces)

    @property
    @override
    def context_steps(self) -> int:
        return self.network.context_steps

    @property
    @override
    def context_of_data(self) -> int | None:
        return self.network.context_of_data
