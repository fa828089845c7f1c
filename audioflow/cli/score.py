"""``audioflow score``: the exact log-likelihood of recordings."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audioflow.cli.options import SEED, device_option, json_option, speaker_option, verbose_option

if TYPE_CHECKING:
    from audioflow.devices import DeviceName
    from audioflow.evaluation.likelihood import LogLikelihood


@click.command(epilog="Example: audioflow score runs/voice recordings/ held-out.wav")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="WAV...")
@click.option("--dequantize/--no-dequantize", default=True, show_default=True, help="Noise of one 16-bit step.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of that noise.")
@speaker_option
@device_option
@json_option
@verbose_option
def score(
    *,
    checkpoint: Path,
    recordings: tuple[Path, ...],
    dequantize: bool,
    seed: int,
    speaker: int | None,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Give the log-likelihood of each WAV under the vocoder CHECKPOINT, given its own mel.

    It is exact: a density over amplitudes in [-1, 1], in nats per sample (higher is better), and as the code length of
    a 16-bit sample in bits (lower is better). A directory stands for the recordings in it.
    """
    from audioflow.audio import SOUND_SUFFIXES  # noqa: PLC0415 - torch is slow to import, and --help shall be quick
    from audioflow.devices import pick_device  # noqa: PLC0415
    from audioflow.evaluation.likelihood import pooled, score_many  # noqa: PLC0415
    from audioflow.jobs.inputs import expand, read_recording  # noqa: PLC0415
    from audioflow.jobs.synthesis import check_options, speaker_note  # noqa: PLC0415
    from audioflow.vocoders import load  # noqa: PLC0415

    vocoder = load(checkpoint, pick_device(device))
    check_options(vocoder, "auto", 1.0, speaker)
    if hint := speaker_note(vocoder, speaker):
        click.echo(f"{checkpoint}: {hint}", err=True)
    files = expand(recordings, SOUND_SUFFIXES)
    read = [read_recording(path, vocoder.contract.sample_rate) for path in files]
    scores = score_many(vocoder, [wav for wav, _ in read], dequantize=dequantize, seed=seed, speaker=speaker)
    total = pooled(scores)
    for path, one in zip(files, scores, strict=True):
        if not math.isfinite(one.nats_total):
            click.echo(
                f"{path}: the noise that would make it is beyond float32, so its likelihood is no finite number; a "
                "model that was not trained by likelihood may hold a recording for impossible.",
                err=True,
            )
    noise = "uniform noise of one 16-bit step" if dequantize else "none"
    if as_json:
        rows = [
            {"recording": str(path), **_figures(one), "notes": list(notes)}
            for path, one, (_, notes) in zip(files, scores, read, strict=True)
        ]
        click.echo(json.dumps({"dequantized": dequantize, "recordings": rows, "all": _figures(total)}, indent=2))
        return
    width = max(len("all"), *(len(str(path)) for path in files))
    click.echo(f"{'recording':<{width}}  {'nats':>14}  nats/sample  bits/sample")
    for name, one in [*zip(map(str, files), scores, strict=True), ("all", total)]:
        click.echo(
            f"{name:<{width}}  {one.nats_total:>14.1f}  {one.nats_per_sample:>11.4f}  {one.bits_per_sample:>11.4f}"
        )
    click.echo(f"Dequantisation: {noise}.")
    for path, (_, notes) in zip(files, read, strict=True):
        if notes:
            click.echo(f"{path}: {'; '.join(notes)}.")


def _figures(one: "LogLikelihood") -> dict[str, float | None]:
    # JSON has no word for what is not finite.
    finite = math.isfinite(one.nats_total)
    return {
        "nats": one.nats_total if finite else None,
        "samples": one.samples,
        "nats_per_sample": one.nats_per_sample if finite else None,
        "bits_per_sample": one.bits_per_sample if finite else None,
    }
