"""Getting large files: a cache folder, downloads that resume, checksums, safe unpacking."""

import hashlib
import http.client
import os
import platform
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from audioflow.errors import CorpusError
from audioflow.files import ensure_directory

CHUNK: Final = 1 << 20
TIMEOUT: Final = 60.0

Progress = Callable[[int, int | None], None]
"""Told after each chunk: bytes on the disk, bytes in all (None where the server does not say)."""


def cache_directory(name: str) -> Path:
    """Make the folder for one corpus in the cache.

    The cache is ``$AUDIOFLOW_CACHE``, else ``$XDG_CACHE_HOME/audioflow``, else ``~/.cache/audioflow``.

    Raises:
        OutputError: it cannot be made or written to.
    """
    chosen = os.environ.get("AUDIOFLOW_CACHE")
    shared = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return ensure_directory((Path(chosen) if chosen else shared / "audioflow") / name)


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def verify(path: Path, sha256: str, source: str) -> None:
    """Check a downloaded file; one that is wrong is removed.

    Raises:
        CorpusError: the checksum differs.
    """
    found = sha256_of(path)
    if found != sha256:
        path.unlink()
        raise CorpusError(
            f"{source} gave a file with SHA-256 {found} instead of {sha256}; it was removed, run the command again."
        )


def download(url: str, path: Path, sha256: str, progress: Progress | None = None) -> Path:
    """Fetch ``url`` to ``path`` by way of ``path.part``, which the next call continues if this one breaks off.

    Args:
        url: http or https address.
        path: where the file shall be in the end; if it exists it is taken as fetched and verified.
        sha256: checksum that it must have.
        progress: told the bytes so far and in all.

    Raises:
        CorpusError: no connection, it broke off, or the checksum differs.
    """
    if path.exists():
        return path
    part = path.with_name(path.name + ".part")
    try:
        _continue_download(url, part, progress)
    except urllib.error.HTTPError as error:
        raise CorpusError(f"{url} cannot be fetched: the server answered {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException) as error:
        have = part.stat().st_size if part.exists() else 0
        reason = getattr(error, "reason", None) or error
        raise CorpusError(
            f"{url} cannot be fetched ({reason}): {have} bytes are kept in {part}; check the connection and the free "
            "space and run the command again, it will continue there."
        ) from error
    verify(part, sha256, url)
    part.replace(path)
    return path


def _continue_download(url: str, part: Path, progress: Progress | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - https, or given by the user
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return  # everything was there already: the checksum decides
        raise
    with answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # the server does not resume: start over
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if have else "wb") as file:
            _copy(answer, file, have, total, progress)


def _copy(source: IO[bytes], target: IO[bytes], have: int, total: int | None, progress: Progress | None) -> None:
    while chunk := source.read(CHUNK):
        target.write(chunk)
        have += len(chunk)
        if progress is not None:
            progress(have, total)
    if total is not None and have < total:
        raise ConnectionError(f"the connection ended after {have} of {total} bytes")


@contextmanager
def unpacking_to(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` and rename it to ``path`` on success: a tree is whole or not there."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def unpack_tar(stream: IO[bytes], target: Path, prefixes: tuple[str, ...], source: str) -> None:
    """Unpack the members of a tar stream that begin with one of ``prefixes``, refusing any that would leave ``target``.

    Raises:
        CorpusError: the archive is damaged or holds something unsafe, or this Python cannot tell.
    """
    if not hasattr(tarfile, "data_filter"):
        raise CorpusError(
            f"{source} cannot be unpacked safely by Python {platform.python_version()}; "
            "upgrade to 3.10.12, 3.11.4 or a newer one."
        )
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                if member.name.removeprefix("./").startswith(prefixes):
                    archive.extract(member, target, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise CorpusError(f"{source} cannot be unpacked to {target.parent}: {error}.") from error
