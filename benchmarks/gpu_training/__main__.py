"""The command line: ``pack``, ``train``, ``join``."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from typing_extensions import override

from audioflow.errors import AudioflowError
from benchmarks import gpu_training
from benchmarks.gpu_training import shelf
from benchmarks.gpu_training.encoding import ENCODINGS, Encoding
from benchmarks.gpu_training.pack import MEGABYTE
from benchmarks.gpu_training.pack import pack as pack_corpora
from benchmarks.gpu_training.run import Request
from benchmarks.gpu_training.run import train as run_training
from benchmarks.gpu_training.trials import PRECISIONS, Choice, Options

PATH = click.Path(path_type=Path)
CHOICE = click.Choice(["auto", "on", "off"])


class _Group(click.Group):
    @override
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AudioflowError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, help=gpu_training.__doc__)
def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


@main.command()
@click.argument("prepared", nargs=-1, required=True, type=PATH)
@click.option("--out", required=True, type=PATH, help="A new directory.")
@click.option("--megabytes", default=60.0, show_default=True, help="Size of all files together, in 10^6 bytes.")
@click.option("--valid", type=click.IntRange(min=1), help="Held-out utterances; all of them by default.")
@click.option("--encoding", type=click.Choice(ENCODINGS), default="flac", show_default=True)
def pack(prepared: tuple[Path, ...], out: Path, megabytes: float, valid: int | None, encoding: Encoding) -> None:
    """Pack prepared corpora into a directory that can be sent along."""
    click.echo(json.dumps(asdict(pack_corpora(prepared, out, megabytes, valid, encoding))))


@main.command()
@click.argument("pack", type=PATH)
@click.argument("recipe", type=PATH)
@click.argument("overrides", nargs=-1, metavar="[SECTION.FIELD=VALUE]...")
@click.option("--out", required=True, type=PATH, help="Where the results are left.")
@click.option("--work", type=PATH, help="The run directory; OUT-work by default.")
@click.option("--minutes", required=True, type=click.FloatRange(min=0, min_open=True), help="For everything.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--batch", type=click.IntRange(min=1), help="Segments of a step; trials decide by default.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Trials decide by default.")
@click.option("--compile", "compiled", type=CHOICE, default="auto", show_default=True, help="torch.compile")
@click.option("--graphs", type=CHOICE, default="auto", show_default=True, help="CUDA graphs")
@click.option("--trials", default=0.15, show_default=True, help="Share of the time that the trials may take.")
@click.option("--lr", type=float, help="Highest learning rate; the recipe's, scaled with the batch, by default.")
@click.option("--sample-seconds", default=6.0, show_default=True, help="Of two held-out utterances.")
@click.option("--files", default=8, show_default=True, help="Most files in OUT.")
@click.option("--file-megabytes", default=16.0, show_default=True, help="Largest file there; larger ones are cut.")
@click.option("--megabytes", default=64.0, show_default=True, help="Size of all files there.")
def train(
    pack: Path,
    recipe: Path,
    overrides: tuple[str, ...],
    out: Path,
    work: Path | None,
    minutes: float,
    device: Any,
    batch: int | None,
    precision: str | None,
    compiled: Choice,
    graphs: Choice,
    trials: float,
    lr: float | None,
    sample_seconds: float,
    files: int,
    file_megabytes: float,
    megabytes: float,
) -> None:
    """Train RECIPE on PACK for some minutes; the same command again goes on for as many."""
    request = Request(
        pack,
        recipe,
        overrides,
        out,
        work or out.with_name(f"{out.name}-work"),
        minutes,
        device,
        Options(batch, precision, compiled, graphs),
        trials,
        lr,
        sample_seconds,
        limits=shelf.Limits(files, round(file_megabytes * MEGABYTE), round(megabytes * MEGABYTE)),
        started=gpu_training.STARTED,
    )
    click.echo(json.dumps(run_training(request)))


@main.command()
@click.argument("out", type=PATH)
@click.option("--to", required=True, type=PATH, help="The run directory.")
def join(out: Path, to: Path) -> None:
    """Make a run directory of what a run has left in OUT, large files put together again."""
    click.echo("\n".join(shelf.restore(out, to)))


if __name__ == "__main__":
    main()
