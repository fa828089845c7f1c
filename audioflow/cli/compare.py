"""``audioflow compare``: vocoders and their engines side by side."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audioflow.cli.options import ROUNDS, SEED, FiniteRange, device_option, json_option, speaker_option, verbose_option

if TYPE_CHECKING:
    from audioflow.devices import DeviceName

EPILOG = """\b
Examples:
  audioflow compare runs/wavenet runs/glow --page comparison.html
  audioflow compare runs/glow --input held-out.wav --json
"""


@click.command(epilog=EPILOG)
@click.argument("checkpoints", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="CHECKPOINT...")
@click.option("--input", "recordings", multiple=True, type=click.Path(path_type=Path), help="Recording or directory.")
@click.option("--seconds", type=FiniteRange(min=0.3), help="Length that is used of each recording.")
@click.option("--page", type=click.Path(path_type=Path), help="HTML page with players and pictures.")
@click.option("--picture", type=click.Path(path_type=Path), help="PNG of the waveforms and spectrograms.")
@click.option("--overwrite", is_flag=True, help="Replace a page or picture that is there already.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the noise.")
@click.option(
    "--temperature",
    type=FiniteRange(min=0),
    default=1.0,
    show_default=True,
    help="How much of the noise is used.",
)
@click.option(
    "--naive-seconds",
    type=FiniteRange(min=0.001),
    default=0.25,
    show_default=True,
    help="Length that the naive engine makes, and that engines are held against each other on.",
)
@click.option(
    "--engines",
    default="all",
    show_default=True,
    metavar="all|auto|NAME,...",
    help="Of each model all, the fastest, or those that are named.",
)
@click.option(
    "--likelihood/--no-likelihood",
    default=True,
    show_default=True,
    help="Whether recordings are scored; students and iaf take minutes for each.",
)
@click.option(
    "--match-mel",
    type=ROUNDS,
    default=8,
    show_default=True,
    help="Rounds of one more row for each model and Griffin-Lim, whose audio is moved to its mel after sampling; 0 "
    "leaves these rows out.",
)
@click.option(
    "--hearing",
    is_flag=True,
    help="Also PESQ, STOI, pitch and voicing, for which audioflow[metrics] is needed, and DistillMOS where it is "
    "installed.",
)
@speaker_option
@device_option
@json_option
@verbose_option
def compare(
    *,
    checkpoints: tuple[Path, ...],
    recordings: tuple[Path, ...],
    seconds: float | None,
    page: Path | None,
    picture: Path | None,
    overwrite: bool,
    seed: int,
    temperature: float,
    naive_seconds: float,
    engines: str,
    likelihood: bool,
    match_mel: int,
    hearing: bool,
    speaker: int | None,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Bring recordings through each CHECKPOINT by each of its engines, beside baselines and the recording itself.

    Without --input the bundled held-out utterance is used. Prints a table of speed, memory, likelihood, distances and
    agreement of engines; --page writes one self-contained page with sound, pictures and speed plotted against quality.
    """
    from audioflow.devices import pick_device  # noqa: PLC0415 - torch is slow to import, and --help shall be quick
    from audioflow.files import check_output, keep_apart  # noqa: PLC0415
    from audioflow.jobs.side_by_side import compare_checkpoints, write_picture  # noqa: PLC0415

    for target in (page, picture):
        if target is not None:
            keep_apart(target, [*checkpoints, *recordings])
            check_output(target, overwrite=overwrite)
    comparison = compare_checkpoints(
        checkpoints,
        recordings,
        seconds=seconds,
        page=page,
        overwrite=overwrite,
        command=shlex.join(["audioflow", *sys.argv[1:]]),
        device=pick_device(device),
        seed=seed,
        temperature=temperature,
        speaker=speaker,
        stretch_seconds=naive_seconds,
        engines=engines if engines in ("all", "auto") else engines.split(","),
        heard=hearing,
        scored=likelihood,
        match_mel=match_mel,
        progress=lambda what: click.echo(f"{what} ...", err=True),
        note=lambda what: click.echo(what, err=True),
    )
    click.echo(comparison.to_json() if as_json else comparison.table())
    if picture is not None:
        write_picture(picture, comparison, overwrite=overwrite)
        click.echo(f"Picture: {picture}", err=as_json)
    if page is not None:
        click.echo(f"Page: {page}", err=as_json)
