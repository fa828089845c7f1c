"""LJSpeech 1.1: 24 hours of one English speaker; torchaudio knows its layout, address and checksum."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from audioflow.corpora.base import Corpus, Utterance
from audioflow.corpora.fetch import Progress, cache_directory, download, unpack_tar, unpacking_to
from audioflow.errors import CorpusError
from audioflow.files import ensure_directory

TREE: Final = "LJSpeech-1.1"
SPEAKER: Final = "LJ"


class LJSpeech(Corpus):
    """13,100 utterances read from seven books, one female speaker, 22.05 kHz, 16 bit.

    Args:
        root: the folder that holds (or shall hold) ``LJSpeech-1.1``; the cache folder if it is not given.
        url: another address of the same archive.
        sha256: the checksum of the archive at that address.
        progress: told how far the download is.

    References:
        Keith Ito and Linda Johnson, The LJ Speech Dataset, 2017, https://keithito.com/LJ-Speech-Dataset/
    """

    name = "ljspeech"
    description = "13,100 utterances (24 h) of one English speaker, 22.05 kHz; 2.6 GB download"
    origin = "https://keithito.com/LJ-Speech-Dataset/"
    licence = "public domain"
    sample_rate = 22050

    def __init__(
        self,
        root: str | Path | None = None,
        url: str | None = None,
        sha256: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        release = _torchaudio_module()._RELEASE_CONFIGS["release1"]
        self.root = Path(root).expanduser().resolve() if root is not None else None
        self.url: str = url or release["url"]
        self.sha256: str = sha256 or release["checksum"]
        self.progress = progress

    def utterances(self) -> Iterator[Utterance]:
        """List the recordings with their normalised texts, fetching the archive if it is not there.

        Raises:
            CorpusError: it cannot be fetched, its checksum differs, or the tree is incomplete.
            OutputError: the folder cannot be written to.
        """
        if self.root is None:
            self.root = cache_directory(self.name)
        if not (self.root / TREE).is_dir():
            self._fetch(self.root)
        try:
            data = _torchaudio_module().LJSPEECH(self.root)
        except (OSError, RuntimeError) as error:
            raise CorpusError(
                f"{self.root / TREE} is no whole LJSpeech: {error}; remove it to fetch it again."
            ) from error
        for row in data._flist:  # the class offers items only with the audio loaded
            yield Utterance(row[0], data._path / f"{row[0]}.wav", row[-1], SPEAKER)

    def _fetch(self, root: Path) -> None:
        archive = download(self.url, ensure_directory(root) / f"{TREE}.tar.bz2", self.sha256, self.progress)
        with unpacking_to(root / TREE) as folder, archive.open("rb") as stream:
            unpack_tar(stream, folder, (TREE,), str(archive))
            for path in (folder / TREE).iterdir():  # drop the archive's own top folder
                path.rename(folder / path.name)
            (folder / TREE).rmdir()
        archive.unlink()


def _torchaudio_module() -> Any:
    from audioflow.audio.torchaudio_shim import torchaudio  # noqa: PLC0415 - slow to import

    torchaudio()
    return importlib.import_module("torchaudio.datasets.ljspeech")
