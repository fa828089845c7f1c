"""The report: one HTML page that holds its sounds, pictures and figures itself and needs no network."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from torch import Tensor

from audioflow.evaluation.charts import quality_figure
from audioflow.evaluation.pictures import figure_png, highest_peak, loudest_decibels, spectrogram_png, waveform_png
from audioflow.evaluation.results import COLUMNS, Comparison, formatted
from audioflow.files import atomic_path

# What each column means, for the reader of the page.
EXPLANATIONS = {
    "parameters": "numbers that the model has learned",
    "multiply_accumulates": "millions of multiply-accumulates that one sample takes",
    "samples_per_second": "audio samples made in a second on the device below, the median of the runs",
    "times_real_time": "seconds of speech made in a second; above 1 is faster than speech",
    "first_sample_ms": "milliseconds from the mel of the first recording to the first samples of its audio; "
    "engines that do not stream give them with the last ones",
    "peak_megabytes": "most memory, in millions of bytes, that synthesis takes over what was taken before it, so "
    "without the weights: resident memory of the process on a CPU, tensors on a GPU",
    "share_of_ceiling": "arithmetic done in a second, of the most that a convolution or matrix product reached in the "
    "same run, in the engine's precision or in float32; see the ceilings below",
    "nats_per_sample": "exact log-likelihood of the recording given its mel under the model, without any mel matching; "
    "a density over amplitudes in [-1, 1]; higher is better",
    "bits_per_sample": "the same as code length of a 16-bit sample, 15 - nats / ln 2; lower is better",
    "m_stft": "multi-resolution STFT distance from the recording: spectral convergence and log magnitude; "
    "lower is better",
    "mel_distance": "mean absolute difference of the log-mels from the recording's, in nats; lower is better",
    "lsd_db": "log-spectral distance from the recording in dB: RMS over bins, mean over frames; lower is better",
    "pesq": "wideband PESQ at 16 kHz, 1 to 4.64; higher is better",
    "stoi": "extended short-time objective intelligibility, up to 1; higher is better",
    "distillmos": "mean opinion score from 1 to 5 that DistillMOS predicts of the sound alone, without the recording; "
    "higher is better",
    "dnsmos": "overall quality from 1 to 5 that DNSMOS P.835 predicts likewise; higher is better",
    "mcd_db": "mel-cepstral distortion in dB: 24 coefficients of WORLD's envelopes, frames of 5 ms, no time warping; "
    "lower is better",
    "f0_cents": "RMS difference of pitch from the recording's where both are voiced, 1200 cents to the octave",
    "voicing_error": "share of 10 ms frames that are voiced in one and not in the other",
    "difference": "greatest difference of a sample from the model's first engine with the same noise; "
    "0 means the same audio",
    "relative_difference": "norm of the difference from the audio of the model's reference engine (naive, else "
    "parallel) over the norm of that audio, for a stretch of the first recording with the same noise",
    "nats_difference": "log-likelihood of that audio under the model less that of the reference's, in nats per "
    "sample, for models that go sample by sample or row by row",
}

AGREEMENT_NOTE = (
    "An autoregressive model feeds its errors of rounding back, so the audio of two engines drifts apart, sample by "
    "sample, until it is another draw of the same law, though both are right. What tells there is whether the model "
    "holds the one for less likely than the other: nats diff. is near 0 where it does not."
)


class Sound(NamedTuple):
    """What is heard under one heading: the model's name, how it was sampled, a sentence on what is special, wav [T]."""

    label: str
    engine: str
    note: str
    wav: Tensor


@dataclass(frozen=True)
class Clip:
    """One row's sound for one recording, everything as a data URI.

    Attributes:
        label: the model's name.
        engine: how it was sampled.
        note: a sentence on what is special.
        seconds: its length.
        sound: 16-bit WAV.
        waveform: PNG.
        spectrogram: PNG.
    """

    label: str
    engine: str
    note: str
    seconds: float
    sound: str
    waveform: str
    spectrogram: str


def write_page(
    path: str | Path,
    comparison: Comparison,
    *,
    title: str = "audioflow: vocoders side by side",
    command: str = "",
    speech: str = "",
    overwrite: bool = True,
) -> Path:
    """Write the page of a comparison, whole or not at all, and give its path; arguments as for ``render_page``.

    Raises:
        OutputError: the file exists and may not be replaced, or cannot be written.
    """
    path = Path(path)
    with atomic_path(path, overwrite=overwrite) as temporary:
        page = render_page(comparison, title=title, command=command, speech=speech)
        temporary.write_text(page, encoding="utf-8")
    return path


def render_page(
    comparison: Comparison,
    *,
    title: str = "audioflow: vocoders side by side",
    command: str = "",
    speech: str = "",
) -> str:
    """Give the page of a comparison as HTML text.

    Args:
        comparison: what to show.
        title: of the page.
        command: that made it, to be repeated by the reader.
        speech: where the recordings come from and under which licence.
    """
    return template("page.html.j2").render(
        title=title,
        command=command,
        speech=speech,
        conditions=comparison.conditions(),
        machine=comparison.machine,
        columns={name: COLUMNS[name][0] for name in comparison.columns()},
        explanations=EXPLANATIONS,
        agreement_note=AGREEMENT_NOTE if any(row.agreement for row in comparison.rows) else "",
        chart=chart(comparison),
        rows=[(row, formatted(row)) for row in comparison.rows],
        utterances={name: clips(comparison, name) for name in comparison.inputs},
    )


def template(name: str) -> Template:
    """Give a page's template."""
    environment = Environment(
        loader=PackageLoader("audioflow.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def chart(comparison: Comparison) -> str:
    """Give the picture of speed against quality as a data URI; empty where there is nothing to draw."""
    figure = quality_figure(comparison)
    return "" if figure is None else data_uri("image/png", figure_png(figure))


def clips(comparison: Comparison, name: str) -> list[Clip]:
    """Give the sounds and pictures of one recording, the recording itself first, all pictures on equal scales."""
    rows = [row for row in comparison.rows if name in row.audio]
    return shown([Sound(row.label, row.engine, row.note, row.audio[name]) for row in rows], comparison.sample_rate)


def shown(sounds: Sequence[Sound], sample_rate: int) -> list[Clip]:
    """Give sounds with their pictures, on equal scales, those of the first one."""
    peak = highest_peak([sound.wav for sound in sounds])
    # The recording sets the scale: a model that is too loud shall look so.
    loudest = loudest_decibels([sound.wav for sound in sounds[:1]], sample_rate)
    return [
        Clip(
            label=sound.label,
            engine=sound.engine,
            note=sound.note,
            seconds=sound.wav.shape[-1] / sample_rate,
            sound=data_uri("audio/wav", wav_bytes(sound.wav, sample_rate)),
            waveform=data_uri("image/png", waveform_png(sound.wav, sample_rate, peak)),
            spectrogram=data_uri("image/png", spectrogram_png(sound.wav, sample_rate, loudest)),
        )
        for sound in sounds
    ]


def wav_bytes(wav: Tensor, sample_rate: int) -> bytes:
    """Give wav [T] in [-1, 1] as the bytes of a 16-bit WAV file; what is outside is clipped."""
    buffer = io.BytesIO()
    samples = wav.detach().float().cpu().clamp(-1, 1).numpy()
    soundfile.write(buffer, samples, sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def data_uri(media_type: str, content: bytes) -> str:
    """Give a file as an address that holds it."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
