"""Options that several commands share, and the progress bar."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from tqdm import tqdm

Command = TypeVar("Command", bound=Callable[..., Any])


def device_option(command: Command) -> Command:
    """``--device auto|cpu|cuda``."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where the model runs; auto takes a GPU when there is one.",
    )(command)


def json_option(command: Command) -> Command:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")(command)


def verbose_option(command: Command) -> Command:
    """``-v``: the log on standard error."""

    def start_log(_: click.Context, __: click.Parameter, verbose: bool) -> None:
        if verbose:
            logging.basicConfig(level=logging.INFO, format="%(message)s")

    return click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=start_log, help="Show the log.")(
        command
    )


@contextmanager
def samples_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar over audio samples, on a terminal only; gives the function that moves it."""
    with tqdm(total=total, desc=title, unit="sample", unit_scale=True, disable=None, leave=False) as bar:

        def move(samples: int) -> None:
            bar.update(samples)

        yield move
