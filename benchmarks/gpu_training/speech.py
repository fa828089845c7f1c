"""Speech that lies on the device, whole, and is cut into training segments there."""

from collections.abc import Sequence

import torch
from torch import Tensor

from audioflow.corpora import Entry, PreparedCorpus
from audioflow.flows import Around
from audioflow.training.batches import Batch


class DeviceSpeech:
    """Draws segments as ``SegmentDataset`` does, a batch at once: an utterance by its length, then a frame in it.

    A batch is decided by its seed alone, on one kind of device.

    Args:
        prepared: where the speech is read from.
        entries: utterances to draw from, none of them shorter than a segment.
        segment_frames: length of a segment.
        samples_before: how many real samples before each segment come with it.
        device: where it lies.
        voiced: whether batches say who speaks.
    """

    def __init__(
        self,
        prepared: PreparedCorpus,
        entries: Sequence[Entry],
        segment_frames: int,
        samples_before: int,
        device: torch.device,
        *,
        voiced: bool,
    ) -> None:
        self.segment_frames, self.samples_before = segment_frames, samples_before
        self.hop_length = prepared.contract.hop_length
        wavs, mels = zip(*(prepared.load(entry) for entry in entries), strict=True)
        self.wav = torch.cat(wavs).to(device)
        self.mel = torch.cat([mel.T for mel in mels]).to(device)
        self.frames = torch.tensor([entry.frames for entry in entries], device=device)
        self.ends = self.frames.cumsum(0)
        self.speakers = torch.tensor([prepared.speaker_index(entry) for entry in entries], device=device)
        self.voiced = voiced
        self.generator = torch.Generator(device)

    def batch(self, size: int, seed: int) -> Batch:
        """Draw a batch."""
        device = self.wav.device
        self.generator.manual_seed(seed)
        which, where = torch.rand(2, size, dtype=torch.float64, device=device, generator=self.generator)
        place = (which * self.ends[-1]).long()
        entry = torch.searchsorted(self.ends, place, right=True)
        return self.cut(entry, (where * (self.frames[entry] - self.segment_frames + 1)).long())

    def cut(self, entry: Tensor, start: Tensor) -> Batch:
        """Cut segments.

        Args:
            entry: number of the utterance of each, ``[B]``.
            start: its first frame in that utterance, ``[B]``.
        """
        device, hop = self.wav.device, self.hop_length
        first, last = self.ends[entry] - self.frames[entry], self.ends[entry] - 1
        begin = first + start
        steps = torch.arange(-1, self.segment_frames + 1, device=device)
        frames = torch.minimum(torch.maximum(begin[:, None] + steps, first[:, None]), last[:, None])
        mel = self.mel[frames].transpose(1, 2)
        wav = self.wav.view(-1, hop)[frames[:, 1:-1]].flatten(1)
        around = Around(self._before(begin * hop, first * hop), mel[..., :1].contiguous(), mel[..., -1:].contiguous())
        speaker = self.speakers[entry] if self.voiced else None
        return Batch(wav, mel[..., 1:-1].contiguous(), ("",) * len(start), speaker, around)

    def _before(self, begin: Tensor, first: Tensor) -> Tensor:
        """Samples ``[B, P]`` before each segment, zeros where its utterance has not begun."""
        place = begin[:, None] + torch.arange(-self.samples_before, 0, device=begin.device)
        return self.wav[place.clamp(min=0)].masked_fill(place < first[:, None], 0.0)
