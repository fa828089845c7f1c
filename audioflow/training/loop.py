"""The training loop, one for all vocoders and all numbers of processes."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed

from audioflow.corpora.dataset import SegmentDataset
from audioflow.corpora.prepared import PreparedCorpus
from audioflow.errors import TrainingError
from audioflow.training.batches import Batch, concatenated, endless_batches
from audioflow.training.checkpoints import Checkpoints
from audioflow.training.ema import averaged
from audioflow.training.meter import Meter
from audioflow.training.objectives import Objective, make_objective
from audioflow.training.periodicity import fit_periodicity
from audioflow.training.processes import StopRequest, on_first_process, summed
from audioflow.training.recipe import Recipe
from audioflow.training.reporting import Reporter
from audioflow.training.run_directory import RunDirectory
from audioflow.training.schedule import Cadence
from audioflow.training.seeds import generator_for, seed_for
from audioflow.training.state import Progress
from audioflow.training.validation import HeldOut
from audioflow.vocoders import build

log = logging.getLogger(__name__)

# Enough speech for the mean and spread that a model starts from.
_INITIAL_SEGMENTS = 64


class Loop:
    """One run, as one process of it sees it.

    Every random choice is seeded by what it is for and by its step, so a resumed run repeats what an unbroken one does.

    Args:
        fabric: device and processes, launched.
        recipe: what to train.
        directory: where the run is kept.
        prepared: the speech.
        resumed: whether the directory holds a state to go on from.
        bar: whether a progress bar is shown.

    Attributes:
        vocoder: the model in training.
        average: the moving average of its weights.
        progress: how far the run is.
        objective: what is made small.
        valid: the newest held-out figures; empty without held-out speech.
        meter: loss and speed.
        reporter: where figures go.

    Raises:
        TrainingError: the corpus has more speakers than the model, or segments are too short for it.
        CorpusError: there is no speech to train on.
        CheckpointError: the state cannot be read.
    """

    def __init__(
        self,
        fabric: Fabric,
        recipe: Recipe,
        directory: RunDirectory,
        prepared: PreparedCorpus,
        *,
        resumed: bool,
        bar: bool = False,
    ) -> None:
        self.fabric, self.recipe, self.directory = fabric, recipe, directory
        config = recipe.train
        self.voiced = _needs_speakers(recipe, prepared)
        self.held_out = HeldOut.read(prepared, recipe.data, voiced=self.voiced)
        torch.manual_seed(seed_for(config.seed, "weights"))
        self.vocoder = build(recipe.model.name, recipe.mel, recipe.model.fields).to(fabric.device)
        before = 0 if self.vocoder.front is None else self.vocoder.front.order
        self.segments = SegmentDataset(prepared, "train", recipe.data.segment_frames, config.seed, before)
        self.objective: Objective = make_objective(recipe, self.vocoder, self._scored_samples(), fabric.device)
        if not resumed:
            self._initialize()
        self.objective.prepare(self.vocoder)
        optimizer = self._set_up()
        self.average = averaged(self.vocoder, config.ema_decay)
        self.checkpoints = Checkpoints(directory, recipe, self.vocoder, self.average, optimizer, self.objective)
        self.progress = self._resume() if resumed else Progress()
        self.reporter = Reporter(fabric, directory, bar=bar, used=self.used)
        self.valid: dict[str, float] = {}
        self.meter = Meter()

    def _set_up(self) -> torch.optim.Optimizer:
        """Make the optimizer, and let Fabric wrap it, the vocoder, and what is trained beside it."""
        config, helpers = self.recipe.train, self.objective.helpers
        trained = [*self.vocoder.parameters(), *([] if helpers is None else helpers.parameters())]
        optimizer = torch.optim.AdamW(
            [parameter for parameter in trained if parameter.requires_grad],
            config.learning_rate,
            config.betas,
            config.eps,
            config.weight_decay,
            fused=True,  # one pass over all weights instead of a dozen over each
        )
        self.model, self.optimizer = self.fabric.setup(self.vocoder, optimizer)
        for method in self.objective.forward_methods:
            self.model.mark_forward_method(method)
        return optimizer

    @property
    def used(self) -> float:
        """Share of the budget that is used."""
        return self.recipe.train.budget.progress(self.progress.step, self.progress.elapsed)

    def run(self, stop: StopRequest) -> str | None:
        """Train until the budget is used or a stop is asked for; what was reached is validated and saved.

        A run that has ended before is left as it is.

        Args:
            stop: looked at after each step; the first process decides for all.

        Returns:
            The signal that ended the run early, or None.

        Raises:
            TrainingError: loss or gradient is not finite; the last checkpoint is left as it was.
            OutputError: something cannot be written.
        """
        if self._ended_before():
            return None
        clock = time.process_time if self.recipe.train.clock == "cpu" else time.monotonic
        started = clock() - self.progress.elapsed
        batches = self._batches(self.progress.step * self.recipe.train.accumulate, self.fabric.global_rank)
        signal_name: str | None = None
        if self.progress.step == 0:
            self._save()  # so that a run killed early leaves something to go on from
        while self.used < 1 and signal_name is None:
            before = (self.progress.step, self.progress.elapsed)
            grad_norm = self._step(batches)
            self.progress.elapsed, signal_name = self._agree(clock() - started, stop.signal_name)
            self._housekeeping(before, grad_norm)
        self._finish()
        return signal_name

    def _ended_before(self) -> bool:
        """Whether nothing is left to train or to measure; the figure of the end is taken from the history then."""
        if self.used < 1:
            return False
        score, step = self.objective.score, self.progress.step
        measured = on_first_process(self.fabric, lambda: self.directory.measured(step, score))
        if measured is not None:
            self.valid = {name: math.nan if value is None else value for name, value in measured.items()}
        return measured is not None or not self.held_out.batches

    def _initialize(self) -> None:
        """Fit the model's statistics, in every process to the same batches, those that the first one begins with."""
        batches = self._batches(0, rank=0)
        count = math.ceil(_INITIAL_SEGMENTS / self.recipe.data.batch_size)
        first = concatenated([next(batches) for _ in range(count)])
        noisy = self._dequantized(first, "initialize").to(self.fabric.device)
        self.vocoder.initialize(noisy.wav, noisy.mel, around=noisy.around)
        fit_periodicity(self.vocoder, self.segments.prepared, self.recipe.train.seed)

    def _scored_samples(self) -> int:
        """Samples of a segment that the likelihood counts."""
        frames = self.recipe.data.segment_frames
        scored = self.vocoder.scored_samples(frames)
        if scored == 0:
            raise TrainingError(
                f"Segments of {frames} mel frames are too short for this model; raise data.segment_frames."
            )
        return scored

    def _resume(self) -> Progress:
        progress = self.checkpoints.resume()
        if self.fabric.is_global_zero:
            self.directory.forget_after(progress.step)
        log.info("going on from step %d, after %.0f s", progress.step, progress.elapsed)
        return progress

    def _batches(self, first: int, rank: int) -> Iterator[Batch]:
        data = self.recipe.data
        return endless_batches(
            self.segments,
            data.batch_size,
            first=first,
            rank=rank,
            world_size=self.fabric.world_size,
            workers=data.workers,
            pin_memory=self.fabric.device.type == "cuda",
            voiced=self.voiced,
        )

    def _step(self, batches: Iterator[Batch]) -> float:
        """Make one optimizer step; give the norm of the gradient before clipping."""
        config, step, rank = self.recipe.train, self.progress.step, self.fabric.global_rank
        begun = time.monotonic()
        torch.manual_seed(seed_for(config.seed, "step", step, rank))
        self.model.train()
        rate = config.rate.at(step, self.used)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        seen: list[str] = []
        loss = torch.zeros((), device=self.fabric.device)
        figures: dict[str, float] = {}
        for part in range(config.accumulate):
            # The noise is added on the device: the sum would not be in the pinned memory that the batch comes in.
            batch = self._dequantized(next(batches).to(self.fabric.device), "noise", step, part, rank)
            seen.extend(batch.ids)
            with self._backward_sync(part == config.accumulate - 1):
                with self.fabric.autocast():
                    part_loss, parts = self.objective.loss(self.model, batch, self._seeded(step, part, rank))
                    part_loss = part_loss / config.accumulate
                self.fabric.backward(part_loss)
            loss += part_loss.detach()
            figures = {name: figures.get(name, 0.0) + value / config.accumulate for name, value in parts.items()}
        self._join_helpers()
        limit = config.gradient_clip or math.inf
        norm = self.fabric.clip_gradients(self.model, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        mean_loss = summed(self.fabric, loss[None])[0] / self.fabric.world_size
        grad_norm = math.nan if norm is None else float(norm)
        if not (math.isfinite(mean_loss) and math.isfinite(grad_norm)):
            raise self._not_finite(float(loss), grad_norm, seen)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update_parameters(self.vocoder)
        samples = batch.wav.numel() * config.accumulate * self.fabric.world_size
        self.progress.step += 1
        self.progress.samples += samples
        self.meter.add(mean_loss, samples, time.monotonic() - begun, figures)
        return grad_norm

    def _join_helpers(self) -> None:
        """Average the gradients of what is trained beside the vocoder over the processes."""
        if self.fabric.world_size == 1 or self.objective.helpers is None:
            return
        for parameter in self.objective.helpers.parameters():
            if parameter.grad is not None:
                parameter.grad = cast(Tensor, self.fabric.all_reduce(parameter.grad, reduce_op="mean"))

    def _seeded(self, *where: int) -> Callable[[str], torch.Generator]:
        return lambda what: generator_for(self.recipe.train.seed, what, *where)

    def _backward_sync(self, last: bool) -> AbstractContextManager[None]:
        """Let several processes exchange gradients only when the last batch of a step has been seen."""
        if last or self.fabric.world_size == 1:
            return nullcontext()
        return self.fabric.no_backward_sync(self.model)  # type: ignore[no-any-return]

    def _dequantized(self, batch: Batch, *what: int | str) -> Batch:
        if not self.recipe.train.dequantize:
            return batch
        return batch.dequantized(generator_for(self.recipe.train.seed, *what))

    def _not_finite(self, loss: float, grad_norm: float, seen: list[str]) -> TrainingError:
        """Say what happened; with several processes, the utterances of all of them, as all have the same gradient."""
        everyone: list[list[str]] = [seen]
        if self.fabric.world_size > 1:
            everyone = [[] for _ in range(self.fabric.world_size)]
            distributed.all_gather_object(everyone, seen)
        names = ", ".join(dict.fromkeys(name for part in everyone for name in part))
        return TrainingError(
            f"The loss is {loss:g} and the gradient's norm {grad_norm:g} at step {self.progress.step}, "
            f"on a batch from the utterances {names}; the last checkpoint in {self.directory.path} is kept: "
            "look at these recordings, or lower train.learning_rate."
        )

    def _agree(self, elapsed: float, signal_name: str | None) -> tuple[float, str | None]:
        """Take the clock and the stop request of the first process in all of them."""
        if self.fabric.world_size == 1:
            return elapsed, signal_name
        agreed: tuple[float, str | None] = self.fabric.broadcast((elapsed, signal_name))
        return agreed

    def _housekeeping(self, before: tuple[int, float], grad_norm: float) -> None:
        """Do what is due after a step: figures, validation, audio, checkpoint."""
        config, now = self.recipe.train, (self.progress.step, self.progress.elapsed)

        def due(every: str | None) -> bool:
            return every is not None and Cadence.parse(every).due(before, now)

        if due(config.log_every) or self.used >= 1:
            figures = self.meter.take()
            rate = self.optimizer.param_groups[0]["lr"]
            self.reporter.figures(self.progress, {**figures, "lr": rate, "grad_norm": grad_norm})
        if self.used >= 1:
            return  # the end of the run does the rest
        if due(config.validate_every):
            self._validate()
        if due(config.checkpoint_every):
            self._save()
        if due(config.sample_every):
            self._sample()
        self.reporter.advance(self.progress.step, self.used)

    def _finish(self) -> None:
        self._validate()
        self._save()
        if self.recipe.train.sample_every is not None:
            self._sample()
        self.reporter.advance(self.progress.step, self.used)

    def _validate(self) -> None:
        """Measure the averaged model on held-out speech, and keep it if it is the best so far."""
        if not self.held_out.batches:
            return
        self.valid = self.objective.validate(self.checkpoints.averaged_vocoder, self.held_out, self.fabric)
        score = self.valid[self.objective.score]
        if not math.isfinite(score):
            log.warning(
                "%s at step %d is %g, so this model is not kept as the best",
                self.objective.score,
                self.progress.step,
                score,
            )
        self.reporter.figures(self.progress, self.valid)
        if math.isfinite(score) and score > self.progress.best_score:
            self.progress.best_score, self.progress.best_step = score, self.progress.step
            on_first_process(self.fabric, lambda: self.checkpoints.save_best(self.progress, self.valid))

    def _sample(self) -> None:
        if self.held_out.batches:
            vocoder, seconds = self.checkpoints.averaged_vocoder, self.recipe.train.sample_seconds
            self.reporter.sample(self.progress.step, vocoder, self.held_out.batches[0], seconds)

    def _save(self) -> None:
        on_first_process(self.fabric, lambda: self.checkpoints.save_last(self.progress, self.valid))


def _needs_speakers(recipe: Recipe, prepared: PreparedCorpus) -> bool:
    speakers = int(recipe.model.fields.get("speakers", 0))
    if speakers and len(prepared.speakers) > speakers:
        raise TrainingError(
            f"{prepared.directory} has {len(prepared.speakers)} speakers, but model.speakers is {speakers}; raise it."
        )
    return speakers > 0
