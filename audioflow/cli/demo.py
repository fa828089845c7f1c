"""``audioflow demo``: the whole main job on bundled speech."""

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audioflow.cli.options import FiniteRange, device_option, json_option, verbose_option

if TYPE_CHECKING:
    from audioflow.devices import DeviceName


@click.command(epilog="Example: audioflow demo --minutes 1 --out demo")
@click.option("--minutes", type=FiniteRange(min=0, min_open=True), default=3.0, show_default=True, help="Per model.")
@click.option(
    "--seconds",
    type=FiniteRange(min=0.3),
    default=4.0,
    show_default=True,
    help="Length of the utterance that is synthesised.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Directory.")
@device_option
@json_option
@verbose_option
def demo(*, minutes: float, seconds: float, out: Path, device: "DeviceName", as_json: bool) -> None:
    """Train a small WaveNet and a small flow on a minute of bundled speech, and compare all ways of sampling.

    Prints a table and writes a page with sound and pictures to the directory. Needs no network. So little training
    gives the rhythm of speech and something of its vowels, under noise.
    """
    from audioflow.jobs.demo import PAGE  # noqa: PLC0415 - torch is slow to import, and --help shall be quick
    from audioflow.jobs.demo import demo as run_demo  # noqa: PLC0415

    started = time.monotonic()
    comparison = run_demo(
        out,
        minutes=minutes,
        seconds=seconds,
        device=device,
        command=shlex.join(["audioflow", *sys.argv[1:]]),
        progress_bar=not as_json,
        progress=lambda what: click.echo(f"{what} ...", err=True),
    )
    click.echo(comparison.to_json() if as_json else comparison.table())
    click.echo(f"Done in {(time.monotonic() - started) / 60:.1f} min. Page: {out / PAGE}", err=as_json)
