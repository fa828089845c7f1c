"""Any directory of audio files as a corpus."""

from collections.abc import Iterator
from pathlib import Path

from audioflow.audio import SOUND_SUFFIXES
from audioflow.corpora.base import Corpus, Utterance
from audioflow.corpora.records import printable
from audioflow.errors import CorpusError


class Folder(Corpus):
    """All audio below a directory.

    The id of ``root/anna/day 1/0001.wav`` is ``anna__day 1__0001``; its speaker is ``anna``, the first folder below the
    root, and none for files that lie in the root itself. A text file of the same name (``0001.txt``) is its text.

    Args:
        root: the directory; searched with all its sub-directories, hidden ones left out.
    """

    name = "folder"
    description = "any directory of audio files, with --root DIR"
    licence = "not known: yours to check"

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().resolve()
        self.origin = str(self.root)

    def utterances(self) -> Iterator[Utterance]:
        """List the files, sorted by path.

        Raises:
            CorpusError: the directory does not exist, or has no audio in it.
        """
        assert self.root is not None  # noqa: S101 - for the type checker; set above
        if not self.root.is_dir():
            found = "is a file, not a directory" if self.root.exists() else "does not exist"
            raise CorpusError(f"The corpus folder {self.root} {found}; name a directory with audio files in it.")
        if printable(self.root) != str(self.root):
            raise CorpusError(f"The name of the corpus folder {printable(self.root)} is not UTF-8; rename it.")
        paths = sorted(path for path in self.root.rglob("*") if _is_audio(path, self.root))
        if not paths:
            raise CorpusError(
                f"There is no audio below {self.root}: files ending in {', '.join(SOUND_SUFFIXES)} were looked for."
            )
        for path in paths:
            yield _utterance(path, self.root)


def _is_audio(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return not hidden and path.suffix.lower() in SOUND_SUFFIXES and path.is_file()


def _utterance(path: Path, root: Path) -> Utterance:
    parts = path.relative_to(root).with_suffix("").parts
    text = path.with_suffix(".txt")
    return Utterance(
        id="__".join(parts),
        path=path,
        text=" ".join(text.read_text(encoding="utf-8", errors="replace").split()) if text.is_file() else "",
        speaker=parts[0] if len(parts) > 1 else "",
    )
