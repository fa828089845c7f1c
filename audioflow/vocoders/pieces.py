"""A mel that comes and goes in order of time, and the stretches that are made of it one after another."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

LONGEST_PIECE = 10.0
"""Seconds that a piece has at most: memory does not grow with the length of an utterance."""


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
        return self._take(stop)

    def reach_end(self) -> int:
        """Wait for all frames; their number."""
        return self._take(None)

    def _take(self, stop: int | None) -> int:
        arrived, end = [] if self._kept is None else [self._kept], self.end
        while not self.ended and (stop is None or end < stop):
            piece = next(self._pieces, None)
            if piece is None:
                self.ended = True
            else:
                arrived.append(piece)
                end += piece.shape[-1]
        if len(arrived) > 1 or self._kept is None:
            # A mel that comes in one piece is not copied.
            self._kept = torch.cat(arrived, dim=-1) if len(arrived) > 1 else arrived[0] if arrived else None
        return self.end

    def cut(self, start: int, stop: int) -> Tensor:
        """Frames ``start`` to ``stop - 1``; those before ``start`` are not asked for again."""
        assert self._kept is not None  # noqa: S101
        self._kept = self._kept[..., start - self._first :]
        self._first = start
        return self._kept[..., : stop - start]


class Stretch(NamedTuple):
    """Frames ``start`` to ``stop - 1`` are to be made, and ``first`` to ``last - 1`` are given for that."""

    start: int
    stop: int
    first: int
    last: int


def stretches(source: MelWindow, size: int, largest: int, behind: int, ahead: int) -> Iterator[Stretch]:
    """Go through a mel, waiting for the frames that each stretch needs.

    Args:
        source: the mel.
        size: frames of the first stretch; each is twice as long as the one before.
        largest: frames of the longest stretch.
        behind: frames that are needed before a stretch.
        ahead: frames that are needed after it.
    """
    start, end = 0, source.reach(size + ahead)
    while start < end:
        stop = min(start + size, end)
        yield Stretch(start, stop, max(0, start - behind), min(stop + ahead, end))
        size = max(size, min(2 * size, largest))
        start, end = stop, source.reach(stop + size + ahead)
