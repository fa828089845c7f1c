"""A whole run within some minutes: read the pack, find a setup, train, speak, and leave it all where it is fetched."""

import json
import logging
import math
import re
import time
import wave
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.logger import Logger
from torch import Tensor
from typing_extensions import override

from audioflow import __version__
from audioflow.audio import write_audio
from audioflow.corpora import Entry
from audioflow.devices import DeviceName, pick_device
from audioflow.errors import CorpusError, OutputError, RecipeError, TrainingError
from audioflow.files import atomic_path
from audioflow.training import Recipe, RunDirectory, load_recipe
from audioflow.training.processes import stop_on_signals
from audioflow.vocoders import Vocoder, load
from benchmarks.gpu_training import shelf, stand_ins
from benchmarks.gpu_training.loop import DeviceLoop
from benchmarks.gpu_training.packed import PackedCorpus
from benchmarks.gpu_training.steps import Setup
from benchmarks.gpu_training.trials import Options, TooLongError, time_limit

log = logging.getLogger(__name__)

REPORT: Final = "run.json"
SPOKEN: Final = 2
"""Held-out utterances that the model speaks at the end."""
RESERVED: Final = 0.06
"""Share of the time that is kept for the last validation, for speaking, and for writing."""
LONGEST_SPEECH: Final = 10.0
"""Seconds after which speaking is given up, where less of the time than that is left."""
STEEPEST: Final = 4.0
"""The learning rate is raised by no more than this factor, however large the batch."""
USUAL: Final = ("train.validate_every=1m", "train.checkpoint_every=1m", "train.log_every=5s", "train.steps=null")
"""Fields of every recipe, unless they are given."""
FIXED: Final = ("train.sample_every=null", "train.clock=wall")


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        pack: directory of the packed speech.
        recipe: a recipe file.
        overrides: fields of it that are different, ``section.field=value``.
        out: where the results are left.
        work: the run directory; ``OUT-work`` by default.
        minutes: how long all of it may take.
        device: where.
        options: what is left to the trials.
        share: of the time that the trials may take.
        learning_rate: the highest, or None to scale the recipe's.
        sample_seconds: longest stretch of an utterance that is spoken.
        limits: of ``out``.
        started: when the time began to count, on the monotonic clock.
    """

    pack: Path
    recipe: Path
    overrides: tuple[str, ...]
    out: Path
    work: Path
    minutes: float
    device: DeviceName = "auto"
    options: Options = field(default_factory=Options)
    share: float = 0.15
    learning_rate: float | None = None
    sample_seconds: float = 6.0
    limits: shelf.Limits = field(default_factory=shelf.Limits)
    started: float = field(default_factory=time.monotonic)


class NoBoard(Logger):
    """A logger that keeps nothing: the history file says all there is to say."""

    name = "none"
    version = ""

    @override
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        return

    @override
    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        return


class Clock:
    """How much time is left, and what it went to, in seconds."""

    def __init__(self, started: float, minutes: float) -> None:
        self.begun, self.total = started, 60 * minutes
        self.parts = {"starting": round(time.monotonic() - started, 1)}

    @property
    def left(self) -> float:
        """Seconds until the training has to end."""
        return self.begun + self.total * (1 - RESERVED) - time.monotonic()

    @contextmanager
    def measured(self, part: str) -> Iterator[None]:
        """Note how long something takes."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.parts[part] = round(time.monotonic() - begun, 1)


def train(request: Request) -> dict[str, Any]:
    """Do what is asked for; a run that is in ``out`` or ``work`` already goes on, for as many minutes more.

    Returns:
        The report, which is also in ``run.json``.

    Raises:
        CorpusError: there is no pack, it is damaged, or its mels are not those of the recipe.
        RecipeError: the recipe is wrong, or that of a student, or another than that of the run that is there.
        DeviceError: the device is not there.
        TrainingError: no time is left for training.
        OutputError: something cannot be written, or another process trains there.
    """
    clock = Clock(request.started, request.minutes)
    device = pick_device(request.device)
    torch.backends.cudnn.benchmark = device.type == "cuda"
    recipe = _recipe(request)
    with clock.measured("reading"):
        packed = PackedCorpus(request.pack, device)
    differences = packed.contract.differences(recipe.mel)
    if differences:
        raise CorpusError(f"{request.pack} has other mels than the recipe's ({', '.join(differences)}); pack others.")
    directory = RunDirectory(request.work)
    with ExitStack() as held:
        held.enter_context(directory.hold())
        return _held(request, recipe, packed, directory, clock, device)


