"""Options that several commands share, and the progress bar."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from tqdm import tqdm
from typing_extensions import override

Command = TypeVar("Command", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A number in a range; unlike click's own type it lets neither NaN nor infinity through."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


SEED = click.IntRange(min=0, max=2**32 - 1)
"""What every generator of random numbers takes."""


ROUNDS = click.IntRange(min=0, max=1000)
"""How often audio can be moved to its mel; after some dozens nothing changes any more."""


def device_option(command: Command) -> Command:
    """``--device auto|cpu|cuda``."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where the model runs; auto takes a GPU when there is one.",
    )(command)


def speaker_option(command: Command) -> Command:
    """``--speaker N``."""
    return click.option(
        "--speaker", type=int, help="Speaker number, for a model of several voices; 0 where none is named."
    )(command)


def json_option(command: Command) -> Command:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")(command)


def verbose_option(command: Command) -> Command:
    """``-v``: the log on standard error."""

    def start_log(_: click.Context, __: click.Parameter, verbose: bool) -> None:
        if verbose:
            logging.basicConfig(level=logging.INFO, format="%(message)s")
            logging.getLogger().setLevel(logging.INFO)

    return click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=start_log, help="Show the log.")(
        command
    )


def log_is_shown() -> bool:
    """Say whether ``-v`` was given, or the caller's own logging shows as much."""
    return logging.getLogger().isEnabledFor(logging.INFO)


@contextmanager
def samples_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar over audio samples, on a terminal only; gives the function that moves it."""
    with tqdm(total=total, desc=title, unit="sample", unit_scale=True, disable=None, leave=False) as bar:

        def move(samples: int) -> None:
            bar.update(samples)

        yield move
