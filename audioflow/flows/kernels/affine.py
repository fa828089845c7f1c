"""Shift, and shift with scale: the kernels of NICE and of RealNVP, Glow, MAF and IAF."""

import torch
from torch import Tensor
from typing_extensions import override

from audioflow.flows.kernels.base import Kernel


def affine(x: Tensor, shift: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """``y = x exp(log_scale) + shift``; ``log dy/dx = log_scale``."""
    return x * torch.exp(log_scale) + shift, log_scale


def affine_inverse(y: Tensor, shift: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """``x = (y - shift) exp(-log_scale)``; ``log dx/dy = -log_scale``."""
    return (y - shift) * torch.exp(-log_scale), -log_scale


def soft_clip(log_scale: Tensor, limit: float | None) -> Tensor:
    """Smoothly bound a log-scale to ``(-limit, limit)`` by ``limit tanh(s / limit)``; ``None`` leaves it as it is."""
    return log_scale if limit is None else limit * torch.tanh(log_scale / limit)


class Additive(Kernel):
    """``z = x + shift``; the volume stays as it is.

    References:
        Dinh, Krueger and Bengio, "NICE", 2014, https://arxiv.org/abs/1410.8516
    """

    @property
    @override
    def parameters(self) -> int:
        return 1

    @override
    def to_noise(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return x + params, torch.zeros_like(x)

    @override
    def to_data(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return z - params, torch.zeros_like(z)

    @property
    @override
    def constant_log_det(self) -> bool:
        return True


class Affine(Kernel):
    r"""``z = x exp(s) + shift`` with a smoothly bounded ``s``.

    .. math:: z = x\,e^{s} + b \qquad x = (z - b)\,e^{-s} \qquad \log \partial z / \partial x = s

    The parameters are shift and raw log-scale; ``s = limit tanh(raw / limit)``. Zeros are the identity.

    Args:
        limit: bound of ``|s|``; ``None`` for no bound, as WaveGlow has it.

    References:
        Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2016, https://arxiv.org/abs/1605.08803
    """

    def __init__(self, limit: float | None = 5.0) -> None:
        self.limit = limit

    @property
    @override
    def parameters(self) -> int:
        return 2

    @override
    def to_noise(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return affine(x, *self.shift_and_log_scale(params))

    @override
    def to_data(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return affine_inverse(z, *self.shift_and_log_scale(params))

    def shift_and_log_scale(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """``b`` and the bounded ``s`` that ``params [B, 2 C, T]`` stand for, ``[B, C, T]`` each."""
        shift, raw = params.chunk(2, dim=1)
        return shift, soft_clip(raw, self.limit)
