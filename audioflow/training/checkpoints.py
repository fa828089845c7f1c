"""When and with what provenance the weights of a run are written."""

import logging
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from audioflow import __version__
from audioflow.errors import CheckpointError
from audioflow.training.objectives.base import Objective
from audioflow.training.recipe import Recipe
from audioflow.training.run_directory import RunDirectory
from audioflow.training.state import Progress, load_state, save_state
from audioflow.vocoders import Vocoder, read_header

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoints:
    """Writes and reads everything that survives a run.

    Args:
        directory: where.
        recipe: what the run was asked for.
        vocoder: the model in training.
        average: the moving average of its weights, which is what the checkpoints for synthesis hold.
        optimizer: the optimizer of the model.
        objective: what decides which weights are the best, and may have modules of its own to keep.
    """

    directory: RunDirectory
    recipe: Recipe
    vocoder: Vocoder
    average: AveragedModel
    optimizer: Optimizer
    objective: Objective

    def resume(self) -> Progress:
        """Read the state back into model, average and optimizer.

        The best checkpoint may be newer than the state, if the run was killed between the two; it counts then.

        Raises:
            CheckpointError: the state is missing, damaged or of another model.
        """
        progress = load_state(self.directory.state, self._modules, self.optimizer)
        score, step = self._best_on_disk()
        if score > progress.best_score:
            progress.best_score, progress.best_step = score, step
        return progress

    def save_last(self, progress: Progress, figures: Mapping[str, float]) -> None:
        """Write the newest checkpoint and the state; each replaces the earlier one as a whole.

        Raises:
            OutputError: one of them cannot be written; the earlier one is left as it was.
        """
        self.averaged_vocoder.save(self.directory.last, self._provenance(progress, figures))
        save_state(self.directory.state, self._modules, self.optimizer, progress)

    def save_best(self, progress: Progress, figures: Mapping[str, float]) -> None:
        """Write the checkpoint with the highest held-out score.

        Raises:
            OutputError: it cannot be written; the earlier one is left as it was.
        """
        self.averaged_vocoder.save(self.directory.best, self._provenance(progress, figures))

    def _best_on_disk(self) -> tuple[float, int]:
        """Held-out score and step of the best checkpoint; minus infinity where there is none to read."""
        if not self.directory.best.is_file():
            return -math.inf, 0
        try:
            provenance = read_header(self.directory.best).provenance
            return float(provenance[self.objective.score]), int(provenance["step"])
        except (CheckpointError, KeyError, TypeError, ValueError) as error:
            log.warning("%s cannot be read and will be replaced: %s", self.directory.best, error)
            return -math.inf, 0

    @property
    def _modules(self) -> dict[str, torch.nn.Module]:
        helpers = self.objective.helpers
        return {"vocoder": self.vocoder, "average": self.average, **({} if helpers is None else {"helpers": helpers})}

    @property
    def averaged_vocoder(self) -> Vocoder:
        """The model with the averaged weights, in evaluation mode."""
        vocoder = self.average.module
        assert isinstance(vocoder, Vocoder)  # noqa: S101 - a copy of self.vocoder
        return vocoder

    def _provenance(self, progress: Progress, figures: Mapping[str, float]) -> dict[str, Any]:
        told = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        return {
            "recipe": self.recipe.name,
            "corpus": self.recipe.data.corpus,
            "step": progress.step,
            "seconds": round(progress.elapsed, 1),
            "samples": progress.samples,
            **{self.objective.score: None, **told},
            **({} if self.recipe.distill is None else {"teacher": str(self.recipe.distill.teacher)}),
            "dequantized": self.recipe.train.dequantize,
            "seed": self.recipe.train.seed,
            "audioflow": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
