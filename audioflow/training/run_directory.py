"""What a run leaves on the disk, and whether a directory is free for a new run or holds this very one."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioflow.errors import OutputError, RecipeError
from audioflow.files import atomic_path, ensure_directory, is_leftover
from audioflow.training.recipe import Recipe
from audioflow.training.recipe_file import differing_fields, load_recipe, recipe_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunDirectory:
    """The files of a run.

    ``last.safetensors`` and ``best.safetensors`` are for synthesis, ``state/last.pt`` is for going on,
    ``history.jsonl`` for plots, ``tensorboard/`` and ``samples/`` for looking and listening.

    Args:
        path: the directory.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The recipe with all its defaults."""
        return self.path / "recipe.yaml"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "last.safetensors"

    @property
    def best(self) -> Path:
        """The checkpoint with the highest held-out score: the likelihood, or less the loss of a student."""
        return self.path / "best.safetensors"

    @property
    def state(self) -> Path:
        """What resuming needs."""
        return self.path / "state" / "last.pt"

    @property
    def history(self) -> Path:
        """One JSON object a line: step, seconds and figures."""
        return self.path / "history.jsonl"

    @property
    def samples(self) -> Path:
        """Audio and pictures made while training."""
        return self.path / "samples"

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other processes out of the directory, which is made if need be, until the end or the death of this one.

        Where the platform or the file system has no ``flock`` nothing is held.

        Raises:
            OutputError: another process trains in it, or it cannot be written to.
        """
        try:
            import fcntl  # noqa: PLC0415 - not on every platform
        except ImportError:
            yield
            return
        if not self.path.is_dir():
            ensure_directory(self.path)
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise OutputError(
                f"{self.path} is in use: another process trains in it; wait for its end, or name a new directory."
            ) from error
        except OSError as error:
            log.warning("%s cannot be locked (%s), so see that nobody else trains in it", self.path, error.strerror)
        try:
            yield
        finally:
            with suppress(OSError):  # closing is not enough while a loading process still has a copy of the descriptor
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def open(self, recipe: Recipe, *, resume: bool = True) -> bool:
        """Take the directory for a run and write the recipe into it; what a killed run left half-written is removed.

        Args:
            recipe: what will be trained.
            resume: whether a run that is there already may be continued.

        Returns:
            Whether there is a state to go on from.

        Raises:
            OutputError: the directory holds other files, or a run that may not be continued, or cannot be written.
            RecipeError: the run there was made by another recipe.
        """
        leftovers = self._leftovers()
        occupied = self.path.is_dir() and not set(self.path.iterdir()) <= leftovers
        if occupied and not self.recipe.is_file():
            raise OutputError(f"{self.path} holds other files and no run; name a new or empty directory.")
        if occupied and not resume:
            raise OutputError(f"{self.path} holds a run already; name a new directory, or let it be resumed.")
        if self.state.is_file():
            self._require_same(recipe)  # a run that ended before its first checkpoint binds nobody
        ensure_directory(self.path)
        for path in leftovers:
            path.unlink(missing_ok=True)
        with atomic_path(self.recipe) as temporary:
            temporary.write_text(recipe_text(recipe), encoding="utf-8")
        return self.state.is_file()

    def append_history(self, record: dict[str, Any]) -> None:
        """Add a line to the history.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            with self.history.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError(f"{self.history} cannot be written: {error.strerror or error}.") from error

    def read_history(self) -> list[dict[str, Any]]:
        """Read the history; a line that a kill cut short is passed over."""
        if not self.history.is_file():
            return []
        return [record for line in self.history.read_text(encoding="utf-8").splitlines() if (record := _parse(line))]

    def measured(self, step: int, score: str) -> dict[str, Any] | None:
        """Give the line of the history with the held-out score after a step; None where it was not measured."""
        lines = (record for record in self.read_history() if record["step"] == step)
        return next((record for record in lines if score in record), None)

    def forget_after(self, step: int) -> None:
        """Remove from the history what lies after the state that the run goes on from."""
        kept = [record for record in self.read_history() if record["step"] <= step]
        with atomic_path(self.history) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")

    def _leftovers(self) -> set[Path]:
        files = (self.recipe, self.last, self.best, self.history, self.state)
        return {
            found for file in files for found in file.parent.glob(f".{file.stem}-*") if is_leftover(found, [file.name])
        }

    def _require_same(self, recipe: Recipe) -> None:
        differences = differing_fields(load_recipe(self.recipe), recipe)
        if differences:
            raise RecipeError(
                f"{self.path} holds a run of another recipe ({'; '.join(differences)}); only the budget and what is "
                "reported may change in a run, so name a new directory."
            )


def _parse(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "step" in record else None
