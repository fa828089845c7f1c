"""``audioflow distill``: a parallel student from a trained WaveNet."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audioflow.cli.options import device_option, json_option, verbose_option
from audioflow.cli.train import is_first_process, process_options, run
from audioflow.errors import RecipeError

if TYPE_CHECKING:
    from audioflow.devices import DeviceName
    from audioflow.training import TrainReport

EPILOG = """\b
Examples:
  audioflow distill recipes/festvox-ru/student.yaml teacher=runs/wavenet --out runs/student
  audioflow distill recipes/festvox-ru/student.yaml teacher=runs/wavenet --out runs/kl-alone distill.stft=0
"""


@click.command(epilog=EPILOG)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[teacher=CHECKPOINT] [FIELD=VALUE]...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory of the run.")
@process_options
@device_option
@json_option
@verbose_option
def distill(
    *,
    recipe: Path,
    overrides: tuple[str, ...],
    out: Path,
    devices: int | None,
    nodes: int | None,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Distil a student as RECIPE says from the WaveNet in CHECKPOINT, or go on with the run that is in the directory.

    The teacher is a checkpoint or the directory of a run; its mel front-end and speakers must be the recipe's. It is
    not changed. The weights of the losses are fields of the recipe: distill.stft=1 distill.contrast=0.3.
    """
    from audioflow.training import load_recipe  # noqa: PLC0415 - torch is slow to import, and --help shall be quick

    plan = load_recipe(recipe, [_teacher_field(one) for one in overrides])
    if plan.distill is None:
        raise RecipeError(f"{recipe} has no section distill, so it trains by likelihood; use audioflow train.")
    report = run(plan, out, device, devices, nodes, as_json=as_json)
    if is_first_process():
        click.echo(json.dumps(asdict(report)) if as_json else _text(report))


def _teacher_field(override: str) -> str:
    """``teacher=PATH`` is short for the recipe's field; the path is quoted, since values are read as YAML."""
    field, _, value = override.partition("=")
    return f"distill.teacher={json.dumps(value)}" if field.strip() == "teacher" else override


def _text(report: "TrainReport") -> str:
    lines = [f"{report.directory}: {report.step} steps in {report.seconds:.0f} s, ended by {report.stopped_by}"]
    if report.loss is not None:
        lines.append(f"training loss {report.loss:.4f}, {report.samples_per_second:.0f} samples/s")
    if report.held_out:
        figures = report.held_out
        told = {
            "kl": "nats a sample from the teacher",
            "stft": "from the recordings (multi-resolution STFT)",
            "loudness": "times as loud as they are",
        }
        parts = [f"{_shown(figures.get(f'valid_{name}'))} {what}" for name, what in told.items()]
        lines.append(f"held-out speech: {', '.join(parts)}; best at step {report.best_step}")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
