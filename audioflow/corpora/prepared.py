"""Reading a prepared corpus."""

from pathlib import Path
from typing import NamedTuple

import soundfile
import torch
from safetensors import safe_open
from torch import Tensor

from audioflow.audio import load_mel
from audioflow.corpora.records import MANIFEST, Entry, mel_path, read_corpus_file, read_decisions, wav_path
from audioflow.corpora.splits import SPLITS, Split, fraction_of
from audioflow.errors import CorpusError


class Segment(NamedTuple):
    """A stretch of an utterance, and what lies around it.

    Attributes:
        wav: ``[frames * hop_length]``.
        mel: ``[M, frames]``.
        before: samples before the first, ``[P]``.
        mel_before: the frame before the first, ``[M, 1]``; the first itself at the start of the utterance.
        mel_after: the frame after the last, ``[M, 1]``; the last itself at the end.
    """

    wav: Tensor
    mel: Tensor
    before: Tensor
    mel_before: Tensor
    mel_after: Tensor


class PreparedCorpus:
    """A directory that ``prepare`` has filled.

    Args:
        directory: where it lies.
        train_minutes: how much of the training split there is, in utterances that their ids choose, whatever others
            there are; the one that reaches it is the last. None for all of it.

    Attributes:
        directory: where it lies.
        name: the corpus it was made from.
        contract: the front-end of its mels.
        speakers: the names of the speakers, sorted; one that is empty stands for "not told apart".

    Raises:
        CorpusError: nothing was prepared there, or not to the end, or nothing fit for use was found.
    """

    def __init__(self, directory: str | Path, train_minutes: float | None = None) -> None:
        self.directory = Path(directory)
        content = read_corpus_file(self.directory)
        if content is None:
            raise CorpusError(f"{self.directory} holds no prepared corpus; make it with 'audioflow prepare'.")
        if not content.complete:
            raise CorpusError(f"{self.directory} is prepared in part only; run 'audioflow prepare' again to finish it.")
        self.name = content.corpus
        self.contract = content.contract
        self._entries = [entry for entry in read_decisions(self.directory / MANIFEST) if isinstance(entry, Entry)]
        if not self._entries:
            raise CorpusError(f"{self.directory / MANIFEST} lists no utterance; prepare the corpus again.")
        self.speakers = sorted({entry.speaker for entry in self._entries})
        if train_minutes is not None:
            self._leave_out_beyond(train_minutes)

    def _leave_out_beyond(self, minutes: float) -> None:
        """Keep so much of the training split, the least numbers first that ids decide; held-out speech stays."""
        left, kept = 60 * minutes * self.contract.sample_rate, set()
        for entry in sorted(self.entries("train"), key=lambda entry: fraction_of(entry.id)):
            if left > 0:
                kept.add(entry.id)
                left -= entry.samples
        self._entries = [entry for entry in self._entries if entry.split != "train" or entry.id in kept]

    def entries(self, split: Split | None = None) -> list[Entry]:
        """List the utterances of a split, or all of them, in the order of the corpus."""
        if split is not None and split not in SPLITS:
            raise CorpusError(f"There is no split called {split!r}; the splits are {', '.join(SPLITS)}.")
        return [entry for entry in self._entries if split in (None, entry.split)]

    def speaker_index(self, entry: Entry) -> int:
        """Say which of `speakers` speaks."""
        return self.speakers.index(entry.speaker)

    def load(self, entry: Entry) -> tuple[Tensor, Tensor]:
        """Read a whole utterance, cropped to whole frames.

        Returns:
            wav [T] float32 in [-1, 1] with ``T = F * hop_length``, and mel [M, F].

        Raises:
            CorpusError: a file is gone or damaged.
            MelError: the mel is of another contract than the corpus.
        """
        try:
            mel, _ = load_mel(mel_path(self.directory, entry.id), self.contract)
            return self._read_wav(entry, 0, entry.frames), mel[:, : entry.frames]
        except (OSError, soundfile.LibsndfileError) as error:
            raise self._damaged(entry, error) from error

    def load_segment(self, entry: Entry, start: int, frames: int) -> tuple[Tensor, Tensor]:
        """Read ``frames`` frames from frame ``start`` on, and nothing else of the files.

        The mel is cut out of the mel of the whole utterance, so its borders have seen the sound beyond them.

        Returns:
            wav [frames * hop_length] and mel [M, frames].

        Raises:
            CorpusError: the stretch is not inside the utterance, or a file is gone or damaged.
        """
        if not 0 <= start <= start + frames <= entry.frames:
            raise CorpusError(
                f"{entry.id} has {entry.frames} frames; frames {start} to {start + frames} are not in it."
            )
        try:
            with safe_open(mel_path(self.directory, entry.id), framework="pt") as file:
                mel = file.get_slice("mel")[:, start : start + frames]
            return self._read_wav(entry, start, frames), mel
        except Exception as error:  # safetensors raises its own class, which is no OSError
            raise self._damaged(entry, error) from error

    def load_around(self, entry: Entry, start: int, frames: int, samples: int) -> "Segment":
        """Read a segment as :meth:`load_segment` does, with what lies around it in the utterance.

        Args:
            entry: the utterance.
            start: first frame.
            frames: of the segment.
            samples: how many are wanted of those before it; zeros where the utterance has not begun.

        Raises:
            CorpusError: see :meth:`load_segment`.
        """
        hop = self.contract.hop_length
        first = max(0, start - max(1, -(-samples // hop)))
        last = min(entry.frames, start + frames + 1)
        wav, mel = self.load_segment(entry, first, last - first)
        own = start - first
        before = torch.nn.functional.pad(wav[: own * hop], (samples, 0))
        return Segment(
            wav[own * hop : (own + frames) * hop],
            mel[:, own : own + frames],
            before[len(before) - samples :],
            mel[:, max(own - 1, 0) : max(own - 1, 0) + 1],
            mel[:, -1:],
        )

    def _read_wav(self, entry: Entry, start: int, frames: int) -> Tensor:
        hop = self.contract.hop_length
        path = wav_path(self.directory, entry.id)
        wav, _ = soundfile.read(path, frames=frames * hop, start=start * hop, dtype="float32")
        if len(wav) != frames * hop:
            raise OSError(f"{path} ends early")
        return torch.from_numpy(wav)

    def _damaged(self, entry: Entry, error: Exception) -> CorpusError:
        return CorpusError(
            f"The files of {entry.id} in {self.directory} are gone or damaged ({error}); "
            "remove its wav and prepare the corpus again."
        )
