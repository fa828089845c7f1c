"""Packing: as much of prepared corpora as a few megabytes hold, in one directory that needs nothing beside it."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from audioflow.corpora import Entry, PreparedCorpus
from audioflow.corpora.records import read_corpus_file, wav_path
from audioflow.errors import CorpusError, OutputError
from audioflow.files import ensure_directory
from benchmarks.gpu_training.encoding import Encoding, encode
from benchmarks.gpu_training.manifest import MANIFEST, Manifest, Source, Spoken, digest_of, write_manifest

MEGABYTE = 10**6
# Between the items of the manifest, and around them.
_PUNCTUATION = 200


@dataclass(frozen=True)
class PackReport:
    """What was packed.

    Attributes:
        directory: where.
        bytes: of all files together.
        train: utterances to train on.
        valid: held-out utterances.
        left_out: utterances for training that there was no room for.
        train_seconds: length of the speech to train on.
        valid_seconds: length of the held-out speech.
    """

    directory: str
    bytes: int
    train: int
    valid: int
    left_out: int
    train_seconds: float
    valid_seconds: float


@dataclass(frozen=True)
class _Candidate:
    corpus: PreparedCorpus
    entry: Entry

    @property
    def order(self) -> tuple[bytes, str]:
        """A place among the others that is decided by the id alone: a larger pack begins with a smaller one."""
        return hashlib.sha256(f"pack/{self.entry.id}".encode("utf-8", "surrogateescape")).digest(), self.entry.id


def pack(
    directories: Sequence[str | Path],
    out: str | Path,
    megabytes: float = 60.0,
    valid: int | None = None,
    encoding: Encoding = "flac",
) -> PackReport:
    """Pack prepared corpora: held-out utterances first, then those to train on, until the next one does not fit.

    The mels are left out; they are computed again from the samples, which are the same to the bit.

    Args:
        directories: what ``audioflow prepare`` has made, with one and the same mel front-end.
        out: a directory that is new or empty.
        megabytes: how large all files may be together; a megabyte has 10^6 bytes.
        valid: held-out utterances, in the order of their ids; all of them by default.
        encoding: how the samples are written.

    Raises:
        CorpusError: a corpus cannot be read, two of them do not go together, or not even the held-out speech fits.
        OutputError: the directory is not empty, or cannot be written.
    """
    corpora = [PreparedCorpus(directory) for directory in directories]
    _require_fit(corpora)
    out = Path(out)
    if out.is_dir() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty; name a new directory.")
    ensure_directory(out / "speech")
    manifest = Manifest(
        encoding=encoding,
        contract=corpora[0].contract,
        speakers=sorted({speaker for corpus in corpora for speaker in corpus.speakers}),
        corpora=[_source(corpus) for corpus in corpora],
        utterances=[],
    )
    filler = _Filler(out, manifest, round(megabytes * MEGABYTE))
    held_out = sorted(_candidates(corpora, "valid"), key=lambda one: one.entry.id)[:valid]
    if not all(filler.add(one) for one in held_out):
        raise CorpusError(f"The held-out speech alone is larger than {megabytes:g} MB; allow more, or pack less of it.")
    training = sorted(_candidates(corpora, "train"), key=lambda one: one.order)
    fitting = next((number for number, one in enumerate(training) if not filler.add(one)), len(training))
    if fitting == 0:
        raise CorpusError(f"No utterance to train on fits into {megabytes:g} MB beside the held-out speech.")
    write_manifest(out / MANIFEST, manifest)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    counts = (fitting, len(held_out), len(training) - fitting)
    return PackReport(str(out), size, *counts, manifest.seconds("train"), manifest.seconds("valid"))


def _require_fit(corpora: Sequence[PreparedCorpus]) -> None:
    seen: dict[str, Path] = {}
    for corpus in corpora:
        differences = corpora[0].contract.differences(corpus.contract)
        if differences:
            raise CorpusError(
                f"{corpus.directory} and {corpora[0].directory} have different mel front-ends "
                f"({', '.join(differences)}); pack them apart."
            )
        for entry in corpus.entries():
            if entry.id in seen:
                raise CorpusError(f"{seen[entry.id]} and {corpus.directory} both have an utterance {entry.id}.")
            seen[entry.id] = corpus.directory


def _source(corpus: PreparedCorpus) -> Source:
    content = read_corpus_file(corpus.directory)
    assert content is not None  # noqa: S101 - it was read before
    return Source(name=content.corpus, origin=content.origin, licence=content.licence, sha256=content.sha256)


def _candidates(corpora: Sequence[PreparedCorpus], split: str) -> Iterator[_Candidate]:
    for corpus in corpora:
        yield from (_Candidate(corpus, entry) for entry in corpus.entries() if entry.split == split)


class _Filler:
    """Adds utterances to a pack as long as they fit."""

    def __init__(self, out: Path, manifest: Manifest, limit: int) -> None:
        self.out, self.manifest = out, manifest
        self.room = limit - len(manifest.model_dump_json()) - _PUNCTUATION

    def add(self, candidate: _Candidate) -> bool:
        """Write an utterance and note it in the manifest, or give False and write nothing."""
        entry, manifest = candidate.entry, self.manifest
        samples = _read(wav_path(candidate.corpus.directory, entry.id))
        content = encode(samples, manifest.contract.sample_rate, manifest.encoding)
        spoken = Spoken(
            id=entry.id,
            file=f"speech/{len(manifest.utterances):05d}.{manifest.encoding}",
            split=entry.split,
            speaker=entry.speaker,
            samples=len(samples),
            bytes=len(content),
            sha256=digest_of(samples),
        )
        size = len(content) + len(spoken.model_dump_json().encode()) + len(",\n")
        if size > self.room:
            return False
        (self.out / spoken.file).write_bytes(content)
        self.room -= size
        manifest.utterances.append(spoken)
        return True


def _read(path: Path) -> np.ndarray:
    try:
        samples: np.ndarray = soundfile.read(path, dtype="int16")[0]
    except (OSError, soundfile.LibsndfileError) as error:
        raise CorpusError(f"{path} is gone or damaged ({error}); prepare the corpus again.") from error
    return samples
