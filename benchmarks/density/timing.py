"""Timing of several things in turns, so that what else the machine does falls on all of them."""

import time
from collections.abc import Callable, Mapping
from statistics import median


def in_turns(jobs: Mapping[str, Callable[[], object]], rounds: int, warm_up: int) -> dict[str, float]:
    """Median seconds of each job; in every round each runs once, beginning with another one each time."""
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
    return {name: median(seconds) for name, seconds in taken.items()}
