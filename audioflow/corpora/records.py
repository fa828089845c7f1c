"""What a prepared corpus looks like on the disk.

corpus.json     which corpus, which contract, which limits; totals once it is complete
journal.jsonl   one line for each recording dealt with, in the order of the work; what a second run reads
manifest.jsonl  one line for each good utterance, in the order of the corpus; written when all is done
wav/ID.wav      16 bit, mono, at the contract's rate
mel/ID.safetensors
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from audioflow.audio import MelContract
from audioflow.corpora.splits import Split
from audioflow.errors import CorpusError
from audioflow.files import atomic_path

CORPUS: Final = "corpus.json"
JOURNAL: Final = "journal.jsonl"
MANIFEST: Final = "manifest.jsonl"
LOCK: Final = ".lock"
FORMAT: Final = 1


@dataclass(frozen=True)
class Entry:
    """One utterance of a prepared corpus.

    Attributes:
        id: its name; the files are ``wav/ID.wav`` and ``mel/ID.safetensors``.
        samples: length of the stored wav.
        frames: whole frames in it, ``samples // hop_length``; what training reads.
        split: where it belongs.
        text: what is said, or empty.
        speaker: who says it, or empty.
        source: the file it was made from.
        source_bytes: size of that file then.
        source_mtime_ns: time of its last change then, in ns since 1970.
        source_rate: its sample rate in Hz.
        source_channels: its number of channels.
    """

    id: str
    samples: int
    frames: int
    split: Split
    text: str
    speaker: str
    source: str
    source_bytes: int
    source_mtime_ns: int
    source_rate: int
    source_channels: int


@dataclass(frozen=True)
class Rejected:
    """A recording that is not fit for use.

    Attributes:
        id: the utterance.
        source: its file.
        problem: one of ``audioflow.corpora.checks.PROBLEMS``.
        detail: a sentence with the figures.
        source_bytes: size of the file then, -1 if it is missing.
        source_mtime_ns: time of its last change then, -1 if it is missing.
    """

    id: str
    source: str
    problem: str
    detail: str
    source_bytes: int
    source_mtime_ns: int


Decision = Entry | Rejected


class CorpusFile(BaseModel):
    """The content of ``corpus.json``."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    corpus: str
    origin: str
    licence: str
    sha256: str | None
    contract: MelContract
    limits: dict[str, float]
    complete: bool = False
    totals: dict[str, Any] = {}


def wav_path(directory: Path, utterance_id: str) -> Path:
    """Say where the wav of an utterance is stored."""
    return directory / "wav" / f"{utterance_id}.wav"


def mel_path(directory: Path, utterance_id: str) -> Path:
    """Say where the mel of an utterance is stored."""
    return directory / "mel" / f"{utterance_id}.safetensors"


def printable(name: str | Path) -> str:
    r"""Give a name as text that can be written anywhere; bytes of a file name that are not UTF-8 become ``\xNN``."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def stamp(path: str | Path) -> tuple[int, int]:
    """Give size in bytes and time of last change in ns of a file, (-1, -1) if it is missing."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a string comes in from the manifest
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return -1, -1
    return status.st_size, status.st_mtime_ns


def read_corpus_file(directory: Path) -> CorpusFile | None:
    """Read ``corpus.json``; None where there is none.

    Raises:
        CorpusError: it is damaged or of another format.
    """
    path = directory / CORPUS
    if not path.is_file():
        return None
    try:
        return CorpusFile.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise CorpusError(f"{path} is damaged or from another version; prepare into a new directory.") from error


def write_corpus_file(directory: Path, content: CorpusFile) -> None:
    """Write ``corpus.json`` atomically."""
    with atomic_path(directory / CORPUS) as temporary:
        temporary.write_text(content.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_decisions(path: Path) -> Iterator[Decision]:
    """Read a journal or manifest; lines that are not whole (the last one after a crash) are passed over."""
    if not path.is_file():
        return
    for line in path.read_bytes().splitlines():
        try:
            fields = json.loads(line)
            yield Rejected(**fields) if "problem" in fields else Entry(**fields)
        except (ValueError, TypeError):
            continue


def write_decisions(path: Path, decisions: Iterable[Decision]) -> None:
    """Write a journal or manifest atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(line_of(decision) for decision in decisions), encoding="utf-8")


def line_of(decision: Decision) -> str:
    """Give the line of a journal for a decision, with its line end."""
    return json.dumps(asdict(decision), ensure_ascii=False) + "\n"


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the directory alone: a second process waits here until the first is done (or dead).

    Where the platform has no ``flock`` nothing is held.
    """
    try:
        import fcntl  # noqa: PLC0415 - not on every platform
    except ImportError:
        yield
        return
    with (directory / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
