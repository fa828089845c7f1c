"""Contrastive distillation: a sample should not be as likely under another utterance's mel as under its own."""

import torch
from torch import Tensor


def contrast(divergence_of_other: Tensor, bound: float) -> Tensor:
    r"""What is taken off the loss, times gamma, for the divergence from the teacher that is told another mel.

    .. math:: \text{bound} \cdot \tanh(D / \text{bound})

    for each sample, ``D [B, T]``; a mean. Parallel WaveNet takes ``D`` as it is. Ours is bounded: a Gaussian teacher's
    divergence grows with the square of the distance, and a student could win without end by being loud.

    References:
        van den Oord et al., "Parallel WaveNet", 2017, https://arxiv.org/abs/1711.10433 (gamma = 0.3)
    """
    return (bound * torch.tanh(divergence_of_other / bound)).mean()


def others(batch: Tensor) -> Tensor:
    """To each utterance of a batch the one before it: ``a b c`` -> ``c a b``."""
    return batch.roll(1, dims=0)
