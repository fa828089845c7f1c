"""``audioflow synthesize``: mels, or recordings by way of their mels, into speech."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audioflow.cli.options import (
    ROUNDS,
    SEED,
    FiniteRange,
    device_option,
    json_option,
    samples_bar,
    speaker_option,
    verbose_option,
)

if TYPE_CHECKING:
    from audioflow.devices import DeviceName
    from audioflow.jobs.synthesis import Synthesis

EPILOG = """\b
Examples:
  audioflow synthesize runs/voice mel.npz --out speech.wav
  audioflow synthesize runs/voice recordings/ --out copies/ --temperature 0.8 --seed 1
"""


@click.command(epilog=EPILOG)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INPUT...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A .wav or .flac file, or a directory.")
@click.option("--engine", default="auto", show_default=True, help="How to sample; see audioflow info CHECKPOINT.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the noise.")
@click.option(
    "--temperature",
    type=FiniteRange(min=0),
    default=1.0,
    show_default=True,
    help="How much of the noise is used.",
)
@click.option(
    "--voiced-temperature",
    type=FiniteRange(min=0),
    help="How much of it where the mel says that speech is periodic, for models that were trained with "
    "model.periodicity; default: the same everywhere.",
)
@speaker_option
@click.option(
    "--match-mel",
    type=ROUNDS,
    help="Rounds in which the audio is moved to its mel after sampling; default: 8 for models with a front, 0 for "
    "others; 0 leaves the model's own draw.",
)
@click.option("--mel", "mel_preset", help="Preset that made mel files which do not say so, such as nvidia-22k.")
@click.option("--batch-size", type=click.IntRange(min=1), default=16, show_default=True, help="Utterances at once.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
@device_option
@json_option
@verbose_option
def synthesize(
    *,
    checkpoint: Path,
    inputs: tuple[Path, ...],
    out: Path,
    engine: str,
    seed: int,
    temperature: float,
    voiced_temperature: float | None,
    speaker: int | None,
    match_mel: int | None,
    mel_preset: str | None,
    batch_size: int,
    overwrite: bool,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Make speech with the vocoder CHECKPOINT from each INPUT.

    CHECKPOINT is a .safetensors file or the directory of a training run. An INPUT is a mel file (.npz, .safetensors, or
    .npy with --mel), a recording, whose mel is taken, or a directory of them. All inputs are read and checked before
    the first one is made.
    """
    # Imported here: torch is slow to import, and --help shall be quick.
    from audioflow.devices import pick_device  # noqa: PLC0415
    from audioflow.jobs.inputs import read_inputs  # noqa: PLC0415
    from audioflow.jobs.synthesis import synthesize_files  # noqa: PLC0415
    from audioflow.vocoders import load  # noqa: PLC0415

    vocoder = load(checkpoint, pick_device(device))
    items = read_inputs(inputs, vocoder.contract, mel_preset)
    with samples_bar("synthesize", max(item.samples for item in items)) as progress:
        made = synthesize_files(
            vocoder,
            items,
            out,
            engine=engine,
            seed=seed,
            temperature=temperature,
            voiced_temperature=voiced_temperature,
            speaker=speaker,
            match_mel=match_mel,
            batch_size=batch_size,
            overwrite=overwrite,
            progress=progress,
        )
    click.echo(json.dumps([_facts(one) for one in made], indent=2) if as_json else _text(made))


def _facts(one: "Synthesis") -> dict[str, object]:
    return {
        "source": str(one.source),
        "output": str(one.output),
        "seconds": one.seconds,
        "times_real_time": one.seconds / one.elapsed,
        "match_mel": one.match_mel,
        "notes": list(one.notes),
    }


def _text(made: "list[Synthesis]") -> str:
    lines = []
    for one in made:
        notes = f" ({'; '.join(one.notes)})" if one.notes else ""
        matched = f", mel matched in {one.match_mel} rounds" if one.match_mel else ""
        speed = f"{one.seconds / one.elapsed:.3g} x real time"
        lines.append(f"{one.output}: {one.seconds:.2f} s, {speed}{matched}{notes}")
    return "\n".join(lines)
