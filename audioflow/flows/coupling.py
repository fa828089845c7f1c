"""Couplings: one part of the values passes and decides how the rest is mapped."""

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn
from typing_extensions import override

from audioflow.flows.base import Bijection, Direction
from audioflow.flows.kernels import Additive, Affine, Kernel
from audioflow.nets.masks import full_precision, masked, wide


class Conditioner(Protocol):
    """A network from ``x [B, C, T]`` and ``cond [B, M, T]`` to parameters ``[B, P, T]``."""

    def __call__(self, x: Tensor, cond: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """Parameters of the kernel at every step."""
        ...


class Split(ABC):
    """How a signal falls into a part that passes (one in RealNVP's mask) and a part that is mapped."""

    time_multiple = 1

    @abstractmethod
    def apart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``x [B, C, T]`` -> the part that passes and the part that is mapped."""

    @abstractmethod
    def together(self, passive: Tensor, active: Tensor) -> Tensor:
        """Undo :meth:`apart`."""

    def context(self, cond: Tensor | None, mask: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Conditioning and mask at the rate of the two parts."""
        return cond, mask


class ChannelSplit(Split):
    """The first ``passive`` channels pass (with ``swapped``, the others).

    Args:
        passive: channels that the first part has.
        swapped: whether the first part is the one that is mapped.
    """

    def __init__(self, passive: int, *, swapped: bool = False) -> None:
        self.passive = passive
        self.swapped = swapped

    @override
    def apart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x[:, : self.passive], x[:, self.passive :]
        return (second, first) if self.swapped else (first, second)

    @override
    def together(self, passive: Tensor, active: Tensor) -> Tensor:
        return torch.cat([active, passive] if self.swapped else [passive, active], dim=1)


class Checkerboard(Split):
    """Every other value passes, alternating in time and from channel to channel.

    ::

        channel 0   p a p a p a
        channel 1   a p a p a p        p passes, a is mapped; the other way round with ``swapped``

    The network works at half the rate, on what passes; it is told the conditioning of both steps of a pair.

    Args:
        swapped: whether the first step of the first channel is one that is mapped.
    """

    time_multiple = 2

    def __init__(self, *, swapped: bool = False) -> None:
        self.swapped = swapped

    @override
    def apart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x[..., 0::2], x[..., 1::2]
        crossed = self._crossed(x.shape[1], x.device)
        return torch.where(crossed, second, first), torch.where(crossed, first, second)

    @override
    def together(self, passive: Tensor, active: Tensor) -> Tensor:
        crossed = self._crossed(passive.shape[1], passive.device)
        pair = torch.where(crossed, active, passive), torch.where(crossed, passive, active)
        return torch.stack(pair, dim=-1).flatten(-2)

    @override
    def context(self, cond: Tensor | None, mask: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        folded = None if cond is None else torch.cat([cond[..., 0::2], cond[..., 1::2]], dim=1)
        return folded, None if mask is None else mask[..., 0::2]

    def _crossed(self, channels: int, device: torch.device) -> Tensor:
        """In which channels the second step of a pair passes, ``[C, 1]``."""
        return ((torch.arange(channels, device=device) + int(self.swapped)) % 2 == 1)[:, None]


class Coupling(Bijection):
    r"""One part passes; the other is mapped by a kernel whose parameters a network makes of the first.

    With ``x`` split into ``x_a`` and ``x_b``,

    .. math::
        z_a = x_a \qquad z_b = k(x_b;\, \theta) \qquad x_b = k^{-1}(z_b;\, \theta) \qquad \theta = \text{net}(x_a, c) \\
        \log|\det \partial z / \partial x| = \textstyle\sum \log|\partial k(x_b; \theta) / \partial x_b|

    It is an autoregressive flow with two slots. Both directions take one pass. The kernel runs in float32 also under
    autocast.

    Args:
        conditioner: from the channels that pass to ``kernel.parameters`` times those that are mapped.
        kernel: what is done to each value.
        split: which values pass.

    References:
        Dinh, Krueger and Bengio, "NICE", 2014, https://arxiv.org/abs/1410.8516
        Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2016, https://arxiv.org/abs/1605.08803
    """

    def __init__(self, conditioner: nn.Module, kernel: Kernel, split: Split) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.kernel = kernel
        self.split = split

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        passive, active = self.split.apart(masked(wide(x), mask))
        params, mask = self._params(passive, cond, mask)
        with full_precision(x):
            return self._join(passive, *self.kernel.to_noise(active, params), mask)

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        passive, active = self.split.apart(masked(wide(z), mask))
        params, mask = self._params(passive, cond, mask)
        with full_precision(z):
            return self._join(passive, *self.kernel.to_data(active, params), mask)

    def _params(self, passive: Tensor, cond: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        cond, mask = self.split.context(cond, mask)
        return wide(self.conditioner(passive, cond, mask)), mask

    def _join(
        self, passive: Tensor, active: Tensor, log_derivative: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        joined = self.split.together(passive, masked(active, mask))
        return joined, masked(log_derivative, mask).sum(dim=(1, 2))

    @property
    @override
    def constant_log_det(self) -> bool:
        return self.kernel.constant_log_det

    @property
    @override
    def time_multiple(self) -> int:
        return self.split.time_multiple

    @override
    def reach(self, direction: Direction) -> int | None:
        of_network = int(getattr(self.conditioner, "context_steps", 0))
        # The other step of a pair that is split counts too.
        return self.split.time_multiple * (of_network + 1) - 1


class AffineCoupling(Coupling):
    """The coupling of RealNVP, Glow and WaveGlow: ``z_b = x_b exp(s) + b``.

    Args:
        conditioner: from ``passive`` channels to twice the others: first the shifts, then the log-scales.
        passive: channels that pass.
        log_scale_limit: bound of ``|s|``; ``None`` for no bound, as WaveGlow has it.
        swapped: whether the last channels pass instead of the first ones.
    """

    def __init__(
        self, conditioner: nn.Module, passive: int, log_scale_limit: float | None = 5.0, *, swapped: bool = False
    ) -> None:
        super().__init__(conditioner, Affine(log_scale_limit), ChannelSplit(passive, swapped=swapped))


class AdditiveCoupling(Coupling):
    """The coupling of NICE: ``z_b = x_b + b``, which keeps the volume.

    Args:
        conditioner: from ``passive`` channels to the others.
        passive: channels that pass.
        swapped: whether the last channels pass instead of the first ones.
    """

    def __init__(self, conditioner: nn.Module, passive: int, *, swapped: bool = False) -> None:
        super().__init__(conditioner, Additive(), ChannelSplit(passive, swapped=swapped))
