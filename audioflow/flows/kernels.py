"""Elementwise maps as pure functions of tensors; layers decide where their parameters come from.

Each takes ``x`` and parameters of the same shape and returns ``(y, log_derivative)``, elementwise.
"""

import torch
from torch import Tensor


def affine(x: Tensor, shift: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """``y = x exp(log_scale) + shift``; ``log dy/dx = log_scale``."""
    return x * torch.exp(log_scale) + shift, log_scale


def affine_inverse(y: Tensor, shift: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """``x = (y - shift) exp(-log_scale)``; ``log dx/dy = -log_scale``."""
    return (y - shift) * torch.exp(-log_scale), -log_scale


def soft_clip(log_scale: Tensor, limit: float | None) -> Tensor:
    """Smoothly bound a log-scale to ``(-limit, limit)`` by ``limit tanh(s / limit)``; ``None`` leaves it as it is."""
    return log_scale if limit is None else limit * torch.tanh(log_scale / limit)
