"""Maps that only move values: squeezing time into channels, permuting channels, letting channels leave early."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from audioflow.flows.base import Bijection, Direction, Wrapper, no_log_det, sum_of_reaches
from audioflow.flows.coupling import ChannelSplit, Coupling
from audioflow.flows.kernels import Affine, Inverted
from audioflow.nets.masks import masked
from audioflow.nets.slots import check_order


def squeeze(x: Tensor, factor: int) -> Tensor:
    """``[B, C, T] -> [B, C * factor, T / factor]``: time becomes channels.

    Two channels, four steps, factor 2::

        a0 a1 a2 a3        a0 a2
        b0 b1 b2 b3   ->   a1 a3
                           b0 b2
                           b1 b3
    """
    batch, channels, steps = x.shape
    if steps % factor:
        raise ValueError(f"{steps} steps cannot be squeezed by {factor}: the length must be a multiple of it")
    x = x.reshape(batch, channels, steps // factor, factor).transpose(2, 3)
    return x.reshape(batch, channels * factor, steps // factor)


def unsqueeze(x: Tensor, factor: int) -> Tensor:
    """Undo :func:`squeeze`: ``[B, C * factor, T] -> [B, C, T * factor]``."""
    batch, channels, steps = x.shape
    x = x.reshape(batch, channels // factor, factor, steps).transpose(2, 3)
    return x.reshape(batch, channels // factor, steps * factor)


class Squeezed(Wrapper):
    """A map that works on the signal folded ``factor`` times, and gives it back unfolded.

    ``z = unsqueeze(f(squeeze(x)))``; the log-determinant is that of ``f``, since folding moves values only. ``cond``
    and ``mask`` are folded alike, so that a caller needs to know of one rate only.

    Args:
        factor: steps folded into channels.
        inner: the map, on ``C * factor`` channels and ``M * factor`` conditioning channels.
    """

    def __init__(self, factor: int, inner: Bijection) -> None:
        super().__init__(inner)
        self.factor = factor

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.inner.to_noise(squeeze(x, self.factor), *self._fold(cond, mask))
        return unsqueeze(z, self.factor), log_det

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = self.inner.to_data(squeeze(z, self.factor), *self._fold(cond, mask))
        return unsqueeze(x, self.factor), log_det

    @override
    def initialize(
        self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, direction: Direction = "to_noise"
    ) -> Tensor:
        folded = self.inner.initialize(squeeze(x, self.factor), *self._fold(cond, mask), direction)
        return unsqueeze(folded, self.factor)

    def _fold(self, cond: Tensor | None, mask: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        folded = None if cond is None else squeeze(cond, self.factor)
        return folded, None if mask is None else mask[..., :: self.factor]

    @property
    @override
    def time_multiple(self) -> int:
        return self.factor * self.inner.time_multiple

    @override
    def reach(self, direction: Direction) -> int | None:
        inner = self.inner.reach(direction)
        # A step may see all steps of the farthest group.
        return None if inner is None else self.factor * (inner + 1) - 1


class FactorOut(Wrapper):
    r"""Let the first channels leave, and map the rest on.

    .. math:: z = [g(x_1 \ldots x_k;\; r),\; f(r)] \qquad r = x_{k+1} \ldots x_C

    Without a prior ``g`` is the identity: the early outputs of WaveGlow, the multi-scale architecture of RealNVP. With
    one it brings what leaves to the standard normal law, by a mean and a scale that the rest predicts: the learned
    prior of Glow and FloWaveNet, :math:`g = (x - \mu(r, c))\,e^{-s(r, c)}`.
    The noise that was factored out stays a part of ``z``, so the layer is invertible like any other.

    Args:
        channels: ``k``, the channels that leave.
        inner: the map for the remaining ones.
        prior: a network from the remaining channels to ``2 k`` numbers, first the means, then the log-scales.

    References:
        Kingma and Dhariwal, "Glow", 2018, https://arxiv.org/abs/1807.03039
    """

    def __init__(self, channels: int, inner: Bijection, prior: nn.Module | None = None) -> None:
        super().__init__(inner)
        self.channels = channels
        self.prior: Coupling | None = None
        if prior is not None:
            self.prior = Coupling(prior, Inverted(Affine()), ChannelSplit(channels, swapped=True))

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = no_log_det(x)
        if self.prior is not None:
            x, total = self.prior.to_noise(x, cond, mask)
        rest, log_det = self.inner.to_noise(x[:, self.channels :], cond, mask)
        return torch.cat([masked(x[:, : self.channels], mask), rest], dim=1), total + log_det

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rest, total = self.inner.to_data(z[:, self.channels :], cond, mask)
        x = torch.cat([masked(z[:, : self.channels], mask), rest], dim=1)
        if self.prior is None:
            return x, total
        x, log_det = self.prior.to_data(x, cond, mask)
        return x, total + log_det

    @override
    def initialize(
        self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, direction: Direction = "to_noise"
    ) -> Tensor:
        if self.prior is not None and direction == "to_noise":
            x = self.prior.initialize(x, cond, mask, direction)
        rest = self.inner.initialize(x[:, self.channels :], cond, mask, direction)
        x = torch.cat([masked(x[:, : self.channels], mask), rest], dim=1)
        if self.prior is not None and direction == "to_data":
            x = self.prior.initialize(x, cond, mask, direction)
        return x

    @property
    @override
    def constant_log_det(self) -> bool:
        return self.prior is None and self.inner.constant_log_det

    @override
    def reach(self, direction: Direction) -> int | None:
        prior = 0 if self.prior is None else self.prior.reach(direction)
        return sum_of_reaches([prior, self.inner.reach(direction)])


class TimeReversal(Wrapper):
    """A map that is given every utterance backwards, each turned round in its own length.

    With lengths 4 and 3::

        a b c d      d c b a                  back again:
        e f g 0  ->  g f e 0  ->  inner map  ->  ...

    Args:
        inner: the map.
    """

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.inner.to_noise(reversed_in_time(x, mask), self._turned(cond, mask), mask)
        return reversed_in_time(z, mask), log_det

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = self.inner.to_data(reversed_in_time(z, mask), self._turned(cond, mask), mask)
        return reversed_in_time(x, mask), log_det

    @override
    def initialize(
        self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, direction: Direction = "to_noise"
    ) -> Tensor:
        turned = self.inner.initialize(reversed_in_time(x, mask), self._turned(cond, mask), mask, direction)
        return reversed_in_time(turned, mask)

    @staticmethod
    def _turned(cond: Tensor | None, mask: Tensor | None) -> Tensor | None:
        return None if cond is None else reversed_in_time(cond, mask)


def reversed_in_time(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """``x [B, C, T]`` with the valid steps of each utterance in reverse order, and zeros after them.

    >>> reversed_in_time(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])).tolist()
    [[[2.0, 1.0, 0.0]]]
    """
    if mask is None:
        return x.flip(-1)
    lengths = mask.sum(dim=-1, keepdim=True).long()
    source = (lengths - 1 - torch.arange(x.shape[-1], device=x.device)) % x.shape[-1]
    return masked(x.gather(-1, source.expand_as(x)), mask)


class Permutation(Bijection):
    """Put the channels in another order: ``z_i = x_{order[i]}``; the log-determinant is zero.

    Args:
        order: every channel number once.
    """

    order: Tensor
    inverse: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        check_order(order)
        self.register_buffer("order", torch.tensor(list(order)))
        self.register_buffer("inverse", torch.argsort(self.order))

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return masked(x[:, self.order], mask), no_log_det(x)

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return masked(z[:, self.inverse], mask), no_log_det(z)

    @property
    @override
    def constant_log_det(self) -> bool:
        return True
