r"""Speech from a mel with nothing learned: pulses at the mel's own pitch, through the mel's own filter.

What a mel shows of the harmonics, Griffin-Lim makes audible; its autocorrelation tells pitch and voicing. The source is

.. math::
    u_t = 2 \sqrt{f_t / R} \sum_{h f_t \le c} \cos(h \phi_t) + n^{>c}_t \quad \text{(voiced)} \qquad
    u_t = n_t \quad \text{(unvoiced)} \qquad \phi_t = 2 \pi \sum_{s \le t} f_s / R

at the sample rate ``R``, with white noise ``n`` of unit power and its part above ``c``: a flat spectrum in both cases.
:class:`audioflow.flows.front.Front` gives it the envelope, :class:`audioflow.audio.matching.MelMatcher` the mel itself.
"""

import math

import numpy as np
import torch
from torch import Tensor

from audioflow.audio import MelContract
from audioflow.audio.matching import MelMatcher
from audioflow.evaluation.baselines import griffin_lim
from audioflow.evaluation.pitch import HIGHEST_HZ, HOP_SECONDS, LOWEST_HZ
from audioflow.flows.front import Front
from audioflow.sampling.noise import utterance_noise

ROUNDS = 24
"""Rounds of mel matching; 8 would do for a model's audio, but these pulses go on gaining."""

ITERATIONS = 16
"""Of Griffin-Lim, to find the pitch in what it makes."""

HIGHEST_HARMONIC_HZ, FADE_HZ = 3500.0, 500.0
"""Above it, voiced speech is noise too; over so many Hz one goes over into the other."""

WINDOW_SECONDS = 0.04
CANDIDATES = 8
# What decides between pitches: correlation above which there is one, what voicing on and off and a change of pitch by
# an octave from frame to frame cost, and how much an octave downwards has to be better.
VOICED, SWITCH, JUMP, LOWER = 0.47, 0.3, 0.5, 0.02

SILENCE = 1e-7
"""Mean square of what is hardly to be heard, and has no pitch."""

# Frames whose correlations are computed at once.
_BLOCK = 1024


@torch.no_grad()
def pulses(mel: Tensor, contract: MelContract, rounds: int = ROUNDS, seed: int = 0) -> Tensor:
    """Make a wav from a mel without any learning, by the equations of this module.

    Args:
        mel: [M, F], as the contract's front-end gives it.
        contract: the front-end that made the mel.
        rounds: of mel matching; 0 leaves the filtered pulses as they are.
        seed: of the noise, and of the phases of the signal in which the pitch is found.

    Returns:
        wav [F * hop_length] in float32 on the CPU, clipped to [-1, 1].

    References:
        B. S. Atal, S. L. Hanauer: Speech analysis and synthesis by linear prediction of the speech wave, 1971
    """
    mel = mel.detach().float().cpu()
    rough = griffin_lim(mel, contract, ITERATIONS, seed)
    noise = utterance_noise(seed, 1, len(rough))[0]
    source = excitation(pitch_track(rough, contract.sample_rate), noise, contract.sample_rate)
    wav, _ = Front(contract, order=32).to_data(source.float()[None, None], mel[None])
    return MelMatcher(contract, rounds)(wav[0], mel[None])[0].clamp(-1, 1)


def pitch_track(wav: Tensor, sample_rate: int) -> Tensor:
    """Fundamental frequency of wav [T] in Hz, one value every 10 ms from the first sample on, NaN where unvoiced.

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
    return best_path(*_candidates(correlation, shortest, sample_rate))


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


def _candidates(correlation: Tensor, shortest: int, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Log2 of the frequencies of each frame's best peaks, and how good each is, both [N, CANDIDATES]."""
    left, middle, right = correlation[:, :-2], correlation[:, 1:-1], correlation[:, 2:]
    lags = torch.arange(shortest + 1, shortest + 1 + middle.shape[1], dtype=correlation.dtype)
    score = middle - LOWER * torch.log2(lags / shortest)
    score = score.masked_fill((middle < left) | (middle <= right), -math.inf)
    best, index = score.topk(min(CANDIDATES, score.shape[1]))
    # The top of the parabola through three points.
    bend = (left - 2 * middle + right).clamp(max=-1e-9)
    lag = (lags + (0.5 * (left - right) / bend).clamp(-0.5, 0.5)).gather(1, index)
    return torch.log2(sample_rate / lag).numpy(), best.numpy()


def best_path(octaves: np.ndarray, scores: np.ndarray) -> Tensor:
    """Frequency [N] in Hz, NaN where unvoiced, on the best way through candidates [N, K], log2 of Hz."""
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
    track, place = np.full(frames, np.nan), int(total.argmax())
    for frame in reversed(range(frames)):
        if place != unvoiced:
            track[frame] = 2 ** octaves[frame, place]
        place = back[frame, place]
    return torch.from_numpy(track)


def excitation(track: Tensor, noise: Tensor, sample_rate: int) -> Tensor:
    """The source [T] of a pitch track, of unit power in voiced and unvoiced speech, float64.

    Args:
        track: Hz every 10 ms, NaN where unvoiced.
        noise: white, of unit power, [T].
        sample_rate: in Hz.
    """
    pitch, voiced = track.numpy(), torch.isfinite(track).numpy()
    if not voiced.any():
        return noise
    frame = np.arange(len(pitch))
    place = np.arange(len(noise)) / max(1, round(HOP_SECONDS * sample_rate))
    # Where it is unvoiced, the phase goes on as from one pitch to the next.
    hertz = torch.from_numpy(np.exp(np.interp(place, frame[voiced], np.log(pitch[voiced]))))
    is_voiced = torch.from_numpy(np.interp(place, frame, voiced) >= 0.5)
    highest = min(HIGHEST_HARMONIC_HZ, sample_rate / 2)
    source = _harmonics(hertz, sample_rate, highest) + _above(noise, sample_rate, highest)
    return torch.where(is_voiced, source, noise)


def _harmonics(hertz: Tensor, sample_rate: int, highest: float) -> Tensor:
    """All harmonics of a pitch [T] up to a frequency, as strong as white noise of unit power is there."""
    phase, last = 2 * math.pi * torch.cumsum(hertz / sample_rate, dim=0), highest / hertz
    total = torch.zeros_like(phase)
    for harmonic in range(1, math.ceil(float(last.max())) + 1):
        total += (last - harmonic + 1).clamp(0, 1) * torch.cos(harmonic * phase)  # the highest one fades in and out
    return 2 * (hertz / sample_rate).sqrt() * total


def _above(noise: Tensor, sample_rate: int, highest: float) -> Tensor:
    """What noise [T] has above a frequency."""
    spectrum = torch.fft.rfft(noise)
    hertz = torch.arange(len(spectrum), dtype=noise.dtype) * sample_rate / len(noise)
    share = ((hertz - highest) / FADE_HZ + 0.5).clamp(0, 1)
    above: Tensor = torch.fft.irfft(spectrum * share.sqrt(), len(noise))
    return above
