"""The training loop over speech that lies on the device."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from typing_extensions import override

from audioflow.errors import TrainingError
from audioflow.training.batches import Batch
from audioflow.training.checkpoints import Checkpoints
from audioflow.training.loop import Loop
from audioflow.training.meter import Meter
from audioflow.training.recipe import Recipe
from audioflow.training.run_directory import RunDirectory
from audioflow.training.seeds import seed_for
from audioflow.training.state import Progress
from benchmarks.gpu_training.packed import PackedCorpus
from benchmarks.gpu_training.speech import DeviceSpeech
from benchmarks.gpu_training.steps import Setup, Stepper, optimizer_for
from benchmarks.gpu_training.trials import Options, Trial, Trials

HOPELESS = 20
"""So many steps one after another that are all skipped end a run."""


@dataclass
class DeviceMeter(Meter):
    """A meter that leaves losses on the device until its figures are taken, and leaves out those of skipped steps.

    Attributes:
        skipped: steps that were skipped, all together.
    """

    skipped: int = 0
    _barren: int = 0
    _seen: list[Tensor] = field(default_factory=list)

    def note(self, loss: Tensor, skipped: Tensor, samples: int, seconds: float) -> None:
        """Count a step."""
        self._seen.append(torch.stack([loss.float(), skipped]))
        self._samples += samples
        self._seconds += seconds

    @override
    def take(self) -> dict[str, float]:
        begun = time.monotonic()
        losses, skipped = torch.stack(self._seen).cpu().T
        self._seconds += time.monotonic() - begun  # the device had that much to do still
        self.skipped += int(skipped.sum())
        made = losses[skipped == 0]
        self._barren = 0 if len(made) else self._barren + len(losses)
        if self._barren >= HOPELESS:
            raise TrainingError(
                f"The loss or its gradient was not finite in {self._barren} steps on end; the last checkpoint is kept: "
                "give a lower --lr."
            )
        self.loss = float(made.mean()) if len(made) else math.nan
        self.samples_per_second = self._samples / max(self._seconds, 1e-9)
        self._seen, self._samples, self._seconds = [], 0, 0.0
        return {"loss": self.loss, "samples_per_second": self.samples_per_second, "skipped": float(self.skipped)}


@dataclass(frozen=True)
class FactualCheckpoints(Checkpoints):
    """Checkpoints that also say on what, and how, a model was trained.

    Args:
        facts: gives what is to be said.
    """

    facts: Callable[[], Mapping[str, Any]] = dict

    @override
    def _provenance(self, progress: Progress, figures: Mapping[str, float]) -> dict[str, Any]:
        return {**super()._provenance(progress, figures), **self.facts()}


class DeviceLoop(Loop):
    """The trainer's loop, its steps made without data loaders and without a look at the device's numbers.

    Args:
        fabric: the device, launched, in full precision; a setup says under which one steps are made.
        recipe: what to train.
        directory: where the run is kept.
        packed: the speech.
        resumed: whether the directory holds a state to go on from.
        saved: called after each checkpoint.

    Attributes:
        setup: how steps are made.
        device_meter: loss, speed, and how many steps were skipped.
    """

    def __init__(
        self,
        fabric: Fabric,
        recipe: Recipe,
        directory: RunDirectory,
        packed: PackedCorpus,
        *,
        resumed: bool,
        saved: Callable[["DeviceLoop"], None],
    ) -> None:
        self.packed, self.saved = packed, saved
        super().__init__(fabric, recipe, directory, packed, resumed=resumed)
        self.meter = self.device_meter = DeviceMeter()
        self.vocoder.train()
        self.adopt(Setup(recipe.data.batch_size, recipe.train.precision), recipe)

    @cached_property
    def speech(self) -> DeviceSpeech:
        """The training split."""
        segments, device = self.segments, self.fabric.device
        sizes = (segments.segment_frames, segments.samples_before)
        return DeviceSpeech(self.packed, segments.entries, *sizes, device, voiced=self.voiced)

    @cached_property
    def _noise(self) -> torch.Generator:
        return torch.Generator(self.fabric.device)

    def adopt(self, setup: Setup, recipe: Recipe) -> None:
        """Go on under a setup, with the recipe that it makes."""
        self.setup, self.recipe = setup, recipe
        self.stepper = Stepper(self.vocoder, self.objective, self.optimizer, recipe.train.gradient_clip, setup)
        kept = {one.name: getattr(self.checkpoints, one.name) for one in fields(Checkpoints)}
        self.checkpoints = FactualCheckpoints(**{**kept, "recipe": recipe}, facts=self.facts)

    def facts(self) -> dict[str, Any]:
        """What is to be known about the run."""
        config, manifest = self.recipe.train, self.packed.manifest
        device = self.fabric.device
        return {
            "corpus": self.packed.name,
            "train_utterances": len(self.segments.entries),
            "train_seconds": manifest.seconds("train"),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "minutes": round(self.progress.elapsed / 60, 2),
            "batch": self.setup.batch,
            "segment_frames": self.recipe.data.segment_frames,
            "precision": self.setup.precision,
            "compiled": self.setup.compiled,
            "graphed": self.setup.graphed,
            "learning_rate": config.learning_rate,
            "skipped": self.device_meter.skipped,
        }

    def choose(self, seconds: float, options: Options) -> tuple[Setup, list[Trial]]:
        """Find out how steps are best made here; the model is as before afterwards."""
        before = {name: value.clone() for name, value in self.vocoder.state_dict().items()}
        config = self.recipe.train

        def make(setup: Setup) -> Stepper:
            optimizer = optimizer_for(self.vocoder, config)
            for group in optimizer.param_groups:
                group["lr"] = 0.0
            return Stepper(self.vocoder, self.objective, optimizer, config.gradient_clip, setup)

        drawn = itertools.count()
        draw: Callable[[int], Batch] = lambda size: self._drawn(size, "trial", next(drawn))  # noqa: E731
        trials = Trials(make, draw, self.fabric.device, seconds, options)
        chosen = trials.choose(Setup(self.recipe.data.batch_size * config.accumulate, config.precision))
        self.vocoder.load_state_dict(before)
        return chosen, trials.done

    @override
    def _set_up(self) -> torch.optim.Optimizer:
        optimizer = optimizer_for(self.vocoder, self.recipe.train)
        self.model, self.optimizer = self.vocoder, optimizer  # type: ignore[assignment]
        return optimizer

    @override
    def _batches(self, first: int, rank: int) -> Iterator[Batch]:
        for number in itertools.count(first):
            yield self.speech.batch(self.recipe.data.batch_size, seed_for(self.recipe.train.seed, "segments", number))

    def _drawn(self, size: int, *what: int | str) -> Batch:
        """Segments with noise, of one purpose."""
        seed = self.recipe.train.seed
        return self._noisy(self.speech.batch(size, seed_for(seed, "segments", *what)), *what)

    def _noisy(self, batch: Batch, *what: int | str) -> Batch:
        if not self.recipe.train.dequantize:
            return batch
        return batch.dequantized(self._noise.manual_seed(seed_for(self.recipe.train.seed, "noise", *what)))

    @override
    def _step(self, batches: Iterator[Batch]) -> float:
        begun, step = time.monotonic(), self.progress.step
        rate = self.recipe.train.rate.at(step, self.used)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self._noisy(next(batches), step)
        loss, norm, skipped = self.stepper.step(batch)
        self.average.update_parameters(self.vocoder)
        self.progress.step += 1
        self.progress.samples += batch.wav.numel()
        self.device_meter.note(loss, skipped, batch.wav.numel(), time.monotonic() - begun)
        # It stays on the device until it is written to the log; whoever reads a number waits for it.
        return cast(float, norm)

    @override
    def _validate(self) -> None:
        # Utterances have many lengths: a search for the fastest kernels at each would take longer than it saves.
        with kernels_as_they_are():
            super()._validate()

    @override
    def _save(self) -> None:
        super()._save()
        self.saved(self)

    @property
    def weights(self) -> Path:
        """The best checkpoint, or the newest where nothing was measured."""
        return self.directory.best if self.directory.best.is_file() else self.directory.last


class kernels_as_they_are:  # noqa: N801 - reads as a phrase
    """No search for the fastest convolutions within."""

    def __enter__(self) -> None:
        self.before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = False

    def __exit__(self, *_: object) -> None:
        torch.backends.cudnn.benchmark = self.before
