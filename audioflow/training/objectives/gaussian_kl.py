"""Distance between two Gaussians for each sample, in closed form: distillation as ClariNet has it."""

import torch
from torch import Tensor

from audioflow.distributions.base import soft_floor


def gaussian_kl(mean_q: Tensor, log_scale_q: Tensor, mean_p: Tensor, log_scale_p: Tensor) -> Tensor:
    r"""Elementwise Kullback-Leibler divergence ``KL(q || p)`` of two normal laws, in nats.

    .. math:: s_p - s_q + \tfrac12 (e^{2(s_q - s_p)} + (\mu_q - \mu_p)^2 e^{-2 s_p} - 1)

    With the student as ``q`` it is the reverse divergence, which a narrow student can make small by leaving out what
    the teacher allows; with the teacher as ``q`` the forward one, which asks the student to cover it.

    References:
        Ping, Peng and Chen, "ClariNet", 2018, https://arxiv.org/abs/1807.07281, equations 4 to 6

    >>> gaussian_kl(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(1.0), torch.tensor(0.0)).item()
    0.5
    """
    log_ratio = log_scale_q - log_scale_p
    miss = (mean_q - mean_p) * torch.exp(-log_scale_p)
    return 0.5 * (torch.expm1(2 * log_ratio) + miss.square()) - log_ratio


def scale_difference(log_scale_q: Tensor, log_scale_p: Tensor) -> Tensor:
    r"""ClariNet's regulariser :math:`(s_q - s_p)^2`, elementwise: strong where a divergence of narrow laws is not."""
    return (log_scale_q - log_scale_p).square()


def floored(log_scale: Tensor, floor: float) -> Tensor:
    """Bound log-scales from below, smoothly.

    A divergence divides by the narrower law: in a pause, where a teacher is sure to a fraction of a step, it would
    outweigh all speech.
    """
    return soft_floor(log_scale, floor)
