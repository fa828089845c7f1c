"""Mixtures of logistics: as a density, or discretised to the 16-bit grid."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from typing_extensions import override

from audioflow.audio import AMPLITUDE_STEP
from audioflow.distributions.base import uniform
from audioflow.distributions.mixture import Mixture

LOWEST = -1.0
HIGHEST = 1.0 - AMPLITUDE_STEP


class LogisticMixture(Mixture):
    r"""A mixture of ``K`` logistics on no grid: heavier tails than Gaussians.

    .. math:: \log p(x) = \log \sum_k \pi_k\, \frac{\sigma(y_k)\,\sigma(-y_k)}{s_k} \qquad y_k = (x - \mu_k) / s_k

    Args:
        components: ``K``; ``params`` are ``K`` logits, ``K`` means, ``K`` log-scales.
        min_log_scale: floor of the log-scales.
    """

    @override
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        log_weights, mean, log_scale = self.parts(params)
        y = (x - mean) * torch.exp(-log_scale)
        return torch.logsumexp(log_weights + logsigmoid(y) + logsigmoid(-y) - log_scale, dim=1)

    @override
    def sample(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        mean, scale = self.component(params, noise[:, :1], temperature)
        return mean + scale * torch.logit(uniform(noise[:, 1:]))


class DiscretizedLogisticMixture(Mixture):
    r"""A mixture of ``K`` logistics, integrated over the cells of the 16-bit grid.

    The mass of grid value ``v`` is, with half a step :math:`\delta = 2^{-16}`,

    .. math:: \sum_k \pi_k [\sigma((v + \delta - \mu_k)/s_k) - \sigma((v - \delta - \mu_k)/s_k)]

    and the outermost cells reach to infinity, so the 65,536 masses sum to one. The difference is taken in the log
    domain by :math:`\sigma(b) - \sigma(a) = \sigma(b)\,\sigma(-a)\,(1 - e^{a - b})`, which is exact at any scale and
    needs no fallback. ``x`` is rounded to the grid first.

    Args:
        components: ``K``; ``params`` are ``K`` logits, ``K`` means, ``K`` log-scales.
        min_log_scale: floor of the log-scales.

    References:
        Salimans et al., "PixelCNN++", 2017, https://arxiv.org/abs/1701.05517
        van den Oord et al., "Parallel WaveNet", 2017, https://arxiv.org/abs/1711.10433
    """

    @override
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        log_weights, mean, log_scale = self.parts(params)
        value = to_grid(x)
        lower, inner, upper = self._masses(value, mean, log_scale)
        log_mass = torch.where(value <= LOWEST, lower, inner)
        log_mass = torch.where(value >= HIGHEST, upper, log_mass)
        total = torch.logsumexp(log_weights + log_mass, dim=1)
        return total - math.log(AMPLITUDE_STEP)

    @override
    def smooth_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """The mean density over one step around ``x``: on the grid, but for its ends, it is that of :meth:`log_prob`.

        It is the density of the undiscretised mixture with uniform noise of one step added, so it integrates to one.
        """
        log_weights, mean, log_scale = self.parts(params)
        _, inner, _ = self._masses(x, mean, log_scale)
        return torch.logsumexp(log_weights + inner, dim=1) - math.log(AMPLITUDE_STEP)

    @staticmethod
    def _masses(value: Tensor, mean: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-masses below the upper end of the cell around ``value``, within it, and above its lower end."""
        half = AMPLITUDE_STEP / 2
        upper = (value + half - mean) * torch.exp(-log_scale)
        lower = (value - half - mean) * torch.exp(-log_scale)
        inner = logsigmoid(upper) + logsigmoid(-lower) + log1mexp(math.log(AMPLITUDE_STEP) - log_scale)
        return logsigmoid(upper), inner, logsigmoid(-lower)

    @override
    def sample(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        mean, scale = self.component(params, noise[:, :1], temperature)
        return to_grid(mean + scale * torch.logit(uniform(noise[:, 1:])))


def to_grid(x: Tensor) -> Tensor:
    """The nearest value of the 16-bit grid, ``k 2^-15`` with ``k`` from -32768 to 32767."""
    return (torch.round(x / AMPLITUDE_STEP) * AMPLITUDE_STEP).clamp(LOWEST, HIGHEST)


def log1mexp(log_x: Tensor) -> Tensor:
    """``log(1 - exp(-x))`` of a positive ``x`` given by its logarithm: finite also where ``x`` would underflow."""
    # Below this the series log(x) - x/2 + x^2/24 is exact to float64; its neighbour would lose digits.
    small = log_x < math.log(1e-3)
    tiny = torch.exp(log_x.clamp(max=math.log(1e-3)))
    series = log_x - tiny / 2 + tiny.square() / 24
    x = torch.exp(log_x.clamp(min=math.log(1e-3)))
    return torch.where(small, series, torch.log(-torch.expm1(-x)))
