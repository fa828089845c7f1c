"""The teacher of a student: read, checked, frozen, and what a student takes over from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from audioflow.distributions import MuLawCategorical
from audioflow.errors import TrainingError
from audioflow.nets.gated_stack import GatedStack
from audioflow.training.recipe import Recipe
from audioflow.vocoders import Vocoder, load
from audioflow.vocoders.excitation import CORRECTION
from audioflow.vocoders.student import Student
from audioflow.vocoders.wavenet import WaveNet


def load_teacher(path: str | Path | None, recipe: Recipe, device: torch.device) -> WaveNet:
    """Read a WaveNet, see that it can teach what the recipe asks, and freeze it.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
        TrainingError: it is no WaveNet, its law has no gradient, or its front-end or speakers are not the recipe's.
    """
    if path is None:
        raise TrainingError("A student needs a teacher: give teacher=CHECKPOINT, or distill.teacher in the recipe.")
    teacher = load(path, device=device)
    if not isinstance(teacher, WaveNet):
        raise TrainingError(f"{path} holds a {teacher.name}, but a teacher is a wavenet; name another checkpoint.")
    _require_fit(teacher, path, recipe)
    return frozen(teacher)


def frozen(teacher: WaveNet) -> WaveNet:
    """In evaluation mode, without gradients for its weights, weight normalisation worked out. Returns the teacher."""
    teacher.eval().fold_weight_norm()
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    return teacher


def _require_fit(teacher: WaveNet, path: str | Path, recipe: Recipe) -> None:
    differences = teacher.contract.differences(recipe.mel)
    if differences:
        raise TrainingError(
            f"The teacher {path} hears another mel front-end than the recipe's ({', '.join(differences)}); "
            "change the recipe's mel, or name another teacher."
        )
    theirs, own = _front_of(teacher.config), _front_of(recipe.model.fields)
    if theirs != own:
        raise TrainingError(
            f"The teacher {path} has {_front_said(theirs)}, but the student {_front_said(own)}; "
            "give model.front and model.front_correction of the teacher."
        )
    if isinstance(teacher.law, MuLawCategorical):
        raise TrainingError(
            f"The teacher {path} has the head mu_law, whose classes have no gradient in the amplitude; train one with "
            "the head gaussian or logistic_mixture."
        )
    config = recipe.distill
    if config is not None and config.direction == "forward" and teacher.config["head"] != "gaussian":
        raise TrainingError(
            f"The teacher {path} has the head {teacher.config['head']}; distill.direction = forward needs a gaussian."
        )
    has, needs = int(teacher.config["speakers"]), int(recipe.model.fields.get("speakers", 0))
    if has != needs:
        raise TrainingError(f"The teacher {path} has {has} speakers, but model.speakers is {needs}; let them be equal.")


def _front_of(config: Mapping[str, Any]) -> tuple[Any, float | None]:
    """Order and correction of a model's front; ``("none", None)`` without one."""
    order = config.get("front", "none")
    return order, None if order == "none" else float(config.get("front_correction", CORRECTION))


def _front_said(front: tuple[Any, float | None]) -> str:
    order, correction = front
    return "no front" if correction is None else f"a front of order {order} and correction {correction:g}"


def take_over(student: Student, teacher: WaveNet, *, conditioning: bool, layers: bool) -> None:
    """Give a student the teacher's statistics, and what else is asked for.

    Args:
        student: new.
        teacher: frozen.
        conditioning: the upsampler too, whose weights are frozen then, and the speakers' embeddings, if there are any.
        layers: the weights of the gated layers too, the teacher's one after another through the student's flows, and
            from the first one on again after the last.

    Raises:
        TrainingError: shapes do not agree.
    """
    student.normalizer.load_state_dict(teacher.normalizer.state_dict())
    student.level.load_state_dict(teacher.level.state_dict())
    if student.front is not None and teacher.front is not None:
        student.front.load_state_dict(teacher.front.state_dict())
    if conditioning:
        _copy(student.upsampler, teacher.upsampler, "upsampler", "distill.conditioning = own")
        cast(nn.Module, student.upsampler).requires_grad_(False)
        if student.speaker_embedding is not None and teacher.speaker_embedding is not None:
            _copy(student.speaker_embedding, teacher.speaker_embedding, "speakers", "distill.conditioning = own")
    if layers:
        _copy_layers(student, teacher.network.stack)


@torch.no_grad()
def _copy_layers(student: Student, source: GatedStack) -> None:
    number, count = 0, len(source.dilations)
    for network in student.networks:
        stack = network.stack
        for layer in range(len(stack.dilations)):
            taken = number % count
            _set_weight(stack.convolutions[layer], source.convolutions[taken], "gated layers")
            _set_weight(stack.outputs[layer], source.outputs[taken], "gated layers", last_rows=True)
            number += 1
        if stack.condition is not None and source.condition is not None:
            first = number - len(stack.dilations)
            rows = [row for layer in range(first, number) for row in _rows(source, layer % count)]
            _set_weight(stack.condition, source.condition, "conditioning of the layers", rows=rows)


def _rows(stack: GatedStack, layer: int) -> range:
    return range(2 * stack.gate_channels * layer, 2 * stack.gate_channels * (layer + 1))


def _set_weight(
    target: nn.Module, source: nn.Module, what: str, *, rows: list[int] | None = None, last_rows: bool = False
) -> None:
    """Give a convolution another's weight and bias; ``last_rows``: as many as it has, from the end (the skips)."""
    for name in ("weight", "bias"):
        value: torch.Tensor = getattr(source, name)
        value = value if rows is None else value[rows]
        wanted: torch.Tensor = getattr(target, name)
        if last_rows and value.shape[0] > wanted.shape[0]:
            value = value[-wanted.shape[0] :]
        if last_rows and value.shape[0] < wanted.shape[0]:
            # The teacher's last layer has no residual output; the student's keeps its own there.
            value = torch.cat([wanted[: wanted.shape[0] - value.shape[0]], value])
        if value.shape != wanted.shape:
            raise TrainingError(
                f"The student's {what} have the shape {list(wanted.shape)}, the teacher's {list(value.shape)}; give it "
                "as many channels, taps and features, or set distill.start = fresh."
            )
        # Assigning goes through weight normalisation, which works out direction and length.
        if name == "weight" and hasattr(target, "parametrizations"):
            target.weight = value.clone()
        else:
            wanted.copy_(value)


def _copy(target: Any, source: Any, what: str, remedy: str) -> None:
    try:
        target.load_state_dict(source.state_dict())
    except RuntimeError as error:
        raise TrainingError(
            f"The student's {what} has not the shape of the teacher's; give it the same settings, or set {remedy}."
        ) from error


def require_student(vocoder: Vocoder) -> Student:
    """The vocoder as a student.

    Raises:
        TrainingError: it is another model.
    """
    if not isinstance(vocoder, Student):
        raise TrainingError(f"model.name is {vocoder.name}, but only a student is distilled; set model.name = student.")
    return vocoder
