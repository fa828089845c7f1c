"""Linear maps over channels: one scale for all of them, and the invertible 1x1 convolution."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from audioflow.flows.base import Bijection
from audioflow.nets.masks import full_precision, masked, valid_steps, wide


class Rescale(Bijection):
    r"""Divide by one constant, the spread of the data: ``z = x exp(-log_scale)``.

    .. math:: \log|\det| = -C\,T\,s

    Speech has a standard deviation of about 0.05, a flow starts as the identity and its noise has 1; this layer closes
    the gap before training does. The constant is a buffer: fitted once by an explicit call, 1 until then.
    """

    log_scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_scale", torch.zeros(()))

    @torch.no_grad()
    def fit(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Take the root mean square of ``x [B, C, T]`` over valid steps; silence leaves the scale as it is."""
        count = valid_steps(x, mask).sum() * x.shape[1]
        mean_square = masked(x, mask).square().sum() / count
        if mean_square > 0:
            self.log_scale.copy_(0.5 * torch.log(mean_square))

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = -self.log_scale * x.shape[1] * valid_steps(x, mask)
        return masked(wide(x) * torch.exp(-self.log_scale), mask), log_det

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = self.log_scale * z.shape[1] * valid_steps(z, mask)
        return masked(wide(z) * torch.exp(self.log_scale), mask), log_det

    @property
    @override
    def constant_log_det(self) -> bool:
        return True


class InvertibleConv1x1(Bijection):
    r"""A square matrix over channels, the same at every step: ``z_t = W x_t``.

    .. math:: \log|\det| = T \log|\det W|

    Computed in float32 or wider, outside autocast; the log-determinant by ``slogdet``, which is safe for either sign.
    The inverse is solved for in float64 each time: a kept one would go stale as soon as ``W`` is trained on.

    Args:
        channels: ``W`` is ``channels x channels``, starting as a random rotation.

    References:
        Kingma and Dhariwal, "Glow", 2018, https://arxiv.org/abs/1807.03039
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
        if torch.linalg.det(rotation) < 0:
            rotation[:, 0] = -rotation[:, 0]
        self.weight = nn.Parameter(rotation)

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            z = torch.einsum("ij,bjt->bit", self.weight, wide(x))
            return masked(z, mask), self._log_abs_det() * valid_steps(x, mask)

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            inverse = torch.linalg.inv(self.weight.double()).to(self.weight.dtype)
            x = torch.einsum("ij,bjt->bit", inverse, wide(z))
            return masked(x, mask), -self._log_abs_det() * valid_steps(z, mask)

    def _log_abs_det(self) -> Tensor:
        log_abs_det: Tensor = torch.linalg.slogdet(self.weight)[1]
        return log_abs_det

    @property
    @override
    def constant_log_det(self) -> bool:
        return True
