"""Timing of several things in turns, so that what else a machine does falls on all; and which machine it was."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median

import torch

from audioflow.evaluation.environment import describe_machine
from audioflow.evaluation.speed import measure


def in_turns(jobs: Mapping[str, Callable[[], object]], rounds: int, warm_up: int) -> dict[str, float]:
    """Median seconds of each job, see :func:`all_turns`."""
    return {name: median(seconds) for name, seconds in all_turns(jobs, rounds, warm_up).items()}


def all_turns(jobs: Mapping[str, Callable[[], object]], rounds: int, warm_up: int) -> dict[str, list[float]]:
    """Seconds of each job in each round; in every round each runs once, beginning with another one each time.

    Work that a job leaves to a GPU counts until it is done.

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
            seconds = measure(jobs[name], samples=1, sample_rate=1, runs=1)[0].seconds
            if round_number >= 0:
                taken[name].append(seconds)
    return taken


def machine(device: torch.device | str = "cpu") -> str:
    """Processor, threads, device and versions as a Markdown list, to stand above a table."""
    return "\n".join(f"- {name}: {value}" for name, value in describe_machine(device).items())


@contextmanager
def thread_alone() -> Iterator[None]:
    """Let torch use one thread: what calls many small operations waits long for others on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
