"""Timing of several things in turns, so that what else a machine does falls on all; and which machine it was."""

import time
from collections.abc import Callable, Mapping
from statistics import median

from audioflow.evaluation.environment import describe_machine


def in_turns(jobs: Mapping[str, Callable[[], object]], rounds: int, warm_up: int) -> dict[str, float]:
    """Median seconds of each job, see :func:`all_turns`."""
    return {name: median(seconds) for name, seconds in all_turns(jobs, rounds, warm_up).items()}


def all_turns(jobs: Mapping[str, Callable[[], object]], rounds: int, warm_up: int) -> dict[str, list[float]]:
    """Seconds of each job in each round; in every round each runs once, beginning with another one each time.

    Args:
        jobs: by name.
        rounds: that are timed.
        warm_up: rounds before them that are not.
    """
    names = list(jobs)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(-warm_up, rounds):
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            jobs[name]()
            seconds = time.perf_counter() - start
            if round_number >= 0:
                taken[name].append(seconds)
    return taken


def machine() -> str:
    """Processor, threads and versions as a Markdown list, to stand above a table."""
    return "\n".join(f"- {name}: {value}" for name, value in describe_machine().items())
