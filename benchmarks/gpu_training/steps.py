"""A training step on a device, without a look at its numbers: the host never waits for the device."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from audioflow.flows import Around
from audioflow.training.batches import Batch
from audioflow.training.objectives import Objective
from audioflow.training.recipe import TrainConfig
from audioflow.training.seeds import generator_for
from audioflow.vocoders import Vocoder

Run = Callable[[Batch], Tensor]
"""Leaves the gradients of a batch in the weights, and gives the loss."""

WARM_UPS = 3
"""Runs before a recording: libraries are set up, kernels are chosen, memory is laid out."""


@dataclass(frozen=True)
class Setup:
    """How a step is made.

    Attributes:
        batch: segments.
        precision: ``32-true`` or ``bf16-mixed``.
        compiled: whether torch.compile makes the kernels.
        graphed: whether forward and backward pass are a recorded CUDA graph.
    """

    batch: int
    precision: str
    compiled: bool = False
    graphed: bool = False

    def __str__(self) -> str:
        ways = [name for name in ("compiled", "graphed") if getattr(self, name)]
        return ", ".join([f"batch {self.batch}", self.precision, *ways])


class _Compiled:
    """A vocoder whose likelihood is compiled."""

    def __init__(self, vocoder: Vocoder) -> None:
        self.log_prob = torch.compile(vocoder.log_prob)


class Stepper:
    """Makes steps of a vocoder.

    A step whose loss or gradient is not finite changes neither weights nor optimizer; whether it was one is known on
    the device, so nobody waits.

    Args:
        vocoder: the model, on its device, in training mode.
        objective: what is made small.
        optimizer: a fused AdamW.
        clip: largest norm of the gradient, or None.
        setup: how steps are made.
    """

    def __init__(
        self,
        vocoder: Vocoder,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        clip: float | None,
        setup: Setup,
    ) -> None:
        self.setup, self.optimizer = setup, optimizer
        self.clip = float("inf") if clip is None else clip
        self.weights = [weight for weight in vocoder.parameters() if weight.requires_grad]
        self.objective = objective
        self.model = cast(nn.Module, _Compiled(vocoder) if setup.compiled else vocoder)
        self.device = next(vocoder.parameters()).device
        self._run: Run | None = None

    def step(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Make a step; give its loss, the norm of its gradient before clipping, and 1 where it was skipped, else 0."""
        if not self.setup.graphed:
            forget_gradients(self.weights)
        if self._run is None:
            self._run = record(self.passes, batch, self.weights) if self.setup.graphed else self.passes
        loss = self._run(batch)
        norm = nn.utils.clip_grad_norm_(self.weights, self.clip, foreach=True)
        skipped = 1.0 - (torch.isfinite(loss) & torch.isfinite(norm)).float()
        # What a gradient scaler tells a fused optimizer of gradients that overflowed.
        self.optimizer.found_inf = skipped  # type: ignore[attr-defined]
        self.optimizer.step()
        return loss, norm, skipped

    def passes(self, batch: Batch) -> Tensor:
        """Forward and backward pass; gradients are added to those that are there."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.setup.precision == "bf16-mixed"):
            loss, _ = self.objective.loss(self.model, batch, generator_for)
        loss.backward()
        return loss.detach()


def forget_gradients(weights: Iterable[Tensor]) -> None:
    """Let go of gradients, so that the next ones are not added to them."""
    for weight in weights:
        weight.grad = None


def record(passes: Run, first: Batch, weights: Sequence[Tensor]) -> Run:
    """Record what a batch makes the GPU do; the result does it with other batches of the same shapes.

    Args:
        passes: forward and backward pass; they do not wait for the GPU, and take no numbers from the host.
        first: a batch.
        weights: whose gradients the passes leave.
    """
    static = _mapped(first, torch.clone)
    side, current = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            passes(static)
    current.wait_stream(side)
    # With none there, each replay writes its gradients where the recorded pass did, instead of adding them up.
    forget_gradients(weights)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = passes(static)

    def replay(batch: Batch) -> Tensor:
        for place, x in zip(_tensors(static), _tensors(batch), strict=True):
            place.copy_(x)
        graph.replay()
        return loss.clone()

    return replay


def _tensors(batch: Batch) -> list[Tensor]:
    around = () if batch.around is None else batch.around
    return [x for x in (batch.wav, batch.mel, batch.speaker, *around) if x is not None]


def _mapped(batch: Batch, function: Callable[[Tensor], Tensor]) -> Batch:
    speaker = None if batch.speaker is None else function(batch.speaker)
    around = None if batch.around is None else Around(*(function(x) for x in batch.around))
    return replace(batch, wav=function(batch.wav), mel=function(batch.mel), speaker=speaker, around=around)


def optimizer_for(vocoder: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The recipe's optimizer, as one kernel."""
    weights = [weight for weight in vocoder.parameters() if weight.requires_grad]
    return torch.optim.AdamW(weights, config.learning_rate, config.betas, config.eps, config.weight_decay, fused=True)
