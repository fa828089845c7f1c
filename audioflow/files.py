"""Writing files so that a reader finds the old one or the new one, never half of one."""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audioflow.errors import OutputError


@contextmanager
def atomic_path(path: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success flush it to the disk and rename it into place.

    Args:
        path: where the file shall be in the end; missing parent folders are made.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: the file exists and may not be replaced, or cannot be written (permission, full disk).
    """
    path = Path(path)
    _require_free(path, overwrite=overwrite)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept because writers choose the format by it.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def is_leftover(path: str | Path, names: Iterable[str]) -> bool:
    """Say whether a file is what :func:`atomic_path` leaves when it is killed while it writes one of ``names``.

    >>> [is_leftover(path, ["recipe.yaml"]) for path in (".recipe-k3_x9q2a.yaml", "recipe.yaml", ".recipe-old.yaml")]
    [True, False, False]
    """
    name = Path(path).name
    return any(
        re.fullmatch(rf"\.{re.escape(Path(wanted).stem)}-[a-z0-9_]{{8}}{re.escape(Path(wanted).suffix)}", name)
        for wanted in names
    )


def check_output(path: str | Path, *, overwrite: bool = True) -> None:
    """Make sure, before long work is done, that a file can be written; missing parent folders are made.

    Raises:
        OutputError: see :func:`atomic_path`.
    """
    path = Path(path)
    _require_free(path, overwrite=overwrite)
    ensure_directory(path.parent)


def keep_apart(path: str | Path, inputs: Iterable[str | Path]) -> None:
    """Refuse an output that is one of the inputs, also where overwriting is allowed.

    Raises:
        OutputError: it is; nothing was written.
    """
    if Path(path).resolve() in {Path(source).resolve() for source in inputs}:
        raise OutputError(f"{path} is itself an input; name another output.")


def ensure_directory(path: str | Path) -> Path:
    """Make a directory (parents too) and check that files can be made in it.

    Raises:
        OutputError: the path is a file, or the directory cannot be made or written to.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file, but a directory is needed there; name another output.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(f"{path} cannot be written to: {error.strerror or error}.") from error
    return path


def _require_free(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise OutputError(f"{path} is a directory, but a file is to be written there; name a file.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} is there already; name another output, or allow it with --overwrite.")


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
