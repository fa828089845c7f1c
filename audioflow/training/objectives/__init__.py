"""What training makes small: one file for each objective and for each term of one."""

import torch

from audioflow.errors import TrainingError
from audioflow.training.objectives.base import Objective
from audioflow.training.objectives.distillation import Distillation
from audioflow.training.objectives.likelihood import Likelihood
from audioflow.training.objectives.spectral import SHORTEST
from audioflow.training.recipe import Recipe
from audioflow.training.teacher import load_teacher
from audioflow.vocoders import Vocoder

__all__ = ["Distillation", "Likelihood", "Objective", "make_objective"]


def make_objective(recipe: Recipe, vocoder: Vocoder, scored: int, device: torch.device) -> Objective:
    """The objective that a recipe asks for: distillation where it has a teacher, else likelihood.

    Args:
        recipe: what to train.
        vocoder: the model in training.
        scored: samples of a segment that its likelihood counts.
        device: where the teacher goes.

    Raises:
        CheckpointError: the teacher cannot be read.
        TrainingError: teacher or model do not suit.
    """
    if recipe.distill is None:
        return Likelihood(scored, noisy=recipe.train.dequantize)
    samples = recipe.data.segment_frames * recipe.mel.hop_length
    if (recipe.distill.stft or recipe.distill.power) and samples < SHORTEST:
        raise TrainingError(
            f"Segments of {samples} samples are too short for spectra, which need {SHORTEST}; "
            "raise data.segment_frames."
        )
    objective = Distillation(recipe.distill, load_teacher(recipe.distill.teacher, recipe, device), vocoder)
    if objective.helpers is not None:
        objective.helpers.to(device)
    return objective
