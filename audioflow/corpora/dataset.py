"""What training reads: random stretches of the utterances; what validation reads: the utterances whole."""

import bisect
import itertools
import logging
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from audioflow.corpora.prepared import PreparedCorpus
from audioflow.corpora.records import Entry
from audioflow.corpora.splits import Split
from audioflow.errors import CorpusError

logger = logging.getLogger(__name__)


class Item(TypedDict):
    """One example: wav [F * hop_length] in [-1, 1], mel [M, F], the utterance's id, the index of its speaker."""

    wav: Tensor
    mel: Tensor
    id: str
    speaker: int


class Batch(TypedDict):
    """Examples of unequal length: wav [B, T], mel [B, M, F], lengths [B] in frames, ids, speaker [B]."""

    wav: Tensor
    mel: Tensor
    lengths: Tensor
    id: list[str]
    speaker: Tensor


class SegmentDataset(Dataset[Item]):
    """Stretches of equal length, drawn anew in each epoch.

    Example ``index`` of an epoch is decided by (seed, epoch, index) alone: an utterance with a probability in
    proportion to its length, then a frame in it at which the stretch begins. So it is the same in any order of reading,
    with any number of worker processes, and after a resumed run. An epoch has about as many frames as the split.

    Utterances shorter than a stretch are left out, never filled up with zeros, which a model would learn to speak.

    Args:
        prepared: the corpus.
        split: which part of it.
        segment_frames: length of a stretch in frames.
        seed: of the drawing.

    Attributes:
        epoch: the epoch that indexing reads from, see `set_epoch`.
        left_out: number of utterances shorter than a stretch.

    Raises:
        CorpusError: ``segment_frames`` is less than one, the split is empty, or all of it is too short.
    """

    def __init__(self, prepared: PreparedCorpus, split: Split, segment_frames: int, seed: int = 0) -> None:
        if segment_frames < 1:
            raise CorpusError(f"segment_frames is {segment_frames}, but a segment has at least one frame.")
        entries = _entries(prepared, split)
        self.prepared = prepared
        self.segment_frames = segment_frames
        self.seed = seed
        self.entries = [entry for entry in entries if entry.frames >= segment_frames]
        self.left_out = len(entries) - len(self.entries)
        self._require_some(entries, split)
        self._ends = list(itertools.accumulate(entry.frames for entry in self.entries))
        self.epoch = 0

    def __len__(self) -> int:
        return max(1, self._ends[-1] // self.segment_frames)

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} segments, number {index} is not one of them")
        return self.segment(self.epoch, index)

    def segment(self, epoch: int, index: int) -> Item:
        """Read example ``index`` of an epoch; the way in for loader processes that live on from epoch to epoch."""
        entry, start = self.draw(epoch, index)
        wav, mel = self.prepared.load_segment(entry, start, self.segment_frames)
        return {"wav": wav, "mel": mel, "id": entry.id, "speaker": self.prepared.speaker_index(entry)}

    def set_epoch(self, epoch: int) -> None:
        """Go to another epoch, before its first example is read and before loader processes are started."""
        self.epoch = epoch

    def draw(self, epoch: int, index: int) -> tuple[Entry, int]:
        """Say which utterance, and from which frame on, an example is."""
        generator = np.random.default_rng([self.seed, epoch, index])
        entry = self.entries[bisect.bisect_right(self._ends, int(generator.integers(self._ends[-1])))]
        return entry, int(generator.integers(entry.frames - self.segment_frames + 1))

    def _require_some(self, entries: list[Entry], split: Split) -> None:
        if not self.entries:
            longest = max(entry.frames for entry in entries)
            raise CorpusError(
                f"No utterance in the split {split} of {self.prepared.directory} has segment_frames = "
                f"{self.segment_frames} frames, the longest has {longest}; choose shorter segments."
            )
        if self.left_out:
            logger.warning(
                "%d of %d utterances in the split %s are shorter than %d frames and are left out",
                self.left_out,
                len(entries),
                split,
                self.segment_frames,
            )


class WholeDataset(Dataset[Item]):
    """The utterances of a split, whole, in the order of the corpus.

    Args:
        prepared: the corpus.
        split: which part of it.
        max_frames: longer utterances are cut after so many frames; None keeps them whole.

    Raises:
        CorpusError: the split is empty, or ``max_frames`` is less than one.
    """

    def __init__(self, prepared: PreparedCorpus, split: Split, max_frames: int | None = None) -> None:
        if max_frames is not None and max_frames < 1:
            raise CorpusError(f"max_frames is {max_frames}, but an utterance has at least one frame.")
        self.prepared = prepared
        self.entries = _entries(prepared, split)
        self.max_frames = max_frames

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Item:
        entry = self.entries[index]
        frames = entry.frames if self.max_frames is None else min(entry.frames, self.max_frames)
        wav, mel = self.prepared.load_segment(entry, 0, frames)
        return {"wav": wav, "mel": mel, "id": entry.id, "speaker": self.prepared.speaker_index(entry)}


def pad_batch(items: Sequence[Item]) -> Batch:
    """Put examples of unequal length into one batch (a ``collate_fn``).

    The wav is filled up with zeros and the mel with its own last frame; ``lengths`` says what is valid.
    """
    lengths = torch.tensor([item["mel"].shape[1] for item in items])
    hop = items[0]["wav"].shape[0] // items[0]["mel"].shape[1]
    frames = int(lengths.max())
    wav = torch.stack([torch.nn.functional.pad(item["wav"], (0, frames * hop - len(item["wav"]))) for item in items])
    mel = torch.stack([_extend(item["mel"], frames) for item in items])
    speaker = torch.tensor([item["speaker"] for item in items])
    return {"wav": wav, "mel": mel, "lengths": lengths, "id": [item["id"] for item in items], "speaker": speaker}


def _extend(mel: Tensor, frames: int) -> Tensor:
    return torch.cat([mel, mel[:, -1:].expand(-1, frames - mel.shape[1])], dim=1)


def _entries(prepared: PreparedCorpus, split: Split) -> list[Entry]:
    entries = prepared.entries(split)
    if not entries:
        raise CorpusError(
            f"The split {split} of {prepared.directory} is empty: the ids decide, and about one utterance in twenty is "
            "for validation and one for testing; add recordings."
        )
    return entries
