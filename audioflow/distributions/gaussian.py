"""Gaussian laws: one, or a mixture."""

import math

import torch
from torch import Tensor
from typing_extensions import override

from audioflow.distributions.base import OutputLaw, soft_floor
from audioflow.distributions.mixture import Mixture

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Gaussian(OutputLaw):
    r"""One Gaussian for each sample.

    .. math:: \log p(x) = -\tfrac12 e^{-2s} (x - \mu)^2 - s - \tfrac12 \log 2\pi

    with ``(mu, raw) = params`` and ``s = soft_floor(raw, min_log_scale)``. A draw is ``mu + temperature exp(s) noise``,
    so a network with this head is an affine autoregressive flow.

    Args:
        min_log_scale: floor of the log standard deviation; -11.5 is the spread of one 16-bit step.

    References:
        Ping, Peng and Chen, "ClariNet", 2018, https://arxiv.org/abs/1807.07281
    """

    parameter_channels = 2
    noise_channels = 1

    def __init__(self, min_log_scale: float = -11.5) -> None:
        self.min_log_scale = min_log_scale

    def mean_and_log_scale(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """``params [B, 2, T]`` -> mean and log standard deviation, each ``[B, 1, T]``."""
        mean, raw = params.chunk(2, dim=1)
        return mean, soft_floor(raw, self.min_log_scale)

    @override
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        mean, log_scale = self.mean_and_log_scale(params)
        return normal_log_density(x, mean, log_scale).squeeze(1)

    @override
    def sample(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        mean, log_scale = self.mean_and_log_scale(params)
        return mean + temperature * log_scale.exp() * noise

    @override
    def at_level(self, outputs: Tensor, level: Tensor) -> Tensor:
        mean, raw = outputs.chunk(2, dim=1)
        return torch.cat([mean * torch.exp(level), raw + level], dim=1)

    @override
    def moved(self, params: Tensor, shift: Tensor) -> Tensor:
        mean, raw = params.chunk(2, dim=1)
        return torch.cat([mean + shift, raw], dim=1)


class GaussianMixture(Mixture):
    r"""A mixture of ``K`` Gaussians.

    .. math:: \log p(x) = \log \sum_k \pi_k\, N(x; \mu_k, e^{2 s_k}), \qquad \pi = \text{softmax}(\text{logits})

    Args:
        components: ``K``; ``params`` are ``K`` logits, ``K`` means, ``K`` log-scales.
        min_log_scale: floor of the log standard deviations.
    """

    @override
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        log_weights, mean, log_scale = self.parts(params)
        return torch.logsumexp(log_weights + normal_log_density(x, mean, log_scale), dim=1)

    @override
    def sample(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        mean, scale = self.component(params, noise[:, :1], temperature)
        return mean + scale * noise[:, 1:]


def normal_log_density(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Elementwise log N(x; mean, exp(log_scale)^2)."""
    return -0.5 * ((x - mean) * torch.exp(-log_scale)).square() - log_scale - LOG_SQRT_2PI
