"""The contract that every invertible map keeps, and the two ways to combine maps."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from audioflow.nets.masks import masked

Direction = Literal["to_data", "to_noise"]


class Bijection(nn.Module, ABC):
    r"""An invertible map between data ``x`` and noise ``z``, both ``[B, C, T]``, told about ``cond [B, M, T]``.

    .. math::
        z = f(x) \qquad \log p(x) = \log p(z) + \log|\det \partial f / \partial x| \qquad x = f^{-1}(z)

    Both directions return the log-determinant of **their own** Jacobian, summed over the valid steps of each utterance,
    ``[B]``, in float32 or wider; those of the two directions add up to zero. Where ``mask [B, 1, T]`` is zero the input
    is ignored and the output is zero.
    """

    @abstractmethod
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data to noise: ``(z, log_det)``."""

    @abstractmethod
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Noise to data: ``(x, log_det)``."""

    def initialize(
        self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, direction: Direction = "to_noise"
    ) -> Tensor:
        """Let the layers that start from data take their statistics of ``x``, in order; called before training.

        A layer that has its statistics keeps them; most have none to take.

        Args:
            x: the first data, ``[B, C, T]``.
            cond: ``[B, M, T]``.
            mask: ``[B, 1, T]``.
            direction: in which ``x`` goes through the map.

        Returns:
            What the map, started, makes of ``x`` in that direction: the first data of the map that comes next.
        """
        return (self.to_noise if direction == "to_noise" else self.to_data)(x, cond, mask)[0]

    @property
    def sequential(self) -> Direction | None:
        """The direction that runs step by step, if one does."""
        return None

    @property
    def constant_log_det(self) -> bool:
        """Whether the log-determinant is the same for every ``x`` of the same length."""
        return False

    @property
    def time_multiple(self) -> int:
        """``T``, and the length of every utterance, must be a multiple of this."""
        return 1

    def reach(self, direction: Direction) -> int | None:
        """Steps on each side whose input or conditioning has a say in one step of the output; ``None``: no limit."""
        return 0


class Chain(Bijection):
    """Maps applied one after another, in the order from data to noise.

    >>> from audioflow.flows import Chain, Permutation
    >>> chain = Chain([Permutation([1, 0]), Permutation([1, 0])])
    >>> x = torch.randn(1, 2, 4)
    >>> bool((chain.to_noise(x)[0] == x).all())
    True
    """

    def __init__(self, bijections: Iterable[Bijection]) -> None:
        super().__init__()
        self.bijections = nn.ModuleList(bijections)

    def _maps(self) -> list[Bijection]:
        return list(self.bijections)  # type: ignore[arg-type]

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, total = masked(x, mask), no_log_det(x)
        for bijection in self._maps():
            x, log_det = bijection.to_noise(x, cond, mask)
            total = total + log_det
        return x, total

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, total = masked(z, mask), no_log_det(z)
        for bijection in reversed(self._maps()):
            z, log_det = bijection.to_data(z, cond, mask)
            total = total + log_det
        return z, total

    @override
    def initialize(
        self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, direction: Direction = "to_noise"
    ) -> Tensor:
        x = masked(x, mask)
        for bijection in self._maps()[:: 1 if direction == "to_noise" else -1]:
            x = bijection.initialize(x, cond, mask, direction)
        return x

    @property
    def sequential(self) -> Direction | None:
        """A direction in which some member is sequential (``"to_data"`` if there is one for each)."""
        directions = {bijection.sequential for bijection in self._maps()}
        return "to_data" if "to_data" in directions else "to_noise" if "to_noise" in directions else None

    @property
    @override
    def constant_log_det(self) -> bool:
        return all(bijection.constant_log_det for bijection in self._maps())

    @property
    @override
    def time_multiple(self) -> int:
        return math.lcm(*(bijection.time_multiple for bijection in self._maps()))

    @override
    def reach(self, direction: Direction) -> int | None:
        return sum_of_reaches(bijection.reach(direction) for bijection in self._maps())


class Wrapper(Bijection):
    """A map around another one, whose facts are the same where it does not say otherwise."""

    def __init__(self, inner: Bijection) -> None:
        super().__init__()
        self.inner = inner

    @property
    @override
    def sequential(self) -> Direction | None:
        return self.inner.sequential

    @property
    @override
    def constant_log_det(self) -> bool:
        return self.inner.constant_log_det

    @property
    @override
    def time_multiple(self) -> int:
        return self.inner.time_multiple

    @override
    def reach(self, direction: Direction) -> int | None:
        return self.inner.reach(direction)


class Invert(Wrapper):
    """The same map with its two directions exchanged."""

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inner.to_data(x, cond, mask)

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inner.to_noise(z, cond, mask)

    @override
    def initialize(
        self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, direction: Direction = "to_noise"
    ) -> Tensor:
        return self.inner.initialize(x, cond, mask, "to_data" if direction == "to_noise" else "to_noise")

    @property
    @override
    def sequential(self) -> Direction | None:
        exchanged: dict[Direction | None, Direction | None] = {"to_data": "to_noise", "to_noise": "to_data", None: None}
        return exchanged[self.inner.sequential]

    @override
    def reach(self, direction: Direction) -> int | None:
        return self.inner.reach("to_noise" if direction == "to_data" else "to_data")


def no_log_det(x: Tensor) -> Tensor:
    """Zeros ``[B]`` in the dtype of log-determinants."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return torch.zeros(x.shape[0], dtype=dtype, device=x.device)


def sum_of_reaches(reaches: Iterable[int | None]) -> int | None:
    """How far maps reach one after another; no limit where one has none."""
    total = 0
    for reach in reaches:
        if reach is None:
            return None
        total += reach
    return total
