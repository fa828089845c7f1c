"""``festvox-ru``: 99.5 minutes of one Russian speaker, from a Debian package."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from audioflow.corpora.base import Corpus, Utterance
from audioflow.corpora.fetch import cache_directory, unpack_tar, unpacking_to, verify
from audioflow.corpora.sample import SPEAKER
from audioflow.errors import CorpusError

PACKAGE: Final = "festvox-ru"
VERSION: Final = "0.5+dfsg-6"
SHA256: Final = "21ef3f0f2978ecf2e2eddb367cb0ff4a72572196d28dc69feb84f4177af5e6c4"
VOICE: Final = "usr/share/festival/voices/russian/msu_ru_nsh_clunits"
WANTED: Final = (f"{VOICE}/wav", f"{VOICE}/etc", "usr/share/doc/festvox-ru/copyright")
BY_HAND: Final = f"or unpack {PACKAGE}_{VERSION}_all.deb elsewhere and give the folder as --root"


class FestvoxRu(Corpus):
    """620 utterances of Russian prose, one male speaker, 16 kHz, 16 bit.

    The package is fetched by ``apt-get download``, verified, and unpacked in the cache folder; nothing is installed and
    no administrator is needed.

    Args:
        root: an unpacked tree to use instead: the package's root, or the voice's folder with ``wav`` and ``etc`` in it.
    """

    name = "festvox-ru"
    description = "620 utterances (99.5 min) of one Russian speaker, 16 kHz; 179 MB from Debian"
    origin = f"Debian package {PACKAGE} {VERSION}, voice msu_ru_nsh_clunits"
    licence = "BSD-like (festvox), (c) 2005 Nickolay V. Shmyrev"
    sha256 = SHA256
    sample_rate = 16000

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root).expanduser().resolve() if root is not None else None

    def utterances(self) -> Iterator[Utterance]:
        """List the recordings, fetching the package if it is not there.

        Raises:
            CorpusError: it cannot be fetched, or the given tree is another one.
        """
        if self.root is None:
            self.root = fetch()
        voice = self.root if (self.root / "etc").is_dir() else self.root / VOICE
        texts = voice / "etc" / "txt.done.data"
        if not texts.is_file():
            raise CorpusError(
                f"{self.root} is no unpacked {PACKAGE}: it has neither etc/txt.done.data nor {VOICE}/etc/txt.done.data."
            )
        for utterance_id, text in re.findall(r'^\( (\S+) "(.*)" \)', texts.read_text(encoding="utf-8"), re.MULTILINE):
            yield Utterance(utterance_id, voice / "wav" / f"{utterance_id}.wav", text, SPEAKER)


def fetch() -> Path:
    """Download and unpack the package into the cache folder, unless it is there.

    Raises:
        CorpusError: this is no Debian, apt knows no such package, the network is away, or the checksum differs.
        OutputError: the cache folder cannot be written to.
    """
    tree = cache_directory(PACKAGE) / VERSION
    if tree.is_dir():
        return tree
    apt_get, dpkg_deb = _tool("apt-get"), _tool("dpkg-deb")
    with tempfile.TemporaryDirectory(prefix=".deb-", dir=tree.parent) as folder:
        package = _download(apt_get, Path(folder))
        verify(package, SHA256, "apt-get download")
        _unpack(dpkg_deb, package, tree)
    return tree


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise CorpusError(
            f"The corpus {PACKAGE} is fetched with {name}, which is not on this computer; use Debian or Ubuntu, "
            f"{BY_HAND}."
        )
    return found


def _download(apt_get: str, folder: Path) -> Path:
    command = [apt_get, "download", f"{PACKAGE}={VERSION}"]
    environment = {**os.environ, "LC_ALL": "C"}  # the messages are read below
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    packages = sorted(folder.glob("*.deb"))
    if done.returncode == 0 and packages:
        return packages[0]
    said = done.stderr.strip().splitlines()
    if any(phrase in done.stderr for phrase in ("Unable to locate", "was not found", "No packages found")):
        advice = "run 'apt-get update' as administrator if the package lists are empty or old"
    else:
        advice = "check the network and run the command again"
    raise CorpusError(
        f"apt-get cannot download {PACKAGE}={VERSION} ({said[-1] if said else 'no message'}): {advice}, {BY_HAND}."
    )


def _unpack(dpkg_deb: str, package: Path, tree: Path) -> None:
    command = [dpkg_deb, "--fsys-tarfile", str(package)]
    with (
        unpacking_to(tree) as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,  # noqa: S603
    ):
        _unpack_stream(process.stdout, folder)
        if process.wait() != 0:
            raise CorpusError(f"{package.name} cannot be unpacked: dpkg-deb ended with code {process.returncode}.")


def _unpack_stream(stream: IO[bytes] | None, folder: Path) -> None:
    assert stream is not None  # noqa: S101 - for the type checker; stdout is a pipe
    unpack_tar(stream, folder, WANTED, f"{PACKAGE} {VERSION}")
    while stream.read(1 << 16):  # let the writer finish its padding
        pass
