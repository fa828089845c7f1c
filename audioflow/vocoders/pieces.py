"""Mel and noise that come and go in order of time, for synthesis in pieces."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


class MelWindow:
    """Frames of a mel that arrives in pieces ``[B, M, n]``; those that are no longer needed are forgotten.

    Args:
        pieces: one after another.
    """

    def __init__(self, pieces: Iterable[Tensor]) -> None:
        self._pieces: Iterator[Tensor] = iter(pieces)
        self._kept: Tensor | None = None
        self._first = 0
        self.ended = False

    @property
    def end(self) -> int:
        """Frames that have arrived."""
        return self._first + (0 if self._kept is None else self._kept.shape[-1])

    def reach(self, stop: int) -> int:
        """Wait until frame ``stop - 1`` is there, or until there are no more; the number of frames that have come."""
        while not self.ended and self.end < stop:
            piece = next(self._pieces, None)
            if piece is None:
                self.ended = True
            else:
                self._kept = piece if self._kept is None else torch.cat([self._kept, piece], dim=-1)
        return self.end

    def cut(self, start: int, stop: int) -> Tensor:
        """Frames ``start`` to ``stop - 1``; those before ``start`` are not asked for again."""
        assert self._kept is not None  # noqa: S101
        self._kept = self._kept[..., start - self._first :]
        self._first = start
        return self._kept[..., : stop - start]


class NoiseWindow:
    """Standard normal noise of some utterances, the numbers of :func:`audioflow.sampling.batch_noise` in order of time.

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
        noise = torch.zeros(len(self._generators), self._kept.shape[1], stop - start, dtype=torch.float64)
        for row, generator in enumerate(self._generators):
            length = stop - start if self._steps is None else min(stop, self._steps[row]) - start
            if length > 0:
                noise[row, :, :length] = torch.from_numpy(generator.standard_normal((length, noise.shape[1]))).t()
        return noise.to(device=self._device, dtype=self.dtype)
