"""The causal WaveNet as a conditioner of an autoregressive flow: a slot is one step of time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from audioflow.nets.conditioning import Conditioning
from audioflow.nets.slots import AutoregressiveNet, Slot
from audioflow.nets.wavenet import CausalWaveNet, StepState


@dataclass
class CausalState:
    """A WaveNet's state, the conditioning of all layers step by step, ``[B, R]`` each, and silence ``[B, C]``."""

    steps: StepState
    shares: Sequence[Tensor]
    silence: Tensor


class CausalConditioner(AutoregressiveNet[CausalState]):
    """Parameters at step ``t`` from ``x`` before ``t`` and the conditioning up to ``t``.

    Args:
        network: from ``C`` channels to ``P * C``.
    """

    def __init__(self, network: CausalWaveNet) -> None:
        super().__init__()
        self.network = network

    @override
    def forward(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        params: Tensor = self.network(x, self.network.shares(Conditioning.of_steps(cond)), mask)
        return params

    @override
    def slots(self, steps: int) -> Iterator[Slot]:
        return ((slice(None), slice(t, t + 1)) for t in range(steps))

    @override
    def init_state(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> CausalState:
        projected = self.network.project(Conditioning.of_steps(cond))
        # Cut apart once: the gradient of a slice is as large as the whole.
        shares = () if projected is None else projected.unbind(dim=-1)
        return CausalState(self.network.init_state(z.shape[0]), shares, torch.zeros_like(z[..., 0]))

    @override
    def step(self, state: CausalState, previous: Tensor | None) -> tuple[Tensor, CausalState]:
        share = state.shares[min(state.steps.step, len(state.shares) - 1)] if state.shares else None
        x = state.silence if previous is None else previous[..., 0]
        params, state.steps = self.network.step(state.steps, x, share)
        return params[..., None], state

    @override
    def joined(self, pieces: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(pieces), dim=-1)

    @property
    @override
    def context_steps(self) -> int:
        return self.network.receptive_field

    @property
    @override
    def context_of_data(self) -> None:
        return None
