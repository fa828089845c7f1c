"""Waveforms and spectrograms as pictures, all on equal scales so that they can be laid beside each other.

Figures are made through matplotlib's objects, never through pyplot, whose global state a library must not touch.
They are transparent with grey lettering: they can be read on white and on black.
"""

import io
from collections.abc import Iterable, Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

GREY = "#808080"
WAVE_COLOUR = "#3f7fbf"
WINDOW_SECONDS, STEP_SECONDS = 0.032, 0.004
RANGE_DB = 80.0


def spectrogram_figure(wavs: Mapping[str, Tensor], sample_rate: int) -> Figure:
    """Draw the spectrogram of each wav [T] in a row of its own, under its name, all on one scale of dB.

    Args:
        wavs: wav [T] in [-1, 1] by name, in the order of the rows.
        sample_rate: in Hz.
    """
    figure = Figure(figsize=(9, 0.5 + 1.8 * len(wavs)), layout="constrained")
    rows = figure.subplots(len(wavs), 1, squeeze=False, sharex=True)[:, 0]
    loudest = loudest_decibels(wavs.values(), sample_rate)
    for axes, (name, wav) in zip(rows, wavs.items(), strict=True):
        draw_spectrogram(axes, wav, sample_rate, loudest)
        axes.set_title(name, color=GREY, fontsize=9, loc="left")
    rows[-1].set_xlabel("seconds", color=GREY, fontsize=8)
    return figure


def compare_figure(wavs: Mapping[str, Tensor], sample_rate: int) -> Figure:
    """Draw waveform and spectrogram of each wav [T] side by side, one row each, all on equal scales.

    Args:
        wavs: wav [T] in [-1, 1] by name, in the order of the rows.
        sample_rate: in Hz.
    """
    figure = Figure(figsize=(12, 0.5 + 1.8 * len(wavs)), layout="constrained")
    rows = figure.subplots(len(wavs), 2, squeeze=False, sharex=True)
    loudest = loudest_decibels(wavs.values(), sample_rate)
    peak = highest_peak(wavs.values())
    for (left, right), (name, wav) in zip(rows, wavs.items(), strict=True):
        draw_waveform(left, wav, sample_rate, peak)
        draw_spectrogram(right, wav, sample_rate, loudest)
        left.set_title(name, color=GREY, fontsize=9, loc="left")
    for axes in rows[-1]:
        axes.set_xlabel("seconds", color=GREY, fontsize=8)
    return figure


def waveform_png(wav: Tensor, sample_rate: int, peak: float) -> bytes:
    """Draw one waveform, wav [T], with amplitudes from -peak to peak, as a small PNG."""
    figure = Figure(figsize=(4.8, 1.5), layout="constrained")
    draw_waveform(figure.subplots(), wav, sample_rate, peak)
    return figure_png(figure)


def spectrogram_png(wav: Tensor, sample_rate: int, loudest: float) -> bytes:
    """Draw one spectrogram, wav [T], from ``loudest`` dB down by 80 dB, as a small PNG."""
    figure = Figure(figsize=(4.8, 1.5), layout="constrained")
    draw_spectrogram(figure.subplots(), wav, sample_rate, loudest)
    return figure_png(figure)


def figure_png(figure: Figure, dpi: int = 110) -> bytes:
    """Give a figure as the bytes of a PNG file with a transparent ground."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=dpi, transparent=True)
    return buffer.getvalue()


def draw_waveform(axes: Axes, wav: Tensor, sample_rate: int, peak: float) -> None:
    """Draw wav [T] as the range of its amplitudes over time, from -peak to peak."""
    low, high, seconds = _envelope(wav.detach().float().cpu(), sample_rate)
    axes.fill_between(seconds, low, high, color=WAVE_COLOUR, linewidth=0.4, edgecolor=WAVE_COLOUR)
    axes.set_xlim(0, wav.shape[-1] / sample_rate)
    axes.set_ylim(-peak, peak)
    style_axes(axes)


def draw_spectrogram(axes: Axes, wav: Tensor, sample_rate: int, loudest: float) -> None:
    """Draw the spectrogram of wav [T] in dB, over seconds and kHz, from ``loudest`` down by 80 dB."""
    picture = decibels(wav, sample_rate).clamp(min=loudest - RANGE_DB, max=loudest)
    extent = (0, wav.shape[-1] / sample_rate, 0, sample_rate / 2000)
    axes.imshow(
        picture.numpy(),
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=loudest - RANGE_DB,
        vmax=loudest,
        interpolation="bilinear",
    )
    axes.set_ylabel("kHz", color=GREY, fontsize=8)
    style_axes(axes)


def decibels(wav: Tensor, sample_rate: int) -> Tensor:
    """Give the spectrogram of wav [T] in dB, [bins, frames]: Hann windows of 32 ms every 4 ms."""
    n_fft = 2 * round(WINDOW_SECONDS * sample_rate / 2)
    hop = max(1, round(STEP_SECONDS * sample_rate))
    window = torch.hann_window(n_fft)
    wav = wav.detach().float().cpu()
    spectrum = torch.stft(wav, n_fft, hop, window=window, pad_mode="constant", return_complex=True)
    return 20 * (spectrum.abs() / window.sum()).clamp_min(1e-10).log10()


def loudest_decibels(wavs: Iterable[Tensor], sample_rate: int) -> float:
    """Give the loudest point, in dB, of the spectrograms of several wavs [T]: the top of their common scale."""
    return max(float(decibels(wav, sample_rate).max()) for wav in wavs)


def highest_peak(wavs: Iterable[Tensor]) -> float:
    """Give the greatest absolute amplitude of several wavs [T], with a little room above it, never zero."""
    return max([1e-4, *(1.05 * float(wav.detach().abs().max()) for wav in wavs)])


def _envelope(wav: Tensor, sample_rate: int, points: int = 1200) -> tuple[Tensor, Tensor, Tensor]:
    """Give lowest and highest amplitude of short pieces of wav [T], and the seconds where the pieces begin."""
    size = max(1, -(-wav.shape[-1] // points))
    padded = torch.nn.functional.pad(wav, (0, -wav.shape[-1] % size), value=float(wav[-1]))
    pieces = padded.view(-1, size)
    seconds = torch.arange(pieces.shape[0]) * size / sample_rate
    return pieces.amin(dim=1), pieces.amax(dim=1), seconds


def style_axes(axes: Axes) -> None:
    """Make ticks and frame grey and thin, and the ground transparent."""
    axes.tick_params(colors=GREY, labelsize=8)
    axes.patch.set_alpha(0)
    for spine in axes.spines.values():
        spine.set_color(GREY)
        spine.set_linewidth(0.5)
