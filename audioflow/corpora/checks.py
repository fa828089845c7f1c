"""Is a recording fit for training? Looked at before training starts, one recording at a time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from torch import Tensor

from audioflow.audio import AudioLimits, check_audio, probe, read_audio
from audioflow.errors import AudioError

PROBLEMS: Final[dict[str, str]] = {
    "unreadable": "missing, not audio, truncated or damaged",
    "nan": "holds NaN or infinite samples",
    "too-short": "shorter than the least length, or than one frame",
    "silent": "never louder than the threshold",
    "clipped": "too many samples stand at full scale",
    "unfit-id": "its id cannot be the name of a file",
    "duplicate": "another recording has the same id",
}

LONGEST_ID: Final = 200
"""In bytes of UTF-8: file systems take names of 255, and suffixes are put on."""


@dataclass(frozen=True)
class Finding:
    """What a look at a recording gave.

    Attributes:
        problem: a key of `PROBLEMS`, None if it is fit for use.
        detail: the figures behind the problem, or all the problems if there are several.
        wav: [T] float32 mono at the recording's own rate, None if it could not be read.
        sample_rate: that rate in Hz.
        channels: channels of the file.
    """

    problem: str | None
    detail: str = ""
    wav: Tensor | None = None
    sample_rate: int = 0
    channels: int = 0


def examine(path: Path, limits: AudioLimits) -> Finding:
    """Read a recording and hold it against the limits; never raises for a bad recording."""
    try:
        facts = probe(path)
        wav, rate = read_audio(path)
    except AudioError as error:
        return Finding("nan" if _holds_non_finite(path) else "unreadable", str(error).removeprefix(f"{path} "))
    problems = check_audio(wav, rate, limits)
    kind = problems[0].kind if problems else None
    return Finding(kind, " ".join(problem.detail for problem in problems), wav, rate, facts.channels)


def unfit_id(utterance_id: str) -> str | None:
    """Say why an id cannot name the files that are made of an utterance, ``None`` if it can.

    An id with a separator in it would lead out of the directory that is prepared.
    """
    size = len(utterance_id.encode("utf-8", "surrogatepass"))
    if not utterance_id or utterance_id.startswith("."):
        return f"the id {utterance_id!r} is empty or begins with a dot"
    if any(sign in utterance_id for sign in "/\\\0"):
        return f"the id {utterance_id!r} holds a separator of folders or a NUL"
    if size > LONGEST_ID:
        return f"the id has {size} bytes, {LONGEST_ID} are allowed"
    return None


def _holds_non_finite(path: Path) -> bool:
    try:
        samples, _ = soundfile.read(str(path), dtype="float32")
    except (soundfile.SoundFileError, RuntimeError, OSError):
        return False
    return not bool(np.isfinite(samples).all())
