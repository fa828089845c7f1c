"""One call that trains a vocoder, or goes on with a run."""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from audioflow.corpora.prepared import PreparedCorpus
from audioflow.evaluation.likelihood import bits_per_sample
from audioflow.training.loop import Loop
from audioflow.training.processes import Device, make_fabric, on_first_process, stop_on_signals
from audioflow.training.recipe import Recipe
from audioflow.training.run_directory import RunDirectory
from audioflow.training.speech import ensure_prepared


@dataclass(frozen=True)
class TrainReport:
    """How a run ended.

    Attributes:
        directory: the run directory.
        stopped_by: ``budget``, or the signal that ended it early.
        step: optimizer steps made in all.
        seconds: time used in all.
        parameters: number of trained values.
        loss: mean loss over the steps of the last log line, in nats per sample; None when no step was made.
        valid_nats_per_sample: held-out log-likelihood at the end; None without held-out speech, or if it is not finite.
        valid_bits_per_sample: the same as the code length of a 16-bit sample.
        dequantized: whether noise of one 16-bit step was added for both.
        best_nats_per_sample: the highest held-out log-likelihood of the run; None if there is none.
        best_step: the step that had it.
        samples_per_second: audio samples learned from in a second.
        held_out: all held-out figures at the end, by name; None for one that is not finite.
    """

    directory: str
    stopped_by: str
    step: int
    seconds: float
    parameters: int
    loss: float | None
    valid_nats_per_sample: float | None
    valid_bits_per_sample: float | None
    dequantized: bool
    best_nats_per_sample: float | None
    best_step: int
    samples_per_second: float
    held_out: dict[str, float | None]


def train(
    recipe: Recipe,
    out_dir: str | Path,
    device: Device = "auto",
    *,
    devices: int | None = None,
    nodes: int | None = None,
    resume: bool = True,
    progress_bar: bool = False,
) -> TrainReport:
    """Train a vocoder as a recipe says, or go on with the run that is in the directory.

    The corpus is prepared first if need be. With a budget of steps alone, going on gives the same losses as a run that
    was never stopped; with minutes, the learning rate follows the clock, which never runs twice the same.

    Args:
        recipe: what to train.
        out_dir: the run directory; see `RunDirectory` for what is in it afterwards.
        device: where; ``auto`` takes a GPU when there is one.
        devices: processes on each node; what torchrun or Slurm says when left out, or 1.
        nodes: number of nodes; what torchrun or Slurm says when left out, or 1.
        resume: whether a run in ``out_dir`` may be continued.
        progress_bar: whether a progress bar is shown.

    Raises:
        RecipeError: the run in ``out_dir`` was made by another recipe.
        CorpusError: the speech cannot be had.
        TrainingError: the device is not there, or the loss is not finite.
        OutputError: the directory is occupied, in use by another process, or cannot be written to.
        CheckpointError: the state of the run is damaged.
    """
    directory = RunDirectory(Path(out_dir))
    fabric = make_fabric(directory.path, recipe.train.precision, device, devices, nodes)
    fabric.launch()
    with ExitStack() as held:
        on_first_process(fabric, lambda: held.enter_context(directory.hold()))
        resumed = on_first_process(fabric, lambda: directory.open(recipe, resume=resume))
        prepared = PreparedCorpus(on_first_process(fabric, lambda: ensure_prepared(recipe)), recipe.data.train_minutes)
        stop = held.enter_context(stop_on_signals())
        loop = Loop(fabric, recipe, directory, prepared, resumed=resumed, bar=progress_bar)
        held.callback(loop.reporter.close)
        stopped_by = loop.run(stop)
    return _report(loop, stopped_by)


def _report(loop: Loop, stopped_by: str | None) -> TrainReport:
    progress = loop.progress
    held_out = {name: value for name, value in loop.valid.items() if name.startswith("valid_")}
    nats = held_out.get("valid_nats_per_sample", math.nan)
    valid = nats if math.isfinite(nats) else None
    best = progress.best_score if math.isfinite(progress.best_score) else None
    return TrainReport(
        directory=str(loop.directory.path),
        stopped_by=stopped_by or "budget",
        step=progress.step,
        seconds=round(progress.elapsed, 1),
        parameters=sum(parameter.numel() for parameter in loop.vocoder.parameters()),
        loss=loop.meter.loss,
        valid_nats_per_sample=valid,
        valid_bits_per_sample=None if valid is None else bits_per_sample(valid),
        dequantized=loop.recipe.train.dequantize,
        best_nats_per_sample=best if loop.recipe.distill is None else None,
        best_step=progress.best_step,
        samples_per_second=loop.meter.samples_per_second,
        held_out={name: value if math.isfinite(value) else None for name, value in held_out.items()},
    )
