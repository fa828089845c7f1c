"""Pre-emphasis as a flow."""

from torch import Tensor
from typing_extensions import override

from audioflow.audio import deemphasize, emphasize
from audioflow.flows.base import Bijection, Direction, no_log_det
from audioflow.nets.masks import full_precision, masked, wide


class Preemphasis(Bijection):
    r"""A first-order filter, the same for all channels.

    .. math::
        z_t = x_t - a\,x_{t-1} \qquad x_t = z_t + a\,x_{t-1} \qquad \log|\det \partial z / \partial x| = 0

    Args:
        coefficient: ``a``, from 0 up to 1.

    >>> import torch
    >>> Preemphasis(0.5).to_noise(torch.ones(1, 1, 3))[0]
    tensor([[[1.0000, 0.5000, 0.5000]]])
    """

    def __init__(self, coefficient: float) -> None:
        super().__init__()
        self.coefficient = coefficient

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            return masked(emphasize(masked(wide(x), mask), self.coefficient), mask), no_log_det(x)

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            return masked(deemphasize(masked(wide(z), mask), self.coefficient), mask), no_log_det(z)

    @property
    @override
    def constant_log_det(self) -> bool:
        return True

    @override
    def reach(self, direction: Direction) -> int | None:
        return (1 if self.coefficient else 0) if direction == "to_noise" else None
