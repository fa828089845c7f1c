"""What all rows of a comparison have in common: the recordings, how to judge what was made of them, the settings."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from audioflow.audio import MelFrontEnd
from audioflow.evaluation.engines import streams
from audioflow.evaluation.hearing import hearing
from audioflow.evaluation.likelihood import device_of
from audioflow.evaluation.memory import peak_memory
from audioflow.evaluation.metrics import distances
from audioflow.evaluation.speed import Timing, measure, seconds_to_first
from audioflow.vocoders import Vocoder

# How many mel frames a warm-up makes.
WARM_UP_FRAMES = 2


@dataclass(frozen=True)
class Trial:
    """One synthesis: the audio, how long it took and what memory.

    Attributes:
        timing: of the whole.
        audio: wav [T] on the CPU.
        peak_bytes: memory over what was taken before; ``None`` where that cannot be told.
    """

    timing: Timing
    audio: Tensor
    peak_bytes: int | None


@dataclass(frozen=True)
class Bench:
    """Recordings and settings; see :func:`audioflow.evaluation.comparison.compare` for what they mean."""

    recordings: dict[str, Tensor]
    front_end: MelFrontEnd
    seed: int
    temperature: float
    speaker: int | None
    dequantize: bool
    stretch_seconds: float
    runs: int
    heard: bool
    scored: bool
    match_mel: int
    progress: Callable[[str], object]

    def distances(self, audio: dict[str, Tensor]) -> dict[str, float]:
        """Give the mean distances of the audio from the recordings; one front-end judges all rows."""
        found = [self._judged(wav, audio[name]) for name, wav in self.recordings.items()]
        return {metric: mean_of_numbers([each[metric] for each in found]) for metric in found[0]}

    def _judged(self, wav: Tensor, made: Tensor) -> dict[str, float]:
        heard = hearing(wav, made, self.front_end.contract.sample_rate) if self.heard else {}
        return {**distances(wav, made, self.front_end), **heard}

    def voice(self, device: torch.device) -> Tensor | None:
        """Give the speaker's number [1] on a device, if one was named."""
        return None if self.speaker is None else torch.tensor([self.speaker], device=device)

    def synthesis(
        self, vocoder: Vocoder, mel: Tensor, engine: str, match_mel: int = 0, *, warm_up: bool = True
    ) -> Trial:
        """Make audio of one mel [1, M, F], timed.

        Args:
            vocoder: whose audio it is.
            mel: of a recording.
            engine: of the vocoder.
            match_mel: rounds of mel matching, which are timed too.
            warm_up: whether a few frames are made before, for nothing.
        """
        contract, options = vocoder.contract, self._options(engine, match_mel, mel.device)

        def make(frames: Tensor) -> Tensor:
            return vocoder.synthesize(frames, **options)

        if warm_up:
            make(mel[..., :WARM_UP_FRAMES])
        samples = mel.shape[-1] * contract.hop_length
        peak, (timing, wav) = peak_memory(
            lambda: measure(lambda: make(mel), samples, contract.sample_rate, runs=self.runs), mel.device
        )
        return Trial(timing, wav[0].detach().float().cpu(), peak)

    def seconds_to_first(self, vocoder: Vocoder, mel: Tensor, engine: str, whole: Timing, match_mel: int = 0) -> float:
        """Give the seconds until the first samples of mel [1, M, F] are there.

        Args:
            vocoder: whose audio it is.
            mel: of a recording.
            engine: of the vocoder.
            whole: how long all of it takes, which is the answer where an engine does not stream.
            match_mel: rounds of mel matching, which wait for more frames.
        """
        if not streams(vocoder, engine):
            return whole.seconds
        options = self._options(engine, match_mel, mel.device)
        return seconds_to_first(lambda: vocoder.stream(mel, **options), self.runs)

    def _options(self, engine: str, match_mel: int, device: torch.device) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "seed": self.seed,
            "engine": engine,
            "speaker": self.voice(device),
            "match_mel": match_mel,
        }


def mel_of(vocoder: Vocoder, wav: Tensor) -> Tensor:
    """Give the mel [1, M, F] of wav [T] on the vocoder's device."""
    return vocoder.mel(wav[None].to(device_of(vocoder)))


def loudest_stretch(mel: Tensor, wav: Tensor, hop_length: int, seconds: float, sample_rate: int) -> Tensor:
    """Cut from mel [1, M, F] the frames during which wav [T] has the most energy, so that there is something to hear.

    Args:
        mel: of the wav.
        wav: the recording.
        hop_length: samples per frame.
        seconds: how long the stretch is, rounded to frames, at least one, at most all.
        sample_rate: in Hz.
    """
    frames = min(mel.shape[-1], max(1, round(seconds * sample_rate / hop_length)))
    energies = torch.stack([frame.square().sum() for frame in wav.split(hop_length)])
    start = int(energies.unfold(0, frames, 1).sum(dim=-1).argmax())
    return mel[..., start : start + frames]


def highest(peaks: Sequence[int | None]) -> int | None:
    """Give the highest of some peaks of memory; ``None`` if none is known."""
    known = [peak for peak in peaks if peak is not None]
    return max(known, default=None)


def mean_of_numbers(values: Sequence[float]) -> float:
    """The mean of those that are numbers; NaN if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return fmean(numbers) if numbers else math.nan
