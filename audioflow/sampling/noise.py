"""Noise from a seed: the same on every device and in every batch."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor


class NoiseWindow:
    """Standard normal noise of some utterances, drawn when it is asked for, in order of time.

    Each has a counter-based Philox generator of its own, which gives float64 numbers, step by step.

    Args:
        seeds: one for each utterance.
        channels: numbers for each step.
        steps: length of each utterance, after which there are zeros; ``None`` for no end.
        dtype: of the result.
        device: of the result.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        channels: int,
        steps: Sequence[int] | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
        self._steps = steps
        self.dtype, self._device = dtype, device
        self._kept = torch.zeros(len(seeds), channels, 0, dtype=dtype, device=device)
        self._first = 0

    def __len__(self) -> int:
        """Utterances."""
        return len(self._generators)

    def cut(self, start: int, stop: int) -> Tensor:
        """Steps ``start`` to ``stop - 1``, ``[B, channels, stop - start]``; earlier ones are not asked for again."""
        drawn = self._first + self._kept.shape[-1]
        if stop > drawn:
            self._kept = torch.cat([self._kept, self._draw(drawn, stop)], dim=-1)
        self._kept = self._kept[..., start - self._first :]
        self._first = start
        return self._kept[..., : stop - start]

    def _draw(self, start: int, stop: int) -> Tensor:
        # Threads write to numpy's array: torch's inference mode is that of one thread.
        noise = np.zeros((len(self._generators), self._kept.shape[1], stop - start))

        def fill(row: int) -> None:
            length = stop - start if self._steps is None else min(stop, self._steps[row]) - start
            if length > 0:
                noise[row, :, :length] = self._generators[row].standard_normal((length, noise.shape[1])).T

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            # Numbers are drawn without holding Python's lock. An error comes out here.
            list(pool.map(fill, range(len(self._generators))))
        return torch.from_numpy(noise).to(device=self._device, dtype=self.dtype)


def seeds_of(seed: int | Sequence[int], utterances: int) -> list[int]:
    """One seed for each utterance: those that are listed, or of a number ``s`` the numbers from ``s`` on.

    Raises:
        ValueError: there are more or fewer than utterances.
    """
    seeds = [seed + index for index in range(utterances)] if isinstance(seed, int) else list(seed)
    if len(seeds) != utterances:
        raise ValueError(f"{len(seeds)} seeds were given for {utterances} utterances")
    return seeds


def utterance_noise(seed: int, channels: int, steps: int) -> Tensor:
    """Standard normal noise of one utterance, ``[channels, steps]``, float64.

    The noise of a shorter utterance is the beginning of the noise of a longer one.

    >>> bool((utterance_noise(7, 2, 5)[:, :3] == utterance_noise(7, 2, 3)).all())
    True
    """
    return batch_noise([seed], channels, [steps], torch.float64, torch.device("cpu"))[0]


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
    return NoiseWindow(seeds_of(seed, len(steps)), channels, steps, dtype, device).cut(0, max(steps))
