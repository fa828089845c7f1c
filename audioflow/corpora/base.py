"""What a corpus is: a name, an origin, a licence, and a list of recordings."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class Utterance:
    """One recording.

    Attributes:
        id: name of the utterance, unique in its corpus and fit for a file name; it decides the split.
        path: the audio file.
        text: what is said, empty where it is not known.
        speaker: who says it, empty where the corpus does not tell speakers apart.
    """

    id: str
    path: Path
    text: str = ""
    speaker: str = ""


class Corpus(ABC):
    """A source of speech. Making one touches nothing; `utterances` fetches what is missing.

    Attributes:
        name: the name that ``get_corpus`` and the command line know.
        description: one line for a list of corpora.
        origin: where the recordings come from.
        licence: under which terms.
        sha256: checksum of the download, None where there is none.
        sample_rate: the rate of the recordings in Hz, None where it varies.
        root: the folder that holds the recordings, None until it is known.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    origin: str
    licence: str
    sha256: str | None = None
    sample_rate: int | None = None
    root: Path | None = None

    @abstractmethod
    def utterances(self) -> Iterator[Utterance]:
        """List the recordings, always in the same order.

        Raises:
            CorpusError: the corpus is missing, cannot be fetched, or is empty.
        """