def _held(
    request: Request,
    recipe: Recipe,
    packed: PackedCorpus,
    directory: RunDirectory,
    clock: Clock,
    device: torch.device,
) -> dict[str, Any]:
    earlier = _earlier(request, directory)
    if directory.state.is_file():
        recipe = _as_before(request, recipe, directory)
    resumed = directory.open(recipe)
    report: dict[str, Any] = {"recipe": recipe.name, "problem": "", "stopped_by": "", "trials": []}

    def saved(loop: DeviceLoop) -> None:
        report.update(_told(loop), seconds=clock.parts)
        _publish(request, loop, report)

    fabric = Fabric(accelerator=device.type, devices=1, precision="32-true", loggers=NoBoard())
    fabric.launch()
    with clock.measured("preparing"):
        loop = DeviceLoop(fabric, recipe, directory, packed, resumed=resumed, saved=saved)
    if resumed:
        _go_on(loop, earlier, report, clock)
    else:
        _set_out(loop, request, report, clock)
    with clock.measured("training"), stop_on_signals() as stop:
        try:
            report["stopped_by"] = loop.run(stop) or "budget"
        except TrainingError as error:
            # What was reached before is worth having: the time on the machine is spent.
            report.update(problem=str(error), stopped_by="loss")
        loop.reporter.close()
    with clock.measured("speaking"):
        try:
            with time_limit(max(clock.left + RESERVED * clock.total, LONGEST_SPEECH)):
                _speak(request, loop)
        except TooLongError as error:
            report["problem"] = f"The last two utterances were not spoken: {error}."
    saved(loop)
    return report


def _recipe(request: Request) -> Recipe:
    given = (*USUAL, *request.overrides, *FIXED, f"train.minutes={request.minutes}")
    recipe = load_recipe(request.recipe, given)
    if recipe.distill is not None:
        raise RecipeError(f"{request.recipe} has a section distill, but only likelihood is trained here.")
    return recipe


def _changed(recipe: Recipe, data: Mapping[str, Any], train: Mapping[str, Any]) -> Recipe:
    sections = {"data": recipe.data.model_copy(update=data), "train": recipe.train.model_copy(update=train)}
    return recipe.model_copy(update=sections)


def _earlier(request: Request, directory: RunDirectory) -> dict[str, Any]:
    """The report of a run that can go on, from the run directory or else from the shelf; empty where there is none."""
    if not directory.state.is_file() and (request.out / REPORT).is_file():
        shelf.restore(request.out, directory.path)
        if not directory.state.is_file():
            raise OutputError(
                f"{request.out} holds a run without the state that it needs to go on; name a new directory."
            )
    path = directory.path / REPORT
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    return found


def _as_before(request: Request, recipe: Recipe, directory: RunDirectory) -> Recipe:
    """The recipe, with what trials decided in the run that goes on."""
    kept = load_recipe(directory.recipe)
    rate = request.learning_rate or kept.train.learning_rate
    train = {"learning_rate": rate, "precision": kept.train.precision, "accumulate": kept.train.accumulate}
    return _changed(recipe, {"batch_size": kept.data.batch_size}, train)


def _set_out(loop: DeviceLoop, request: Request, report: dict[str, Any], clock: Clock) -> None:
    """Find a setup, and write the recipe that it makes into the run directory."""
    recipe = loop.recipe
    with clock.measured("trials"):
        setup, trials = loop.choose(60 * request.minutes * request.share, request.options)
    report["trials"] = [trial.row() for trial in trials]
    usual = recipe.data.batch_size * recipe.train.accumulate
    rate = request.learning_rate or scaled_rate(recipe.train.learning_rate, usual, setup.batch)
    train = {"learning_rate": rate, "precision": setup.precision, "accumulate": 1, "minutes": _minutes(clock)}
    effective = _changed(recipe, {"batch_size": setup.batch}, train)
    loop.directory.open(effective)
    loop.adopt(setup, effective)
    log.info("%s, learning rate %.2g", setup, rate)


def _go_on(loop: DeviceLoop, earlier: Mapping[str, Any], report: dict[str, Any], clock: Clock) -> None:
    """Go on with the setup of before, for the minutes that are left now."""
    report["trials"] = earlier.get("trials", [])
    loop.device_meter.skipped = int(earlier.get("skipped", 0))
    data, train = loop.recipe.data, loop.recipe.train
    ways = {name: bool(earlier.get(name)) for name in ("compiled", "graphed")}
    minutes = loop.progress.elapsed / 60 + _minutes(clock)
    effective = _changed(loop.recipe, {}, {"minutes": minutes})
    loop.directory.open(effective)
    loop.adopt(Setup(data.batch_size, train.precision, **ways), effective)


