"""All that a run needs to go on as if it had never stopped: weights, averages, optimizer, progress."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.optim import Optimizer

from audioflow.errors import CheckpointError, OutputError
from audioflow.files import atomic_path

FORMAT: Final = 2


@dataclass
class Progress:
    """How far a run has come.

    Args:
        step: optimizer steps made.
        elapsed: seconds used, over all parts of the run.
        samples: audio samples learned from, over all processes.
        best_score: highest held-out score so far; nats per sample in training by likelihood.
        best_step: the step that had it.
    """

    step: int = 0
    elapsed: float = 0.0
    samples: int = 0
    best_score: float = -math.inf
    best_step: int = 0


def save_state(path: Path, modules: dict[str, nn.Module], optimizer: Optimizer, progress: Progress) -> None:
    """Write the state of a run, atomically.

    Random states are not part of it: every random choice is seeded by the step that it belongs to.

    Args:
        path: the file; replaced when it exists.
        modules: the model and its average, by name.
        optimizer: the optimizer.
        progress: how far the run has come.

    Raises:
        OutputError: the file cannot be written; an earlier one is left as it was.
    """
    state = {
        "format": FORMAT,
        "modules": {name: module.state_dict() for name, module in modules.items()},
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    with atomic_path(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # torch's writer reports a full disk so
            raise OutputError(f"{path} cannot be written; is the disk full? ({str(error).splitlines()[0]})") from error


def load_state(path: Path, modules: dict[str, nn.Module], optimizer: Optimizer) -> Progress:
    """Put a saved state back into the model, its average and the optimizer.

    Only tensors and plain values are read (``weights_only``), so a file cannot run code.

    Raises:
        CheckpointError: the file is missing, damaged, of another format, or of another model.
    """
    state = _read(path)
    try:
        for name, module in modules.items():
            module.load_state_dict(state["modules"][name])
        optimizer.load_state_dict(state["optimizer"])
        return Progress(**state["progress"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} does not fit this run's model ({reason}); start a new run directory.") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing, so the run cannot go on; start a new run directory.") from error
    except Exception as error:  # torch's reader raises almost anything on damaged bytes
        raise CheckpointError(f"{path} is not a readable training state; start a new run directory.") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a training state of format {FORMAT}; start a new run directory.")
    return state
