"""Affine coupling: one half of the channels passes and decides how the other half is scaled and shifted."""

from typing import Protocol

import torch
from torch import Tensor, nn
from typing_extensions import override

from audioflow.flows.base import Bijection
from audioflow.flows.kernels import affine, affine_inverse, soft_clip
from audioflow.nets.masks import full_precision, masked, wide


class Conditioner(Protocol):
    """A network from ``x [B, C, T]`` and ``cond [B, M, T]`` to parameters ``[B, P, T]``."""

    def __call__(self, x: Tensor, cond: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """Parameters of the kernel at every step."""
        ...


class AffineCoupling(Bijection):
    r"""One half of the channels passes, the other is scaled and shifted by numbers made of the first.

    With ``x = [x_a, x_b]`` and ``(b, s) = net(x_a, cond)``,

    .. math::
        z_a = x_a \qquad z_b = x_b\,e^{s} + b \qquad \log|\det| = \textstyle\sum s \\
        x_a = z_a \qquad x_b = (z_b - b)\,e^{-s} \qquad \log|\det| = -\textstyle\sum s

    ``s`` is bounded smoothly by ``log_scale_limit``. The affine map runs in float32 also under autocast.

    Args:
        conditioner: from ``passive`` channels to twice the others: first the shifts, then the log-scales.
        passive: channels of ``x_a``.
        log_scale_limit: bound of ``|s|``; ``None`` for no bound, as WaveGlow has it.

    References:
        Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2016, https://arxiv.org/abs/1605.08803
    """

    def __init__(self, conditioner: nn.Module, passive: int, log_scale_limit: float | None = 5.0) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.passive = passive
        self.log_scale_limit = log_scale_limit

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x_a, x_b = masked(x[:, : self.passive], mask), x[:, self.passive :]
        shift, log_scale = self._shift_and_scale(x_a, cond, mask)
        with full_precision(x):
            z_b, log_derivative = affine(wide(x_b), shift, log_scale)
            return self._join(x_a, z_b, log_derivative, mask)

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z_a, z_b = masked(z[:, : self.passive], mask), z[:, self.passive :]
        shift, log_scale = self._shift_and_scale(z_a, cond, mask)
        with full_precision(z):
            x_b, log_derivative = affine_inverse(wide(z_b), shift, log_scale)
            return self._join(z_a, x_b, log_derivative, mask)

    def _shift_and_scale(self, x_a: Tensor, cond: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        shift, raw = wide(self.conditioner(x_a, cond, mask)).chunk(2, dim=1)
        return shift, soft_clip(raw, self.log_scale_limit)

    @staticmethod
    def _join(a: Tensor, b: Tensor, log_derivative: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        joined = torch.cat([wide(a), masked(b, mask)], dim=1)
        return joined, masked(log_derivative, mask).sum(dim=(1, 2))
