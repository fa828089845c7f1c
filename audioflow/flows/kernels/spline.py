"""Monotonic rational-quadratic splines: the kernel of neural spline flows."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from audioflow.flows.kernels.base import Kernel


@dataclass(frozen=True)
class SplineLimits:
    """What all splines of one kernel share.

    Args:
        bins: ``K``, two or more.
        bound: the spline leads from ``[-bound, bound]`` onto itself; outside it is the identity.
        min_width: least width of a bin, as a share of the interval.
        min_height: least height of a bin, as a share of the interval.
        min_derivative: least derivative at a knot.

    Raises:
        ValueError: where there is one bin, no interval, or no room for bins of the least size.
    """

    bins: int = 8
    bound: float = 5.0
    min_width: float = 1e-3
    min_height: float = 1e-3
    min_derivative: float = 1e-3

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"A spline has two bins or more; bins is {self.bins}.")
        if self.bound <= 0:
            raise ValueError(f"A spline needs an interval [-bound, bound]; bound is {self.bound}.")
        for name, least, most in (
            ("min_width", self.min_width, 1 / self.bins),
            ("min_height", self.min_height, 1 / self.bins),
            ("min_derivative", self.min_derivative, 1.0),
        ):
            if not 0 < least < most:
                raise ValueError(f"{name} must lie between 0 and {most:g} (there are {self.bins} bins); it is {least}.")


class Bin(NamedTuple):
    """The bin that each value falls into, all ``[B, 1, C, T]``: from ``(x, y)``, of ``width`` and ``height``.

    ``slope`` is ``height / width``; ``left`` and ``right`` are the derivatives at its two knots in units of that slope.
    """

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    left: Tensor
    right: Tensor
    slope: Tensor


def rational_quadratic_spline(x: Tensor, parts: Tensor, limits: SplineLimits) -> tuple[Tensor, Tensor]:
    """``y`` and ``log dy/dx``; see :class:`RationalQuadratic`.

    Args:
        x: ``[B, C, T]``.
        parts: widths, heights and inner derivatives, unbounded, ``[B, 3 K - 1, C, T]``.
        limits: bounds of what they are turned into.
    """
    x = x[:, None]
    inside = x.abs() < limits.bound
    within = x.clamp(-limits.bound, limits.bound)
    here = _find_bin(within, parts, limits, by_height=False)
    step = within - here.x
    theta = _unit(step / here.width)
    chord, log_derivative = _steepness(theta, here)
    # As a difference from x: with parameters of zero it is x to the last digit.
    moved = (here.y - here.x) + step * (here.slope * chord - 1)
    return (x + _where(inside, moved)).squeeze(1), _where(inside, log_derivative).squeeze(1)


def rational_quadratic_spline_inverse(y: Tensor, parts: Tensor, limits: SplineLimits) -> tuple[Tensor, Tensor]:
    """``x`` and ``log dx/dy``: the inverse of :func:`rational_quadratic_spline`, with the same arguments."""
    y = y[:, None]
    inside = y.abs() < limits.bound
    within = y.clamp(-limits.bound, limits.bound)
    here = _find_bin(within, parts, limits, by_height=True)
    step = within - here.y
    theta = _solve(_unit(step / here.height), here)
    chord, log_derivative = _steepness(theta, here)
    moved = (here.x - here.y) + step * (1 / (here.slope * chord) - 1)
    return (y + _where(inside, moved)).squeeze(1), _where(inside, -log_derivative).squeeze(1)


def _steepness(theta: Tensor, here: Bin) -> tuple[Tensor, Tensor]:
    r"""Slope of the chord from the left knot in units of the bin's slope, and the log-derivative, at ``theta``.

    With :math:`\delta_0, \delta_1` in units of the slope :math:`s` and :math:`\phi = 1 - \theta`,

    .. math::
        \frac{y - y_0}{s\,(x - x_0)} = \frac{\theta + \delta_0 \phi}{D} \qquad
        \frac{dy}{dx} = s\,\frac{\theta (\delta_1 \theta + \phi) + \phi (\theta + \delta_0 \phi)}{D^2} \qquad
        D = 1 + (\delta_0 + \delta_1 - 2)\,\theta \phi

    All terms are positive and ``D`` is one half or more, so nothing cancels.
    """
    phi = 1 - theta
    rise = theta + here.left * phi
    denominator = 1 + (here.left + here.right - 2) * (theta * phi)
    steepness = theta * (here.right * theta + phi) + phi * rise
    return rise / denominator, torch.log(here.slope * steepness / denominator.square())


def _solve(eta: Tensor, here: Bin) -> Tensor:
    r"""Where in the bin ``theta`` the curve has done the share ``eta`` of its height.

    The quadratic :math:`(1 - b) \theta^2 + b \theta - \eta = 0`, :math:`b = u + 2 \eta`,
    :math:`u = \delta_0 (1 - \eta) - \delta_1 \eta`, has the root :math:`2 \eta / (b + \sqrt{d})`: the formula
    ``2c / (-b - sqrt(d))`` of the paper. Here the discriminant is written as a sum of squares,
    :math:`d = u^2 + 4 \eta (1 - \eta)`, positive whatever is rounded, and :math:`u + \sqrt{d}` so that it does not
    cancel where :math:`u < 0`.
    """
    rest = 1 - eta
    u = here.left * rest - here.right * eta
    four = 4 * (eta * rest)
    total = torch.sqrt(u.square() + four) + torch.where(u >= 0, u, -u)
    return 2 * eta / (2 * eta + torch.where(u >= 0, total, four / total))


def _find_bin(value: Tensor, parts: Tensor, limits: SplineLimits, *, by_height: bool) -> Bin:
    """The bin of each ``value [B, 1, C, T]``, an ``x``, or a ``y`` where ``by_height``."""
    raw_sizes, raw_derivatives = parts.split([2 * limits.bins, limits.bins - 1], dim=1)
    mass = raw_sizes.unflatten(1, (2, limits.bins)).softmax(dim=2)  # [B, 2, K, C, T]: of widths and of heights
    past = _knots_passed(value, mass[:, int(by_height)].detach(), limits, by_height=by_height)
    index = past.sum(dim=1, keepdim=True)
    count, least = index.to(value.dtype), (limits.min_width, limits.min_height)
    own = mass.gather(2, index[:, None].expand(-1, 2, -1, -1, -1))
    below = (mass[:, :, :-1] * past[:, None]).sum(dim=2, keepdim=True)
    x, y = (_start(below[:, i], count, least[i], limits) for i in (0, 1))
    width, height = (_size(own[:, i], least[i], limits) for i in (0, 1))
    slope = height / width
    left, right = (_derivatives(raw_derivatives, index, limits) / slope).split(1, dim=1)
    return Bin(x, y, width, height, left, right, slope)


@torch.no_grad()
def _knots_passed(value: Tensor, mass: Tensor, limits: SplineLimits, *, by_height: bool) -> Tensor:
    """Which of the inner knots ``value`` has reached, ``[B, K - 1, C, T]``; ``mass [B, K, C, T]``."""
    count = torch.arange(1, limits.bins, dtype=value.dtype, device=value.device)[:, None, None]
    least = limits.min_height if by_height else limits.min_width
    return _start(mass[:, :-1].cumsum(dim=1), count, least, limits) <= value


def _start(below: Tensor, count: Tensor, least: float, limits: SplineLimits) -> Tensor:
    """Where a bin starts that has ``count`` bins before it, their masses ``below`` in all."""
    span = 2 * limits.bound
    return span * (1 - limits.bins * least) * below + (span * least * count - limits.bound)


def _size(mass: Tensor, least: float, limits: SplineLimits) -> Tensor:
    """Width or height of a bin of this mass."""
    span = 2 * limits.bound
    return span * (1 - limits.bins * least) * mass + span * least


def _derivatives(raw: Tensor, index: Tensor, limits: SplineLimits) -> Tensor:
    """Derivatives at both knots of the bin ``index``, ``[B, 2, C, T]``; 1 at the ends, and where ``raw`` is zero."""
    knots = torch.cat([index - 1, index], dim=1)
    outermost = (knots < 0) | (knots > limits.bins - 2)
    chosen = raw.gather(1, knots.clamp(0, limits.bins - 2)).masked_fill(outermost, 0.0)
    return limits.min_derivative + (1 - limits.min_derivative) / math.log(2) * functional.softplus(chosen)


def _unit(share: Tensor) -> Tensor:
    """``share``, which rounding may have carried a hair out of [0, 1], put back; its gradient stays whole."""
    return share + (share.clamp(0, 1) - share).detach()


def _where(inside: Tensor, value: Tensor) -> Tensor:
    """``value`` inside and zero outside, where the gradient is zero too."""
    return torch.where(inside, value, torch.zeros_like(value))


class RationalQuadratic(Kernel):
    r"""A spline of rational quadratics on ``[-bound, bound]``; outside, the identity.

    The knots :math:`(x_k, y_k)` with derivatives :math:`d_k` are joined, with
    :math:`\theta = (x - x_k) / (x_{k+1} - x_k)` and :math:`s_k = (y_{k+1} - y_k) / (x_{k+1} - x_k)`, by

    .. math::
        z = y_k + (y_{k+1} - y_k)
            \frac{s_k \theta^2 + d_k \theta (1 - \theta)}{s_k + (d_{k+1} + d_k - 2 s_k)\,\theta (1 - \theta)} \\
        \frac{\partial z}{\partial x} = s_k^2
            \frac{d_{k+1} \theta^2 + 2 s_k \theta (1 - \theta) + d_k (1 - \theta)^2}
                 {[s_k + (d_{k+1} + d_k - 2 s_k)\,\theta (1 - \theta)]^2}

    and ``x`` is the root of a quadratic. The first derivative is continuous everywhere, 1 at both ends.

    The parameters are ``K`` raw widths, ``K`` raw heights (softmax, with a least share) and ``K - 1`` raw inner
    derivatives (a softplus whose value at zero is 1). Zeros are the identity.

    Against the paper: quantities relative to the bin's slope, so that no term cancels; a derivative of 1 at zero.

    Args:
        bins: ``K``.
        bound: ``[-bound, bound]`` is led onto itself.
        min_width: least width of a bin, as a share of the interval.
        min_height: least height of a bin, as a share of the interval.
        min_derivative: least derivative at a knot.

    Raises:
        ValueError: where there is one bin, no interval, or no room for bins of the least size.

    References:
        Durkan, Bekasov, Murray and Papamakarios, "Neural Spline Flows", 2019, https://arxiv.org/abs/1906.04032
        Gregory and Delbourgo, "Piecewise Rational Quadratic Interpolation to Monotonic Data", 1982,
        https://doi.org/10.1093/imanum/2.2.123

    >>> import torch
    >>> kernel = RationalQuadratic(bins=4, bound=2.0)
    >>> x = torch.tensor([[[-3.0, 0.3, 2.0]]])
    >>> z, log_derivative = kernel.to_noise(x, torch.randn(1, kernel.parameters, 3))
    >>> z[0, 0, [0, 2]].tolist(), log_derivative[0, 0, [0, 2]].tolist()
    ([-3.0, 2.0], [0.0, 0.0])
    """

    def __init__(
        self,
        bins: int = 8,
        bound: float = 5.0,
        min_width: float = 1e-3,
        min_height: float = 1e-3,
        min_derivative: float = 1e-3,
    ) -> None:
        self.limits = SplineLimits(bins, bound, min_width, min_height, min_derivative)

    @property
    @override
    def parameters(self) -> int:
        return 3 * self.limits.bins - 1

    @override
    def to_noise(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic_spline(x, self.parts(params), self.limits)

    @override
    def to_data(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic_spline_inverse(z, self.parts(params), self.limits)
