"""What a pack says of itself: ``pack.json``."""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from audioflow.audio import MelContract
from audioflow.corpora import Split
from audioflow.errors import CorpusError
from audioflow.files import atomic_path
from benchmarks.gpu_training.encoding import Encoding

MANIFEST: Final = "pack.json"


class Source(BaseModel):
    """A corpus that speech was taken from.

    Attributes:
        name: as recipes call it.
        origin: where its recordings come from.
        licence: under which terms.
        sha256: checksum of its download, or None.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    origin: str
    licence: str
    sha256: str | None


class Spoken(BaseModel):
    """An utterance.

    Attributes:
        id: its name in the corpus.
        file: where its samples are, in the pack.
        split: whether it is for training or held out.
        speaker: who speaks.
        samples: how many.
        bytes: size of the file.
        sha256: checksum of the samples, as 16-bit numbers, the low byte first.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    file: str
    split: Split
    speaker: str
    samples: int
    bytes: int
    sha256: str

    def check(self, path: Path, samples: np.ndarray) -> None:
        """Make sure that decoded samples are those that were packed.

        Raises:
            CorpusError: they are others.
        """
        if digest_of(samples) != self.sha256:
            raise CorpusError(f"{path} is damaged: its samples are not those that were packed; pack the speech again.")


class Manifest(BaseModel):
    """The content of ``pack.json``.

    Attributes:
        format: version of the layout.
        encoding: how samples are written.
        contract: front-end of the mels that belong to the samples.
        speakers: of the whole corpora, sorted; the place of each is its number.
        corpora: where the speech comes from.
        utterances: held-out ones first.
    """

    model_config = ConfigDict(extra="forbid")

    format: int = 1
    encoding: Encoding
    contract: MelContract
    speakers: list[str]
    corpora: list[Source]
    utterances: list[Spoken]

    def seconds(self, split: Split) -> float:
        """Length of the speech of a split."""
        samples = sum(spoken.samples for spoken in self.utterances if spoken.split == split)
        return round(samples / self.contract.sample_rate, 1)


def digest_of(samples: np.ndarray) -> str:
    """Checksum of ``samples [T]``, int16."""
    return hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest atomically, an utterance to a line."""
    head = manifest.model_copy(update={"utterances": []}).model_dump_json()
    lines = ",\n".join(spoken.model_dump_json() for spoken in manifest.utterances)
    assert head.endswith("[]}")  # noqa: S101 - the utterances come last
    with atomic_path(path) as temporary:
        temporary.write_text(f"{head[:-3]}[\n{lines}\n]}}\n", encoding="utf-8")


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of a pack.

    Raises:
        CorpusError: there is none, or it is damaged.
    """
    path = directory / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise CorpusError(f"{directory} is no pack, since {MANIFEST} is not there; make one with pack.") from error
    except (ValidationError, OSError) as error:
        raise CorpusError(f"{path} is damaged or of another version; pack the speech again.") from error
