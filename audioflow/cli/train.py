"""``audioflow train``: a vocoder from a recipe."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audioflow.cli.options import Command, device_option, json_option, log_is_shown, verbose_option
from audioflow.errors import RecipeError

if TYPE_CHECKING:
    from audioflow.devices import DeviceName
    from audioflow.training import Recipe, TrainReport


EPILOG = """\b
Examples:
  audioflow train recipes/sample/wavenet.yaml --out runs/first train.minutes=3
  audioflow train recipes/sample/glow.yaml --out runs/flow model.channels=32
"""


def process_options(command: Command) -> Command:
    """``--devices`` and ``--nodes``."""
    where = "else what torchrun or Slurm says, or 1."
    devices = click.option("--devices", type=click.IntRange(min=1), help=f"Processes a node; {where}")
    nodes = click.option("--nodes", type=click.IntRange(min=1), help=f"Nodes; {where}")
    return devices(nodes(command))


@click.command(epilog=EPILOG)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory of the run.")
@process_options
@device_option
@json_option
@verbose_option
def train(
    *,
    recipe: Path,
    overrides: tuple[str, ...],
    out: Path,
    devices: int | None,
    nodes: int | None,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Train a vocoder as RECIPE says, or go on with the run that is in the directory.

    Single fields of the recipe can be changed: model.residual_channels=32. A run that was stopped, by Ctrl-C or a power
    cut, goes on where its last checkpoint was when the same command is given again; a larger budget prolongs it.
    """
    from audioflow.training import load_recipe  # noqa: PLC0415 - torch is slow to import, and --help shall be quick

    plan = load_recipe(recipe, overrides)
    if plan.distill is not None:
        raise RecipeError(f"{recipe} has a section distill, so it needs a teacher; use audioflow distill.")
    report = run(plan, out, device, devices, nodes, as_json=as_json)
    if is_first_process():
        click.echo(json.dumps(asdict(report)) if as_json else _text(report))


def run(
    plan: "Recipe", out: Path, device: "DeviceName", devices: int | None, nodes: int | None, *, as_json: bool
) -> "TrainReport":
    """Train, with a progress bar where nothing else is printed."""
    from audioflow.training import train as run_training  # noqa: PLC0415

    if not log_is_shown():
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    bar = not (as_json or log_is_shown())
    return run_training(plan, out, device, devices=devices, nodes=nodes, progress_bar=bar)


def is_first_process() -> bool:
    """Whether this process is the one of several that reports."""
    from torch import distributed  # noqa: PLC0415

    return not distributed.is_initialized() or distributed.get_rank() == 0


def _text(report: "TrainReport") -> str:
    noise = "with noise of one 16-bit step" if report.dequantized else "without dequantisation noise"
    lines = [f"{report.directory}: {report.step} steps in {report.seconds:.0f} s, ended by {report.stopped_by}"]
    if report.loss is not None:
        lines.append(f"training loss {report.loss:.4f} nats per sample, {report.samples_per_second:.0f} samples/s")
    if report.valid_nats_per_sample is not None:
        lines.append(
            f"held-out likelihood {report.valid_nats_per_sample:.4f} nats per sample, "
            f"{report.valid_bits_per_sample:.4f} bits per sample ({noise}); "
            f"best {report.best_nats_per_sample:.4f} at step {report.best_step}"
        )
    return "\n".join(lines)
