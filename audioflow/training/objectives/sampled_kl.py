"""Distance to a teacher whose law has no closed form: Parallel WaveNet's probability density distillation."""

import math
from typing import Literal

import torch
from torch import Tensor

from audioflow.distributions import OutputLaw
from audioflow.distributions.base import uniform

BaseLaw = Literal["normal", "logistic"]

ENTROPY = {"normal": 0.5 * math.log(2 * math.pi * math.e), "logistic": 2.0}
"""Entropy of the base laws at scale 1, in nats."""


def entropy(log_scale: Tensor, base: BaseLaw) -> Tensor:
    """Entropy of each sample's law in closed form: ``log_scale`` plus that of the base, in nats."""
    return log_scale + ENTROPY[base]


def draws(mean: Tensor, log_scale: Tensor, base: BaseLaw, noise: Tensor) -> Tensor:
    """Several draws from the law of each sample.

    Args:
        mean: ``[B, T]``.
        log_scale: ``[B, T]``.
        base: family of the law.
        noise: standard normal, ``[S, B, T]``.

    Returns:
        ``[S, B, T]``, with gradients in mean and scale.
    """
    standard = noise if base == "normal" else torch.logit(uniform(noise))
    return mean + torch.exp(log_scale) * standard


def cross_entropy(law: OutputLaw, params: Tensor, drawn: Tensor) -> Tensor:
    r"""Estimate :math:`-E_{x \sim q} \log p(x)` for each sample by the mean over several draws from ``q``.

    The past that decides ``p`` is one path for all draws; only the sample itself is drawn several times. A divergence
    is this less the entropy.

    Args:
        law: the teacher's.
        params: its parameters, ``[B, P, T]``.
        drawn: ``[S, B, T]``.

    Returns:
        ``[B, T]``, in nats.

    References:
        van den Oord et al., "Parallel WaveNet", 2017, https://arxiv.org/abs/1711.10433, appendix A.1
    """
    terms = [law.smooth_log_prob(params, one[:, None]) for one in drawn]
    return -torch.stack(terms).mean(dim=0)
