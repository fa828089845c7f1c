"""``audioflow train``."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import click
from torch import distributed

from audioflow.training import TrainReport, load_recipe
from audioflow.training import train as run_training
from audioflow.training.processes import Device


@click.command(epilog="Example: audioflow train recipes/sample/wavenet.yaml --out runs/first train.minutes=3")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory of the run.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--devices", type=click.IntRange(min=1), help="Processes on each node.  [default: 1, or torchrun's]")
@click.option("--nodes", type=click.IntRange(min=1), help="Nodes.  [default: 1, or torchrun's]")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show the log.")
def train(
    recipe: Path,
    overrides: tuple[str, ...],
    out: Path,
    device: Device,
    devices: int | None,
    nodes: int | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Train a vocoder as RECIPE says, or go on with the run that is in the directory.

    Single fields of the recipe can be changed: model.residual_channels=32. A run that was stopped, by Ctrl-C or a power
    cut, goes on where its last checkpoint was when the same command is given again; a larger budget prolongs it.
    """
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    else:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    plan = load_recipe(recipe, overrides)
    report = run_training(plan, out, device, devices=devices, nodes=nodes, progress_bar=not (as_json or verbose))
    if _is_first_process():
        click.echo(json.dumps(asdict(report)) if as_json else _text(report))


def _is_first_process() -> bool:
    return not distributed.is_initialized() or distributed.get_rank() == 0


def _text(report: TrainReport) -> str:
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
