"""The minute of speech that comes with audioflow."""

import csv
from collections.abc import Iterator
from pathlib import Path

from audioflow.bundle import bundled
from audioflow.corpora.base import Corpus, Utterance
from audioflow.errors import CorpusError

SPEAKER = "msu_ru_nsh"


class Sample(Corpus):
    """Eight utterances of ``festvox-ru``: enough to try everything, too little to train well."""

    name = "sample"
    description = "8 utterances (one minute) of one Russian speaker, 16 kHz; bundled"
    origin = "Debian package festvox-ru 0.5+dfsg-6, see README.md beside the recordings"
    licence = "BSD-like (festvox), (c) 2005 Nickolay V. Shmyrev; LICENSE beside the recordings"
    sample_rate = 16000

    def __init__(self) -> None:
        self.root = sample_directory()

    def utterances(self) -> Iterator[Utterance]:
        """List the recordings in the order of ``texts.tsv``."""
        assert self.root is not None  # noqa: S101 - for the type checker; set above
        with (self.root / "texts.tsv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        for row in rows:
            yield Utterance(row["id"], self.root / f"{row['id']}.flac", row["text"], SPEAKER)


def sample_directory() -> Path:
    """Find the bundled recordings: in the installed package, or in the source tree.

    Raises:
        CorpusError: they are in neither, so the installation is incomplete.
    """
    directory = bundled("speech", "data/speech")
    if directory is None or not (directory / "texts.tsv").is_file():
        raise CorpusError("The bundled speech is missing from this installation; install audioflow again.")
    return directory
