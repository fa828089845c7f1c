"""Distances between a recording and what a vocoder made of its mel: smaller is nearer, zero is equal.

None of them hears as people do. They compare spectra only, so a signal with other phases, which may sound the same,
is not punished for them; that is wanted, since a vocoder is free to choose the phases.
"""

from functools import lru_cache

import torch
from auraloss.freq import MultiResolutionSTFTLoss
from torch import Tensor

from audioflow.audio import MelFrontEnd
from audioflow.errors import AudioError

# The three resolutions under which M-STFT is published for vocoders: (FFT, hop, window), in samples.
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
LSD_FFT, LSD_HOP = 1024, 256
# Magnitude of a full-scale Hann-windowed frame's bin below which nothing is compared: the rounding noise of 16 bits
# has a mean magnitude of 1.7e-4 in these bins.
LSD_FLOOR = 1e-4


def multi_resolution_stft(reference: Tensor, generated: Tensor) -> float:
    """Give the M-STFT distance: spectral convergence plus mean log-magnitude difference at three resolutions.

    For each resolution it is ``|| |R| - |G| ||_F / || |R| ||_F + mean | ln |R| - ln |G| |``; the three are averaged.
    FFT, hop, window and weights are those of auraloss's defaults, under which vocoders are published.

    Args:
        reference: the recording, wav [T] in [-1, 1].
        generated: what is judged, wav [T] in [-1, 1].

    Raises:
        AudioError: the two differ in length, or are too short for the longest window.

    References:
        R. Yamamoto, E. Song, J.-M. Kim: Parallel WaveGAN, 2019, https://arxiv.org/abs/1910.11480
        C. J. Steinmetz, J. D. Reiss: auraloss, 2020, https://github.com/csteinmetz1/auraloss
    """
    _check_pair(reference, generated, shortest=max(fft for fft, _, _ in RESOLUTIONS) // 2 + 1)
    with torch.no_grad():
        return float(m_stft_loss()(_as_batch(generated)[None], _as_batch(reference)[None]))


def mel_distance(reference: Tensor, generated: Tensor, front_end: MelFrontEnd) -> float:
    """Give the mean absolute difference of the two log-mels, in nats (also where the contract has decimal logarithms).

    Args:
        reference: the recording, wav [T] in [-1, 1] at the contract's rate.
        generated: what is judged, wav [T].
        front_end: says which mel; its power (magnitude or energy) is kept, so only equal contracts compare.

    Raises:
        AudioError: the two differ in length.
    """
    _check_pair(reference, generated)
    with torch.no_grad():
        difference = front_end(_as_batch(generated)) - front_end(_as_batch(reference))
    contract = front_end.contract
    return float(difference.abs().mean()) * contract.log_base / contract.gain


def log_spectral_distance(reference: Tensor, generated: Tensor) -> float:
    """Give the log-spectral distance in dB: the mean over frames of the root mean square over bins.

    With Hann windows of 1024 samples, a hop of 256, centred with reflection, and magnitudes no less than 1e-4::

        LSD = mean_f sqrt( mean_k ( 20 log10 |R[k, f]| - 20 log10 |G[k, f]| )^2 )

    Definitions of LSD vary in the literature: compare it only with figures from this function.

    Args:
        reference: the recording, wav [T] in [-1, 1].
        generated: what is judged, wav [T] in [-1, 1].

    Raises:
        AudioError: the two differ in length, or are shorter than half a window.
    """
    _check_pair(reference, generated, shortest=LSD_FFT // 2 + 1)
    difference = _decibels(reference) - _decibels(generated)
    return float(difference.square().mean(dim=-2).sqrt().mean())


def distances(reference: Tensor, generated: Tensor, front_end: MelFrontEnd) -> dict[str, float]:
    """Give all distances of one pair of wavs [T] by name: ``m_stft``, ``mel_distance``, ``lsd_db``.

    Raises:
        AudioError: the two differ in length, or are too short.
    """
    return {
        "m_stft": multi_resolution_stft(reference, generated),
        "mel_distance": mel_distance(reference, generated, front_end),
        "lsd_db": log_spectral_distance(reference, generated),
    }


@lru_cache(maxsize=1)
def m_stft_loss() -> MultiResolutionSTFTLoss:
    """The distance as a module that takes generated and reference wavs ``[B, 1, T]`` and has gradients."""
    fft_sizes, hops, windows = (list(sizes) for sizes in zip(*RESOLUTIONS, strict=True))
    return MultiResolutionSTFTLoss(fft_sizes=fft_sizes, hop_sizes=hops, win_lengths=windows)


def _decibels(wav: Tensor) -> Tensor:
    """Give the spectrum of wav [T] in dB, [bins, frames]."""
    wav = wav.detach().double()
    window = torch.hann_window(LSD_FFT, dtype=wav.dtype, device=wav.device)
    spectrum = torch.stft(wav, LSD_FFT, LSD_HOP, window=window, pad_mode="reflect", return_complex=True)
    return 20 * spectrum.abs().clamp_min(LSD_FLOOR).log10()


def _as_batch(wav: Tensor) -> Tensor:
    return wav.detach().float()[None]


def _check_pair(reference: Tensor, generated: Tensor, shortest: int = 1) -> None:
    if reference.ndim != 1 or reference.shape != generated.shape:
        raise AudioError(
            f"Two wavs of shapes {tuple(reference.shape)} and {tuple(generated.shape)} cannot be compared; "
            "cut both to one length and give each as wav [T]."
        )
    if reference.shape[0] < shortest:
        raise AudioError(
            f"A wav of {reference.shape[0]} samples is too short to be compared; at least {shortest} are needed."
        )
