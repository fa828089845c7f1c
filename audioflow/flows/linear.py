"""Linear maps over channels: the invertible 1x1 convolution, and the same by its triangular factors."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from typing_extensions import override

from audioflow.flows.base import Bijection
from audioflow.nets.kept import Kept
from audioflow.nets.masks import full_precision, masked, valid_steps, wide


class InvertibleConv1x1(Bijection):
    r"""A square matrix over channels, the same at every step: ``z_t = W x_t``.

    .. math:: \log|\det| = T \log|\det W|

    Computed in float32 or wider, outside autocast; the log-determinant by ``slogdet``, which is safe for either sign.
    Both it and the inverse, solved for in float64, are found on the CPU: a GPU takes longer for so few numbers.
    In synthesis on a GPU they are kept until ``W`` is written to.

    Args:
        channels: ``W`` is ``channels x channels``, starting as a random rotation.

    References:
        Kingma and Dhariwal, "Glow", 2018, https://arxiv.org/abs/1807.03039
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(random_rotation(channels))

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            z = torch.einsum("ij,bjt->bit", self.weight, wide(x))
            return masked(z, mask), self._log_abs_det() * valid_steps(x, mask)

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            inverse, log_abs_det = _solved(self, self._solve)
            x = torch.einsum("ij,bjt->bit", inverse, wide(z))
            return masked(x, mask), -log_abs_det * valid_steps(z, mask)

    def _solve(self) -> tuple[Tensor, Tensor]:
        """The inverse, and ``log|det W|``."""
        return torch.linalg.inv(self.weight.cpu().double()).to(self.weight), self._log_abs_det()

    def _log_abs_det(self) -> Tensor:
        log_abs_det: Tensor = torch.linalg.slogdet(self.weight.cpu())[1]
        return log_abs_det.to(self.weight.device)

    @property
    @override
    def constant_log_det(self) -> bool:
        return True


class InvertibleConv1x1LU(Bijection):
    r"""The invertible 1x1 convolution by its factors, whose log-determinant is a sum.

    .. math:: W = P L (U + \text{diag}(\sigma e^{s})) \qquad \log|\det| = T \textstyle\sum_i s_i

    ``L`` has ones on its diagonal, ``U`` zeros; the permutation ``P`` and the signs stay as they are at the start. What
    is learned are the entries of ``L`` below and of ``U`` above the diagonal, row by row, and ``s``: as many numbers as
    ``W`` has. The inverse is solved for in float64 each time.

    Args:
        channels: ``W`` is ``channels x channels``, starting as a random rotation.

    References:
        Kingma and Dhariwal, "Glow", 2018, https://arxiv.org/abs/1807.03039

    >>> flow = InvertibleConv1x1LU(3)
    >>> x = torch.randn(1, 3, 4)
    >>> z, log_det = flow.to_noise(x)
    >>> bool(torch.allclose(flow.to_data(z)[0], x, atol=1e-5))
    True
    """

    order: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        permutation, lower, upper = torch.linalg.lu(random_rotation(channels).double())
        rows, columns = torch.tril_indices(channels, channels, -1)
        diagonal = upper.diagonal()
        self.lower = nn.Parameter(lower[rows, columns].float())
        self.upper = nn.Parameter(upper.T[rows, columns].float())
        self.log_scale = nn.Parameter(diagonal.abs().log().float())
        self.register_buffer("order", permutation.argmax(dim=1))  # row i of W is row order[i] of its factors' product
        self.register_buffer("sign", diagonal.sign().float())

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            lower, upper = self._factors()
            z = torch.einsum("ij,bjt->bit", (lower @ upper)[self.order], wide(x))
            return masked(z, mask), self.log_scale.sum() * valid_steps(x, mask)

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            inverse, log_abs_det = _solved(self, self._solve)
            x = torch.einsum("ij,bjt->bit", inverse, wide(z))
            return masked(x, mask), -log_abs_det * valid_steps(z, mask)

    def _solve(self) -> tuple[Tensor, Tensor]:
        """The inverse, and ``log|det W|``."""
        lower, upper = (factor.double() for factor in self._factors())
        permuted = torch.eye(len(self.order), dtype=torch.float64, device=lower.device)[torch.argsort(self.order)]
        half_solved = torch.linalg.solve_triangular(lower, permuted, upper=False, unitriangular=True)
        inverse = torch.linalg.solve_triangular(upper, half_solved, upper=True)
        return inverse.to(self.lower.dtype), self.log_scale.sum()

    def _factors(self) -> tuple[Tensor, Tensor]:
        """``L`` and ``U`` with their diagonals, ``[C, C]`` each."""
        channels = len(self.order)
        rows, columns = torch.tril_indices(channels, channels, -1, device=self.lower.device)
        zeros = self.lower.new_zeros(channels, channels)
        lower = zeros.index_put((rows, columns), self.lower) + torch.diag(torch.ones_like(self.log_scale))
        upper = zeros.index_put((columns, rows), self.upper) + torch.diag(self.sign * torch.exp(self.log_scale))
        return lower, upper

    @property
    @override
    def constant_log_det(self) -> bool:
        return True


def random_rotation(channels: int) -> Tensor:
    """A random matrix ``[channels, channels]`` that turns and does not mirror."""
    rotation: Tensor = torch.linalg.qr(torch.randn(channels, channels))[0]
    if torch.linalg.det(rotation) < 0:
        rotation[:, 0] = -rotation[:, 0]
    return rotation


_SOLVED: Kept[tuple[Tensor, Tensor]] = Kept()


def _solved(layer: nn.Module, solve: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """What ``solve`` makes of the layer's weights; in synthesis on a GPU kept until they are written to.

    A GPU stops there to look for errors, which takes longer than the layer, and while a graph is recorded it must not.
    """
    if torch.is_grad_enabled() or not next(layer.parameters()).is_cuda:
        return solve()
    return _SOLVED.of(layer, solve)
