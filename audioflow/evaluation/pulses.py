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
from audioflow.evaluation.pitch import HOP_SECONDS
from audioflow.evaluation.tracking import pitch_track
from audioflow.flows.front import Front
from audioflow.sampling.noise import utterance_noise

ROUNDS = 24
"""Rounds of mel matching; 8 would do for a model's audio, but these pulses go on gaining."""

ITERATIONS = 16
"""Of Griffin-Lim, to find the pitch in what it makes."""

HIGHEST_HARMONIC_HZ, FADE_HZ = 3500.0, 500.0
"""Above it, voiced speech is noise too; over so many Hz one goes over into the other."""


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
    source = excitation(pitch_track(rough, contract.sample_rate).hertz, noise, contract.sample_rate)
    wav, _ = Front(contract, order=32).to_data(source.float()[None, None], mel[None])
    return MelMatcher(contract, rounds)(wav[0], mel[None])[0].clamp(-1, 1)


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