def scaled_rate(rate: float, usual: int, batch: int) -> float:
    """The learning rate of a batch of another size: in proportion to the square root, and at most `STEEPEST` times.

    >>> scaled_rate(1e-3, 4, 16), scaled_rate(1e-3, 4, 1024)
    (0.002, 0.004)
    """
    return min(1.0, rate * min(STEEPEST, math.sqrt(batch / usual)))


def _minutes(clock: Clock) -> float:
    if clock.left <= 0:
        raise TrainingError("All the time went to preparations, so none is left to train; give more --minutes.")
    return clock.left / 60


def _told(loop: DeviceLoop) -> dict[str, Any]:
    """What the report says of a run."""
    progress, valid = loop.progress, loop.valid.get(loop.objective.score, math.nan)
    best = progress.best_score
    return {
        **loop.facts(),
        "step": progress.step,
        "samples": progress.samples,
        "samples_per_second": round(loop.device_meter.samples_per_second),
        "parameters": sum(weight.numel() for weight in loop.vocoder.parameters()),
        "nats_per_sample": round(valid, 5) if math.isfinite(valid) else None,
        "best_nats_per_sample": round(best, 5) if math.isfinite(best) else None,
        "best_step": progress.best_step,
        "weights": loop.weights.name,
        "torch": torch.__version__,
        "audioflow": __version__,
    }


def _publish(request: Request, loop: DeviceLoop, report: dict[str, Any]) -> None:
    """Put weights, history, report, audio and state on the shelf."""
    work = loop.directory.path
    samples = sorted(str(path.relative_to(work)) for path in loop.directory.samples.glob("*.wav"))
    names = [REPORT, loop.weights.name, "history.jsonl", "recipe.yaml", *samples, "state/last.pt"]
    outdated = [loop.directory.last.name] if loop.directory.last != loop.weights else []
    report["left_out"] = []
    for _ in range(2):  # the second time the report says what the first time had no room for
        with atomic_path(work / REPORT) as temporary:
            temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        left_out = shelf.publish(work, request.out, names, request.limits, outdated)
        if left_out == report["left_out"]:
            break
        report["left_out"] = left_out


def _speak(request: Request, loop: DeviceLoop) -> None:
    """Let the best weights speak held-out utterances."""
    entries = sorted(loop.packed.entries("valid"), key=lambda entry: entry.id)[:SPOKEN]
    if not entries:
        return
    # The file itself is read back, so that it is known to be good.
    vocoder = load(loop.weights, loop.fabric.device)
    for entry, wav in zip(entries, spoken(vocoder, loop, entries, request.sample_seconds), strict=True):
        name = re.sub(r"[^A-Za-z0-9._-]", "_", entry.id)
        write_wav(loop.directory.samples / f"{name}.wav", wav, vocoder.contract.sample_rate)


def spoken(vocoder: Vocoder, loop: DeviceLoop, entries: Sequence[Entry], seconds: float) -> list[Tensor]:
    """The first seconds of utterances, made from their mels."""
    packed, device, hop = loop.packed, loop.fabric.device, vocoder.contract.hop_length
    longest = max(1, int(seconds * vocoder.contract.sample_rate / hop))
    mels = [packed.load(entry)[1][:, :longest] for entry in entries]
    lengths = torch.tensor([mel.shape[1] for mel in mels], device=device)
    batch = torch.nn.utils.rnn.pad_sequence([mel.T for mel in mels], batch_first=True).transpose(1, 2).to(device)
    speakers = [packed.speaker_index(entry) for entry in entries]
    speaker = torch.tensor(speakers, device=device) if loop.voiced else None
    made = torch.nan_to_num(vocoder.synthesize(batch, lengths, speaker=speaker).float()).cpu()
    return [wav[: mel.shape[1] * hop] for wav, mel in zip(made, mels, strict=True)]


def write_wav(path: Path, wav: Tensor, sample_rate: int) -> None:
    """Write 16-bit audio ``wav [T]``, also where soundfile is missing.

    Raises:
        OutputError: it cannot be written.
    """
    if not stand_ins.is_missing("soundfile"):
        write_audio(path, wav, sample_rate, overwrite=True)
        return
    samples = (wav.double() * 32768).round().clamp(-32768, 32767).to(torch.int16).numpy()
    with atomic_path(path) as temporary:
        try:
            with wave.open(str(temporary), "wb") as file:
                file.setparams((1, 2, sample_rate, len(samples), "NONE", ""))
                file.writeframes(samples.astype("<i2").tobytes())
        except wave.Error as error:
            raise OutputError(f"{path} cannot be written: {error}.") from error
