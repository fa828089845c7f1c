"""What training reads: random stretches of the utterances."""

import bisect
import itertools
import logging
from typing import TypedDict

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from audioflow.corpora.prepared import PreparedCorpus
from audioflow.corpora.records import Entry
from audioflow.corpora.splits import Split
from audioflow.errors import CorpusError

logger = logging.getLogger(__name__)


class Item(TypedDict):
    """One example.

    wav [F * hop_length] in [-1, 1], mel [M, F], what lies around them (see `Segment`), the utterance's id, the index of
    its speaker.
    """

    wav: Tensor
    mel: Tensor
    before: Tensor
    mel_before: Tensor
    mel_after: Tensor
    id: str
    speaker: int


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
        samples_before: how many real samples before each stretch come with it.

    Attributes:
        epoch: the epoch that indexing reads from, see `set_epoch`.
        left_out: number of utterances shorter than a stretch.

    Raises:
        CorpusError: ``segment_frames`` is less than one, the split is empty, or all of it is too short.
    """

    def __init__(
        self, prepared: PreparedCorpus, split: Split, segment_frames: int, seed: int = 0, samples_before: int = 0
    ) -> None:
        if segment_frames < 1:
            raise CorpusError(f"segment_frames is {segment_frames}, but a segment has at least one frame.")
        entries = _entries(prepared, split)
        self.prepared = prepared
        self.segment_frames = segment_frames
        self.seed = seed
        self.samples_before = samples_before
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
        segment = self.prepared.load_around(entry, start, self.segment_frames, self.samples_before)
        return {**segment._asdict(), "id": entry.id, "speaker": self.prepared.speaker_index(entry)}  # type: ignore[typeddict-item]

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


def _entries(prepared: PreparedCorpus, split: Split) -> list[Entry]:
    entries = prepared.entries(split)
    if not entries:
        raise CorpusError(
            f"The split {split} of {prepared.directory} is empty: the ids decide, and about one utterance in twenty is "
            "for validation and one for testing; add recordings."
        )
    return entries
