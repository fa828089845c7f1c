"""What a run leaves where it can be fetched from: few files, none of them large, whole at any time."""

import hashlib
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audioflow.errors import CheckpointError
from audioflow.files import atomic_path, ensure_directory

_PART = re.compile(r"(?P<name>.+)\.(?P<digest>[0-9a-f]{8})\.(?P<number>\d+)of(?P<count>\d+)")


@dataclass(frozen=True)
class Limits:
    """How much may be left.

    Attributes:
        files: how many.
        file_bytes: largest size of one; what is larger is cut into parts.
        bytes: of all together.
    """

    files: int = 8
    file_bytes: int = 16 * 10**6
    bytes: int = 64 * 10**6


def publish(work: Path, out: Path, names: Sequence[str], limits: Limits, outdated: Sequence[str] = ()) -> list[str]:
    """Put files of a run directory on the shelf, in place of earlier ones of the same names.

    Files of others that lie there already count, and are left alone.

    Args:
        work: the run directory.
        out: the shelf.
        names: files in ``work``, the most important first; those that are not there are passed over.
        limits: of the shelf.
        outdated: files that were put there earlier and shall go.

    Returns:
        What there was no room for.
    """
    ensure_directory(out)
    staged = work / ".staged"
    shutil.rmtree(staged, ignore_errors=True)
    ours = {*names, *outdated}
    files = limits.files - sum(1 for path in out.rglob("*") if path.is_file() and _name(path, out) not in ours)
    room, wanted, left_out = limits.bytes, set(), []
    for name in (name for name in names if (work / name).is_file()):
        size = (work / name).stat().st_size
        count = max(1, math.ceil(size / limits.file_bytes))
        if count > files or size > room:
            left_out.append(name)
            continue
        files, room = files - count, room - size
        wanted.update(_stage(work, name, staged, count, limits.file_bytes))
    for path in [path for path in out.rglob("*") if path.is_file()]:
        if _name(path, out) in ours and str(path.relative_to(out)) not in wanted:
            path.unlink()
    for name in wanted:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(staged / name, out / name)
    return left_out


def restore(out: Path, directory: Path) -> list[str]:
    """Put what lies on a shelf into a directory, parts joined.

    Args:
        out: the shelf.
        directory: where to; files of the same names are replaced.

    Returns:
        The names of the files.

    Raises:
        CheckpointError: parts of a file are missing or damaged.
    """
    parts: dict[tuple[str, str, int], dict[int, bytes]] = {}
    restored = []
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = str(path.relative_to(out))
        found = _PART.fullmatch(name)
        if found is None:
            _write(directory / name, path.read_bytes())
            restored.append(name)
        else:
            whole = (found["name"], found["digest"], int(found["count"]))
            parts.setdefault(whole, {})[int(found["number"])] = path.read_bytes()
    for (name, digest, count), pieces in parts.items():
        content = b"".join(pieces[number] for number in sorted(pieces))
        if len(pieces) != count or _digest(content) != digest:
            raise CheckpointError(f"{out / name} has {len(pieces)} of {count} parts, or a damaged one; fetch it again.")
        _write(directory / name, content)
        restored.append(name)
    return sorted(restored)


def _stage(work: Path, name: str, staged: Path, count: int, limit: int) -> list[str]:
    """Copy a file, in parts where it has to be; give the names of what was made."""
    content = (work / name).read_bytes()
    digest = _digest(content)
    made = [name] if count == 1 else [f"{name}.{digest}.{number}of{count}" for number in range(1, count + 1)]
    for number, part in enumerate(made):
        (staged / part).parent.mkdir(parents=True, exist_ok=True)
        (staged / part).write_bytes(content[number * limit : (number + 1) * limit])
    return made


def _name(path: Path, out: Path) -> str:
    """Name of the file that lies on the shelf, whole or in parts."""
    name = str(path.relative_to(out))
    found = _PART.fullmatch(name)
    return found["name"] if found else name


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
