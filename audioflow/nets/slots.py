"""What a conditioner of an autoregressive flow keeps, so that it can run all at once and place by place."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Slot = tuple[slice, slice]
"""A place in ``x [B, C, T]``: which channels, and which steps."""

State = TypeVar("State")


class AutoregressiveNet(nn.Module, ABC, Generic[State]):
    """A network whose parameters for each slot of ``x`` depend on the slots before it only.

    All at once it is called like any conditioner, ``net(x, cond, mask) -> params``. Slot by slot it is given what it
    has not seen yet, and computes each of its hidden units once: both ways give the same numbers. The state is passed
    and returned; a step may use up the one it is given.
    """

    @abstractmethod
    def forward(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """``x [B, C, T]``, ``cond [B, M, T]``, ``mask [B, 1, T]`` -> ``params [B, P * C, T]``."""

    @abstractmethod
    def slots(self, steps: int) -> Iterator[Slot]:
        """Slots of a signal of ``steps`` steps, in the order in which they depend on each other."""

    @abstractmethod
    def init_state(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> State:
        """State before the first slot of a signal shaped like ``z [B, C, T]``."""

    @abstractmethod
    def step(self, state: State, previous: Tensor | None) -> tuple[Tensor, State]:
        """One slot.

        Args:
            state: from :meth:`init_state` or the step before.
            previous: the slot before this one, ``[B, c, t]``; ``None`` for the first.

        Returns:
            ``params [B, P * c, t]`` of this slot, and the state for the next.
        """

    @abstractmethod
    def joined(self, pieces: Sequence[Tensor]) -> Tensor:
        """The whole ``[B, C, T]`` of its slots, given in order."""

    @property
    def context_steps(self) -> int:
        """Steps of time on each side that the parameters of one step see."""
        return 0

    @property
    @abstractmethod
    def context_of_data(self) -> int | None:
        """The same, where each slot is made of the slots before it, and so sees what they saw; ``None``: no limit."""


class ChannelNet(AutoregressiveNet[State]):
    """An autoregressive network over channels: a slot is one channel at all steps.

    Args:
        order: number of the channel that is visited first, then second, ...
    """

    order: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        check_order(order)
        self.register_buffer("order", torch.tensor(list(order)))

    def slots(self, steps: int) -> Iterator[Slot]:
        """Channel by channel."""
        return ((slice(channel, channel + 1), slice(0, steps)) for channel in self.order.tolist())

    def joined(self, pieces: Sequence[Tensor]) -> Tensor:
        """Channels ``[B, 1, T]`` in order of visit -> ``[B, C, T]``."""
        return torch.cat(list(pieces), dim=1)[:, torch.argsort(self.order)]

    @property
    def context_of_data(self) -> int:
        """Each channel sees ``context_steps`` further than the one before it, and the first sees so much of the mel."""
        return len(self.order) * self.context_steps


class Units:
    """Values of units that become known a few at a time, along one axis of a tensor.

    Without gradients they stand in one block of memory that is filled; with gradients nothing may be written twice.

    Args:
        like: gives the other sizes, dtype and device.
        capacity: how many units there will be.
        axis: along which they stand.
    """

    def __init__(self, like: Tensor, capacity: int, axis: int) -> None:
        self.known = 0
        self.axis = axis
        sizes = list(like.shape)
        sizes[axis] = 0 if torch.is_grad_enabled() else capacity
        self._block = like.new_empty(sizes)
        self._pieces: list[Tensor] | None = [self._block] if torch.is_grad_enabled() else None

    def add(self, fresh: Tensor) -> None:
        """Put more units behind those that are known."""
        count = fresh.shape[self.axis]
        if self._pieces is None:
            self._block.narrow(self.axis, self.known, count).copy_(fresh)
        else:
            self._pieces.append(fresh)
        self.known += count

    def all(self) -> Tensor:
        """Everything that is known."""
        if self._pieces is None:
            return self._block.narrow(self.axis, 0, self.known)
        return torch.cat(self._pieces, dim=self.axis)


def check_order(order: Sequence[int]) -> None:
    """Raise ValueError where an order does not name every channel once."""
    if sorted(order) != list(range(len(order))):
        raise ValueError(f"an order names every channel once, unlike {list(order)}")
