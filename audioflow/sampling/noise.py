"""Noise from a seed: the same on every device and in every batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def utterance_noise(seed: int, channels: int, steps: int) -> Tensor:
    """Standard normal noise of one utterance, ``[channels, steps]``, float64.

    Drawn by the counter-based Philox generator in order of time, so the noise of a shorter utterance is the beginning
    of the noise of a longer one.

    >>> bool((utterance_noise(7, 2, 5)[:, :3] == utterance_noise(7, 2, 3)).all())
    True
    """
    generator = np.random.Generator(np.random.Philox(seed))
    return torch.from_numpy(generator.standard_normal((steps, channels))).t()


def batch_noise(
    seed: int | Sequence[int], channels: int, steps: Sequence[int], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Noise ``[B, channels, max(steps)]``, zero after the end of each utterance.

    Args:
        seed: one seed per utterance, or a number ``s``: utterance ``b`` gets ``s + b``.
        channels: numbers per step.
        steps: length of each utterance.
        dtype: of the result; the numbers are drawn in float64 and rounded.
        device: of the result; drawn on the CPU.
    """
    seeds = [seed + index for index in range(len(steps))] if isinstance(seed, int) else list(seed)
    if len(seeds) != len(steps):
        raise ValueError(f"{len(seeds)} seeds were given for {len(steps)} utterances")
    noise = torch.zeros(len(steps), channels, max(steps), dtype=torch.float64)
    for row, (own_seed, length) in enumerate(zip(seeds, steps, strict=True)):
        noise[row, :, :length] = utterance_noise(own_seed, channels, length)
    return noise.to(device=device, dtype=dtype)
