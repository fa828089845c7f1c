"""Base distributions: the law of the noise at the far end of a flow."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from typing_extensions import override

from audioflow.distributions.gaussian import normal_log_density
from audioflow.flows.kernels import soft_clip
from audioflow.nets.masks import full_precision, masked, wide


class Base(nn.Module, ABC):
    """A law of ``z [B, C, T]``, independent from value to value given the conditioning.

    A draw is a function of standard normal noise, so that one seed is one draw.
    """

    @abstractmethod
    def log_prob(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Log-density of the valid steps of each utterance, ``[B]``, in nats."""

    @abstractmethod
    def sample(
        self, noise: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        """The draw ``[B, C, T]`` that standard normal ``noise [B, C, T]`` selects; temperature narrows the law."""


class StandardNormal(Base):
    r"""``log p(z) = sum -z^2 / 2 - log sqrt(2 pi)``."""

    @override
    def log_prob(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        with full_precision(z):
            zero = wide(z).new_zeros(())
            return masked(normal_log_density(wide(z), zero, zero), mask).sum(dim=(1, 2))

    @override
    def sample(
        self, noise: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        return masked(noise * temperature, mask)


class Logistic(Base):
    r"""The standard logistic law: heavier tails than the normal one.

    .. math:: \log p(z) = \textstyle\sum \log \sigma(z) + \log \sigma(-z) \qquad z = \text{logit}(\Phi(n))
    """

    @override
    def log_prob(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        with full_precision(z):
            z = wide(z)
            return masked(logsigmoid(z) + logsigmoid(-z), mask).sum(dim=(1, 2))

    @override
    def sample(
        self, noise: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        with full_precision(noise):
            noise = wide(noise)
            # The difference of log-probabilities keeps digits far out in either tail.
            z = torch.special.log_ndtr(noise) - torch.special.log_ndtr(-noise)
            return masked(temperature * z, mask)


class _ScaledNormal(Base):
    """A normal law of mean zero-or-learned and a scale that is not one."""

    @abstractmethod
    def _mean_and_log_scale(self, z: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """What broadcasts against ``z [B, C, T]``."""

    @override
    def log_prob(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        with full_precision(z):
            mean, log_scale = self._mean_and_log_scale(wide(z), cond)
            return masked(normal_log_density(wide(z), mean, log_scale), mask).sum(dim=(1, 2))

    @override
    def sample(
        self, noise: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        with full_precision(noise):
            mean, log_scale = self._mean_and_log_scale(wide(noise), cond)
            return masked(mean + temperature * torch.exp(log_scale) * wide(noise), mask)


class DiagonalNormal(_ScaledNormal):
    """A normal law with a learned mean and scale for each channel: the diagonal scaling at the end of NICE.

    Args:
        channels: ``C``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(channels, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1))

    @override
    def _mean_and_log_scale(self, z: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.mean, self.log_scale


class MelNormal(_ScaledNormal):
    r"""A normal law whose scale is read off the mel at each step: loud noise where the mel says so.

    .. math:: \log p(z_t | c) = \log N(z_t;\, 0,\, e^{2 s(c_t)}) \qquad s(c_t) = l \tanh((W c_t + b) / l)

    The scale is known given the mel, so the likelihood stays exact. It starts as the standard normal law.

    Args:
        channels: ``C``.
        cond_channels: channels of ``cond``.
        limit: ``l``.

    References:
        Lee et al., "PriorGrad", 2021, https://arxiv.org/abs/2106.06406 (a prior that follows the mel's energy)
    """

    def __init__(self, channels: int, cond_channels: int, limit: float = 3.0) -> None:
        super().__init__()
        self.limit = limit
        self.scale = nn.Conv1d(cond_channels, channels, 1)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.scale.bias)  # type: ignore[arg-type]

    @override
    def _mean_and_log_scale(self, z: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        if cond is None:
            raise ValueError("a mel-conditioned base needs conditioning")
        return z.new_zeros(()), soft_clip(self.scale(cond.to(z.dtype)), self.limit)
