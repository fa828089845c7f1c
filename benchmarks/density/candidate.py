"""What is compared: one architecture, as each library builds it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MODELS = {
    "maf": "MAF, affine",
    "realnvp": "coupling, affine",
    "nsf": "coupling, splines",
    "nsf-ar": "MAF, splines",
}
"""The models, by the names that ``--only`` knows."""


@dataclass(frozen=True)
class Architecture:
    """The same for every library.

    Conditioners have two hidden layers and ReLU. The order of the values is reversed from one autoregressive layer to
    the next; couplings transform the odd values, then the even ones, and so on.

    Attributes:
        features: numbers in a vector, ``D``.
        hidden: units of each hidden layer.
        layers: autoregressive or coupling layers.
        bins: of a spline.
        bound: a spline maps ``[-bound, bound]`` to itself and leaves the rest as it is.
    """

    features: int
    hidden: int
    layers: int = 5
    bins: int = 8
    bound: float = 5.0

    @property
    def sizes(self) -> list[int]:
        """Units of the hidden layers."""
        return [self.hidden, self.hidden]


class Density(nn.Module, ABC):
    """A library's flow behind the two methods that are measured."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """``x [B, D]`` to nats ``[B]``."""

    @abstractmethod
    def sample(self, count: int) -> Tensor:
        """Vectors ``[count, D]``."""


@dataclass(frozen=True)
class Candidate:
    """A model of a library.

    Attributes:
        model: a name of ``MODELS``.
        library: as the table shows it.
        build: makes the untrained flow; its weights come from torch's global generator.
        note: in what it is not the same as the others.
    """

    model: str
    library: str
    build: Callable[[Architecture], Density]
    note: str

    def seeded(self, architecture: Architecture, seed: int) -> Density:
        """Build with weights that the seed decides."""
        torch.manual_seed(seed)
        return self.build(architecture)


def parameters_of(model: nn.Module) -> int:
    """Count what is trained. Weights that a mask holds at zero count too, in every library."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
