"""Which batch, precision and way to make a step suit a machine: short trials, each of which is timed."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from types import FrameType
from typing import Any, Final, Literal

import torch

from audioflow.training.batches import Batch
from benchmarks.gpu_training.steps import Setup, Stepper, forget_gradients

log = logging.getLogger(__name__)

Choice = Literal["auto", "on", "off"]

WORTH_DOUBLING: Final = 1.15
"""A batch of twice the size is taken where it makes so many times the samples a second: else more steps are better."""
WORTH_CHANGING: Final = 1.05
"""The same for another precision, for graphs and for compiled kernels."""
MEMORY_SHARE: Final = 0.8
"""Memory of the device that may be used."""
STEPS: Final = 3
"""Steps of a trial at least, after as many that are not timed."""
SECONDS: Final = 0.7
"""Length of a trial at least."""
COMPILING: Final = 40.0
"""Seconds that have to be left for trying compiled kernels."""
PRECISIONS: Final = ("32-true", "bf16-mixed")


@dataclass(frozen=True)
class Options:
    """What is left to the trials.

    Attributes:
        batch: segments of a step, or None where trials decide.
        precision: ``32-true`` or ``bf16-mixed``, or None where trials decide.
        compiled: whether torch.compile is used.
        graphs: whether CUDA graphs are.
    """

    batch: int | None = None
    precision: str | None = None
    compiled: Choice = "auto"
    graphs: Choice = "auto"


@dataclass(frozen=True)
class Trial:
    """How one setup did.

    Attributes:
        setup: what was tried.
        samples_per_second: audio samples learned from in a second; 0 where it failed.
        memory: most that was taken, in bytes; 0 where it is not known.
        seconds: that the trial took.
        problem: why it failed, or empty.
    """

    setup: Setup
    samples_per_second: float
    memory: int
    seconds: float
    problem: str = ""

    def row(self) -> dict[str, Any]:
        """The trial as it is reported."""
        figures = {
            "samples_per_second": round(self.samples_per_second),
            "gib": round(self.memory / 2**30, 2),
            "seconds": round(self.seconds, 1),
        }
        return {**asdict(self.setup), **figures, **({"problem": self.problem} if self.problem else {})}


class TooLongError(Exception):
    """A trial was ended because its time was up."""


class Trials:
    """Tries setups until it has found one, or its time is up.

    Args:
        make: a stepper that changes no weights, under a setup.
        draw: a batch of so many segments, as training draws them.
        device: where all this is.
        seconds: how long the trials may take together.
        options: what is left to them.

    Attributes:
        done: all trials, one after another.
    """

    def __init__(
        self,
        make: Callable[[Setup], Stepper],
        draw: Callable[[int], Batch],
        device: torch.device,
        seconds: float,
        options: Options,
    ) -> None:
        self.make, self.draw, self.device, self.options = make, draw, device, options
        self.seconds = min(SECONDS, seconds / 20)
        self.deadline = time.monotonic() + seconds
        self.done: list[Trial] = []

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.deadline - time.monotonic()

    def choose(self, recipe: Setup) -> Setup:
        """Find a setup: the batch first, then the precision, graphs with batches that suit them, compiled kernels.

        Args:
            recipe: what the recipe says; taken where nothing can be tried.
        """
        options = self.options
        start = replace(recipe, batch=options.batch or recipe.batch, precision=options.precision or recipe.precision)
        decided = options.batch is not None and options.precision is not None
        if decided and not (self._wanted(options.graphs) or self._wanted(options.compiled)):
            return start
        best = self._started(start)
        if best is None:
            return start
        if options.batch is None:
            best = self._enlarged(best)
        if options.precision is None:
            for precision in set(PRECISIONS) - {best.setup.precision}:
                best = self._changed(best, replace(best.setup, precision=precision))
        if self._wanted(options.graphs):
            recorded = self._changed(best, replace(best.setup, graphed=True), options.graphs)
            best = self._reduced(recorded) if recorded.setup.graphed and options.batch is None else recorded
        if options.compiled == "on" or (self._wanted(options.compiled) and self.left > COMPILING):
            with suppress(TooLongError), time_limit(math.inf if options.compiled == "on" else self.left):
                best = self._changed(best, replace(best.setup, compiled=True), options.compiled)
        return best.setup

    def _wanted(self, choice: Choice) -> bool:
        return choice == "on" or (choice == "auto" and self.device.type == "cuda")

    def _started(self, start: Setup) -> Trial | None:
        """The first batch that fits; None where there is no time for a trial."""
        setup = start
        while self.left > 0:
            trial = self._tried(setup)
            if not trial.problem:
                return trial
            if setup.batch == 1:
                break
            setup = replace(setup, batch=setup.batch // 2)
        return None

    def _enlarged(self, best: Trial) -> Trial:
        """Twice the batch, as long as that is worth it."""
        while self.left > 0 and self._fits_twice(best):
            trial = self._tried(replace(best.setup, batch=2 * best.setup.batch))
            if trial.samples_per_second < WORTH_DOUBLING * best.samples_per_second:
                break
            best = trial
        return best

    def _reduced(self, best: Trial) -> Trial:
        """Half the batch, as long as little is lost: without the time that queuing took, fewer may do."""
        enough = best.samples_per_second / WORTH_DOUBLING
        while self.left > 0 and best.setup.batch > 1:
            trial = self._tried(replace(best.setup, batch=best.setup.batch // 2))
            if trial.samples_per_second < enough:
                break
            best = trial
        return best

    def _changed(self, best: Trial, setup: Setup, choice: Choice = "auto") -> Trial:
        """Another way to make steps, where it is faster, or asked for and possible."""
        if self.left <= 0 and choice != "on":
            return best
        trial = self._tried(setup)
        faster = trial.samples_per_second > WORTH_CHANGING * best.samples_per_second
        return trial if faster or (choice == "on" and not trial.problem) else best

    def _fits_twice(self, trial: Trial) -> bool:
        if self.device.type != "cuda":
            return True
        return 2 * trial.memory < MEMORY_SHARE * torch.cuda.get_device_properties(self.device).total_memory

    def _tried(self, setup: Setup) -> Trial:
        begun = time.monotonic()
        rate, problem = 0.0, ""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            rate = self._rate(setup)
        except Exception as error:  # a trial may fail for lack of memory, of a compiler, or of support for graphs
            problem = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        memory = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else 0
        trial = Trial(setup, rate, memory, time.monotonic() - begun, problem)
        log.info("%s: %.0f samples/s %s", setup, rate, problem)
        self.done.append(trial)
        return trial

    def _rate(self, setup: Setup) -> float:
        stepper = self.make(setup)
        try:
            for _ in range(STEPS):
                stepper.step(self.draw(setup.batch))
            self._wait()
            begun, steps, samples = time.monotonic(), 0, 0
            while steps < STEPS or time.monotonic() - begun < self.seconds:
                batch = self.draw(setup.batch)
                stepper.step(batch)
                steps, samples = steps + 1, samples + batch.wav.numel()
                if steps % STEPS == 0:
                    self._wait()
            self._wait()
            return samples / (time.monotonic() - begun)
        finally:
            forget_gradients(stepper.weights)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TooLongError` in what takes longer, where signals can be had; compilers know no limit of their own."""
    main = threading.current_thread() is threading.main_thread()
    if not main or math.isinf(seconds) or not hasattr(signal, "setitimer"):
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise TooLongError(f"it took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
