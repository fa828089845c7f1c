"""What a run makes small, and how its model is judged on held-out speech."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from audioflow.training.batches import Batch
from audioflow.training.validation import HeldOut
from audioflow.vocoders import Vocoder

Seeded = Callable[[str], torch.Generator]
"""Gives the generator of one purpose in one step, such as ``seeded("student")``."""

Figures = dict[str, float]


class Objective(ABC):
    """One way to train a vocoder.

    Attributes:
        forward_methods: methods of the vocoder that :meth:`loss` calls, besides ``forward``.
        score: name of the held-out figure that decides which weights are the best; higher is better.
        helpers: what is trained beside the vocoder and thrown away afterwards.
    """

    forward_methods: ClassVar[tuple[str, ...]]
    score: ClassVar[str]
    helpers: nn.Module | None = None

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, seeded: Seeded) -> tuple[Tensor, Figures]:
        """Give the loss of a batch, a scalar, and what else is worth a line in the log.

        Args:
            model: the vocoder, or a wrapper around it.
            batch: whole segments, on the device of the model.
            seeded: where randomness comes from.
        """

    @abstractmethod
    def validate(self, vocoder: Vocoder, held_out: HeldOut, fabric: Fabric) -> Figures:
        """Judge a vocoder on held-out speech, split over the processes; ``score`` is among the figures."""

    def prepare(self, vocoder: Vocoder) -> None:  # noqa: B027 - most have nothing to do
        """Give a vocoder what the objective has for it, before the optimizer is made and a state is read."""
