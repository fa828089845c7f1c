"""How fast something makes sound."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch

Result = TypeVar("Result")


@dataclass(frozen=True)
class Timing:
    """How long some samples took.

    Attributes:
        seconds: wall-clock time, the median of the runs.
        samples: how many samples one run made.
        sample_rate: of those samples, in Hz.
        runs: how many runs were timed.
    """

    seconds: float
    samples: int
    sample_rate: int
    runs: int = 1

    @property
    def samples_per_second(self) -> float:
        """Samples made in a second of wall-clock time."""
        return self.samples / self.seconds

    @property
    def times_real_time(self) -> float:
        """Seconds of sound made in a second: above 1 it is faster than speech."""
        return self.samples_per_second / self.sample_rate


def measure(
    function: Callable[[], Result],
    samples: int,
    sample_rate: int,
    *,
    runs: int = 3,
    warm_up: Callable[[], object] | None = None,
    budget_seconds: float = 10.0,
) -> tuple[Timing, Result]:
    """Time ``function`` and give the median with what its last run returned.

    Args:
        function: makes ``samples`` samples at ``sample_rate`` Hz.
        samples: how many samples one run makes.
        sample_rate: in Hz.
        runs: the most runs that are timed, at least one.
        warm_up: called once before, untimed; something shorter than ``function`` will do. None: nothing is called.
        budget_seconds: no new run is begun when the runs so far have taken as long as this.
    """
    if runs < 1:
        raise ValueError(f"runs is {runs}; at least one is needed")
    if warm_up is not None:
        warm_up()
    taken: list[float] = []
    while True:
        seconds, result = _timed(function)
        taken.append(seconds)
        if len(taken) == runs or sum(taken) >= budget_seconds:
            return Timing(statistics.median(taken), samples, sample_rate, len(taken)), result


def seconds_to_first(pieces: Callable[[], Iterable[object]], runs: int = 3) -> float:
    """Give the seconds until the first of some pieces is there, the median of the runs; one run before is not timed.

    Args:
        pieces: makes them one after another, as they are asked for.
        runs: that are timed.
    """

    def first() -> object:
        return next(iter(pieces()))

    return measure(first, samples=1, sample_rate=1, runs=runs, warm_up=first)[0].seconds


def pooled_timing(timings: Iterable[Timing]) -> Timing:
    """Put the timings of several utterances of one rate together: their seconds and samples are summed."""
    timings = list(timings)
    return Timing(
        seconds=sum(timing.seconds for timing in timings),
        samples=sum(timing.samples for timing in timings),
        sample_rate=timings[0].sample_rate,
        runs=min(timing.runs for timing in timings),
    )


def _timed(function: Callable[[], Result]) -> tuple[float, Result]:
    _finish()
    start = time.perf_counter()
    result = function()
    _finish()
    return time.perf_counter() - start, result


def _finish() -> None:
    """Wait for the GPU: its work is only queued when a call returns."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
