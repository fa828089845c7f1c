"""What an evaluation has made and judged before: audio and figures, by what they were made from."""

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from audioflow.files import atomic_path, ensure_directory

log = logging.getLogger(__name__)

Key = Mapping[str, str | int | float | bool | None]
"""All that decides what is made."""


@dataclass(frozen=True)
class Record:
    """What is known of one utterance under one key.

    Attributes:
        figures: by name; NaN where one cannot be taken.
        seconds: that making it took; NaN where it was not timed.
        audio: wav [T] on the 16-bit grid, or None where there is only a figure.
    """

    figures: dict[str, float] = field(default_factory=dict)
    seconds: float = math.nan
    audio: Tensor | None = None


class Store:
    """A directory of records, two files each: figures as JSON, audio as FLAC of 16 bits, which is exact.

    A record that is damaged counts as absent, and is made again.

    Args:
        directory: made with the first record; None keeps nothing.
        sample_rate: of the audio, in Hz.
    """

    def __init__(self, directory: Path | None, sample_rate: int) -> None:
        self.directory = directory
        self.sample_rate = sample_rate

    def read(self, key: Key, *, sounding: bool) -> Record | None:
        """The record of a key; None where there is none, or none with sound where ``sounding`` asks for it."""
        if self.directory is None:
            return None
        path = _path(self.directory, key)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            figures = {str(name): math.nan if x is None else float(x) for name, x in content["figures"].items()}
            seconds = content["seconds"]
            audio = self._audio(path.with_suffix(".flac"), content["samples"]) if sounding else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, soundfile.LibsndfileError) as error:
            log.warning("%s is damaged (%s), so it is made again", path, error)
            return None
        return Record(figures, math.nan if seconds is None else float(seconds), audio)

    def write(self, key: Key, record: Record) -> None:
        """Keep a record: the sound first, so that figures without sound are never taken for whole."""
        if self.directory is None:
            return
        path = _path(self.directory, key)
        ensure_directory(path.parent)
        if record.audio is not None:
            with atomic_path(path.with_suffix(".flac")) as temporary:
                soundfile.write(temporary, record.audio.numpy(), self.sample_rate, format="FLAC", subtype="PCM_16")
        content = {
            "key": dict(key),
            "figures": {name: value if math.isfinite(value) else None for name, value in record.figures.items()},
            "seconds": record.seconds if math.isfinite(record.seconds) else None,
            "samples": None if record.audio is None else len(record.audio),
        }
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def _audio(self, path: Path, samples: Any) -> Tensor:
        wav, rate = soundfile.read(path, dtype="float32")
        if rate != self.sample_rate or wav.shape != (samples,):
            raise ValueError(f"{path} is not the sound that was written")
        return torch.from_numpy(wav)


def _path(directory: Path, key: Key) -> Path:
    name = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
    return directory / name[:2] / f"{name[2:]}.json"
