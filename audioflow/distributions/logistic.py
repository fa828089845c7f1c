"""Mixture of logistics, discretised to the 16-bit grid."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from typing_extensions import override

from audioflow.audio import AMPLITUDE_STEP
from audioflow.distributions.base import OutputLaw, choose, soft_floor, uniform
from audioflow.distributions.gaussian import mixture_at_level

LOWEST = -1.0
HIGHEST = 1.0 - AMPLITUDE_STEP


class DiscretizedLogisticMixture(OutputLaw):
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

    noise_channels = 2

    def __init__(self, components: int = 10, min_log_scale: float = -11.5) -> None:
        self.components = components
        self.parameter_channels = 3 * components
        self.min_log_scale = min_log_scale

    @override
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        logits, mean, raw = params.chunk(3, dim=1)
        log_scale = soft_floor(raw, self.min_log_scale)
        value = to_grid(x)
        half = AMPLITUDE_STEP / 2
        upper = (value + half - mean) * torch.exp(-log_scale)
        lower = (value - half - mean) * torch.exp(-log_scale)
        inner = logsigmoid(upper) + logsigmoid(-lower) + log1mexp(math.log(AMPLITUDE_STEP) - log_scale)
        log_mass = torch.where(value <= LOWEST, logsigmoid(upper), inner)
        log_mass = torch.where(value >= HIGHEST, logsigmoid(-lower), log_mass)
        total = torch.logsumexp(torch.log_softmax(logits, dim=1) + log_mass, dim=1)
        return total - math.log(AMPLITUDE_STEP)

    @override
    def sample(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        logits, mean, raw = params.chunk(3, dim=1)
        index, _ = choose(logits, noise[:, :1], temperature)
        scale = temperature * soft_floor(raw.gather(1, index), self.min_log_scale).exp()
        return to_grid(mean.gather(1, index) + scale * torch.logit(uniform(noise[:, 1:])))

    @override
    def at_level(self, outputs: Tensor, level: Tensor) -> Tensor:
        return mixture_at_level(outputs, level)


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
