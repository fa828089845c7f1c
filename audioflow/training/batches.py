"""An endless, resumable stream of training batches, split over processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from audioflow.audio import dequantize
from audioflow.corpora.dataset import Item, SegmentDataset
from audioflow.flows import Around


@dataclass(frozen=True)
class Batch:
    """Segments of equal length.

    Args:
        wav: waveforms ``[B, T]`` in [-1, 1].
        mel: log-mel spectrograms ``[B, M, F]``.
        ids: ids of the utterances, for messages.
        speaker: speaker indices ``[B]``, or None.
        around: what lies around the segments in their utterances, or None.
    """

    wav: Tensor
    mel: Tensor
    ids: tuple[str, ...]
    speaker: Tensor | None = None
    around: Around | None = None

    def to(self, device: torch.device) -> "Batch":
        """Give the batch on a device."""
        speaker = None if self.speaker is None else self.speaker.to(device, non_blocking=True)
        wav, mel = (tensor.to(device, non_blocking=True) for tensor in (self.wav, self.mel))
        around = None if self.around is None else Around(*(x.to(device, non_blocking=True) for x in self.around))
        return replace(self, wav=wav, mel=mel, speaker=speaker, around=around)

    def dequantized(self, generator: torch.Generator) -> "Batch":
        """Give the batch with uniform noise of one 16-bit step in its samples, and in those before them."""
        wav, around = dequantize(self.wav, generator), self.around
        if around is not None and around.samples.numel():
            around = around._replace(samples=dequantize(around.samples, generator))
        return replace(self, wav=wav, around=around)


def concatenated(batches: Sequence[Batch]) -> Batch:
    """Put batches of segments of one length together, without their speakers."""
    wav, mel = torch.cat([batch.wav for batch in batches]), torch.cat([batch.mel for batch in batches])
    beside = [batch.around for batch in batches if batch.around is not None]
    around = Around(*(torch.cat(parts) for parts in zip(*beside, strict=True))) if beside else None
    return Batch(wav, mel, tuple(name for batch in batches for name in batch.ids), None, around)


class _AnyEpoch(Dataset[Item]):
    """The segments of every epoch, addressed by ``(epoch, index)``."""

    def __init__(self, segments: SegmentDataset) -> None:
        self.segments = segments

    def __getitem__(self, address: tuple[int, int]) -> Item:
        epoch, index = address
        self.segments.set_epoch(epoch)
        return self.segments[index]


class _Addresses(Sampler[list[tuple[int, int]]]):
    """Batches of addresses for one process of several: numbers ``first * world + rank``, then every ``world``-th.

    With two processes and batches of two, the stream of segments ``0 1 2 3 4 5 6 7 ...`` is dealt like this::

        process 0:  0 1     4 5     ...
        process 1:      2 3     6 7 ...
    """

    def __init__(self, segments: int, batch_size: int, first: int, rank: int, world_size: int) -> None:
        self.segments, self.batch_size = segments, batch_size
        self.first, self.rank, self.world_size = first, rank, world_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        batch = self.first * self.world_size + self.rank
        while True:
            start = batch * self.batch_size
            yield [divmod(number, self.segments) for number in range(start, start + self.batch_size)]
            batch += self.world_size


def endless_batches(
    segments: SegmentDataset,
    batch_size: int,
    *,
    first: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
    voiced: bool = False,
) -> Iterator[Batch]:
    """Give the batches of one process without end, from any place in the stream on.

    Epochs follow one another without a pause, so a batch may hold the end of one and the start of the next.

    Args:
        segments: the training segments; epoch and index alone decide what a segment is.
        batch_size: segments in a batch.
        first: batches of this process to leave out, because an earlier part of the run had them.
        rank: number of this process.
        world_size: number of processes; together they see each segment once an epoch.
        workers: processes that load.
        pin_memory: whether batches are put where a GPU fetches them fast.
        voiced: whether the model is told who speaks.
    """
    loader = DataLoader(
        _AnyEpoch(segments),
        batch_sampler=_Addresses(len(segments), batch_size, first, rank, world_size),
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin_memory,
    )
    for wav, mel, ids, speaker, around in loader:
        yield Batch(wav, mel, tuple(ids), speaker if voiced else None, Around(*around))


def _collate(items: Sequence[Item]) -> tuple[Tensor, Tensor, list[str], Tensor, tuple[Tensor, ...]]:
    names: tuple[Literal["wav", "mel", "before", "mel_before", "mel_after"], ...]
    names = ("wav", "mel", "before", "mel_before", "mel_after")
    wav, mel, *around = (torch.stack([item[name] for item in items]) for name in names)
    return wav, mel, [item["id"] for item in items], torch.tensor([item["speaker"] for item in items]), tuple(around)
