"""What makes a recording unfit for training, looked for before training starts."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class AudioLimits:
    """Thresholds of `check_audio`.

    Attributes:
        min_seconds: shorter recordings are too short, seconds. Half of this is one syllable.
        silent_peak: a recording that never passes this amplitude is silent; 1e-3 is -60 dB of full scale.
        clipped_level: a sample at or beyond this amplitude counts as clipped.
        clipped_share: largest share of clipped samples let through. Recordings brought to full scale have a few
            samples there; overdriven ones have whole runs of them.
    """

    min_seconds: float = 0.3
    silent_peak: float = 1e-3
    clipped_level: float = 0.999
    clipped_share: float = 1e-3


@dataclass(frozen=True)
class AudioProblem:
    """One thing wrong with a recording: its kind, for counting, and a sentence with the figures."""

    kind: Literal["nan", "too-short", "silent", "clipped"]
    detail: str


def check_audio(wav: Tensor, sample_rate: int, limits: AudioLimits | None = None) -> list[AudioProblem]:
    """List what is wrong with a recording; nothing when it is fit for use.

    Args:
        wav: ``[T]`` in [-1, 1].
        sample_rate: its rate in Hz.
        limits: thresholds; ``None`` takes the defaults.
    """
    limits = limits or AudioLimits()
    bad = int((~torch.isfinite(wav)).sum())
    if bad:
        return [AudioProblem("nan", f"{bad} samples are NaN or infinite.")]
    problems = []
    seconds = wav.numel() / sample_rate
    if seconds < limits.min_seconds:
        problems.append(AudioProblem("too-short", f"{seconds:.3f} s is shorter than {limits.min_seconds:g} s."))
    if wav.numel() == 0:
        return problems
    peak = float(wav.abs().max())
    if peak < limits.silent_peak:
        problems.append(AudioProblem("silent", f"The peak {peak:.2g} is below {limits.silent_peak:g} of full scale."))
    share = int((wav.abs() >= limits.clipped_level).sum()) / wav.numel()
    if share > limits.clipped_share:
        problems.append(AudioProblem("clipped", f"{share:.2%} of the samples are at full scale."))
    return problems
