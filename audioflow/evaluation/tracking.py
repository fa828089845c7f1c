"""Pitch and periodicity of speech, quickly: what pulses are made at, and what a model learns to read off its mel."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from audioflow.evaluation.pitch import HIGHEST_HZ, HOP_SECONDS, LOWEST_HZ

WINDOW_SECONDS = 0.04
CANDIDATES = 8
# What decides between pitches: correlation above which there is one, what voicing on and off and a change of pitch by
# an octave from frame to frame cost, and how much an octave downwards has to be better.
VOICED, SWITCH, JUMP, LOWER = 0.47, 0.3, 0.5, 0.02

SILENCE = 1e-7
"""Mean square of what is hardly to be heard, and has no pitch."""

# Frames whose correlations are computed at once.
_BLOCK = 1024


class Track(NamedTuple):
    """One value every 10 ms, ``[N]`` each.

    Attributes:
        hertz: fundamental frequency, NaN where unvoiced.
        periodicity: correlation of a period with the one before, from 0 to 1; 0 where unvoiced.
    """

    hertz: Tensor
    periodicity: Tensor


def pitch_track(wav: Tensor, sample_rate: int) -> Track:
    """Pitch and periodicity of wav [T], one value every 10 ms from the first sample on.

    Each frame has the highest peaks of its normalised correlation as candidates, and being unvoiced as one more; the
    way through them that is best over the whole utterance is taken, by dynamic programming.

    Args:
        wav: speech.
        sample_rate: in Hz.

    References:
        D. Talkin: A robust algorithm for pitch tracking (RAPT), 1995
    """
    shortest, longest = int(sample_rate / HIGHEST_HZ), math.ceil(sample_rate / LOWEST_HZ)
    correlation = normalised_correlation(wav.double(), sample_rate, shortest, longest)
    octaves, scores, strengths = _candidates(correlation, shortest, sample_rate)
    path = best_path(octaves, scores)
    voiced, frames = path < octaves.shape[1], np.arange(len(path))
    place = np.where(voiced, path, 0)
    hertz = np.where(voiced, 2.0 ** octaves[frames, place], np.nan)
    periodicity = np.where(voiced, strengths[frames, place].clip(0, 1), 0.0)
    return Track(torch.from_numpy(hertz), torch.from_numpy(periodicity))


def normalised_correlation(wav: Tensor, sample_rate: int, shortest: int, longest: int) -> Tensor:
    """Correlation coefficients of two windows of wav [T] that lie so many samples apart, [N, longest - shortest + 1].

    Both windows together are centred on the frame, one frame every 10 ms.
    """
    window, hop = round(WINDOW_SECONDS * sample_rate), max(1, round(HOP_SECONDS * sample_rate))
    size = window + longest
    padded = torch.nn.functional.pad(wav, (size // 2, size))
    frames = padded.unfold(0, size, hop)[: len(wav) // hop + 1]
    return torch.cat([_correlation_of(block, window, shortest) for block in frames.split(_BLOCK)])


def _correlation_of(frames: Tensor, window: int, shortest: int) -> Tensor:
    """The same of frames [N, window + longest]."""
    size = frames.shape[1]
    spectrum, first = torch.fft.rfft(frames, 2 * size), torch.fft.rfft(frames[:, :window], 2 * size)
    products = torch.fft.irfft(spectrum * first.conj(), 2 * size)[:, shortest : size - window + 1]
    total = torch.nn.functional.pad(frames.square().cumsum(dim=1), (1, 0))
    energies = total[:, window:] - total[:, :-window]
    coefficients: Tensor = products / (
        (energies[:, shortest:] * energies[:, :1]).clamp(min=0).sqrt() + SILENCE * window
    )
    return coefficients


def _candidates(correlation: Tensor, shortest: int, sample_rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log2 of the frequencies of each frame's best peaks, how good each is, and its height, all [N, CANDIDATES]."""
    left, middle, right = correlation[:, :-2], correlation[:, 1:-1], correlation[:, 2:]
    lags = torch.arange(shortest + 1, shortest + 1 + middle.shape[1], dtype=correlation.dtype)
    score = middle - LOWER * torch.log2(lags / shortest)
    score = score.masked_fill((middle < left) | (middle <= right), -math.inf)
    best, index = score.topk(min(CANDIDATES, score.shape[1]))
    # The top of the parabola through three points.
    bend = (left - 2 * middle + right).clamp(max=-1e-9)
    lag = (lags + (0.5 * (left - right) / bend).clamp(-0.5, 0.5)).gather(1, index)
    return torch.log2(sample_rate / lag).numpy(), best.numpy(), middle.gather(1, index).numpy()


def best_path(octaves: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Which candidate of [N, K], log2 of Hz, each frame has on the best way through them; ``K`` where unvoiced."""
    frames, unvoiced = scores.shape
    octaves = np.pad(octaves, ((0, 0), (0, 1)))
    scores = np.pad(scores, ((0, 0), (0, 1)), constant_values=VOICED)
    total, back = scores[0], np.zeros(scores.shape, dtype=int)
    for frame in range(1, frames):
        cost = JUMP * np.abs(octaves[frame][:, None] - octaves[frame - 1][None])
        cost[unvoiced], cost[:, unvoiced] = SWITCH, SWITCH
        cost[unvoiced, unvoiced] = 0
        ways = total[None] - cost
        back[frame] = ways.argmax(axis=1)
        total = ways.max(axis=1) + scores[frame]
    path, place = np.zeros(frames, dtype=int), int(total.argmax())
    for frame in reversed(range(frames)):
        path[frame] = place
        place = back[frame, place]
    return path
