"""``audioflow import``: the weights of another project."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from audioflow.cli.options import json_option, verbose_option

EPILOG = """\b
Formats: nvidia-waveglow, r9y9-wavenet, ksw0306-clarinet, l0sg-waveflow.
Examples:
  audioflow import nvidia-waveglow waveglow_256channels.pt --out imported/waveglow
  audioflow import nvidia-waveglow checkpoint_16k.pt --out imported/16k mel=nvidia-16k
  audioflow import ksw0306-clarinet student.pth --out imported/student teacher=teacher.pth
"""


@click.command("import", epilog=EPILOG)
@click.argument("name", metavar="FORMAT")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("settings", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory for the checkpoint.")
@click.option("--overwrite", is_flag=True, help="Replace a checkpoint that is there already.")
@json_option
@verbose_option
def import_(*, name: str, file: Path, settings: tuple[str, ...], out: Path, overwrite: bool, as_json: bool) -> None:
    """Bring the weights in FILE over into a directory that every other command takes.

    The architecture is read from the shapes of the weights; what these do not tell is set by FIELD=VALUE. Nothing in
    the file is executed, even where it is a pickled module.
    """
    from audioflow.jobs.importing import import_checkpoint  # noqa: PLC0415 - torch is slow to import

    done = import_checkpoint(name, file, out, settings, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps({**asdict(done), "path": str(done.path), "source": str(done.source)}))
        return
    click.echo(f"{done.path}: {done.vocoder} with {done.parameters} parameters, from {done.source} ({done.layout})")
    for note in done.notes:
        click.echo(note)
