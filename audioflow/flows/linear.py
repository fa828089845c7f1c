"""Linear maps over channels: the invertible 1x1 convolution."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from audioflow.flows.base import Bijection
from audioflow.nets.masks import full_precision, masked, valid_steps, wide


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
