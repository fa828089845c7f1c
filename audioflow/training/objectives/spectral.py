"""What a sample should have in common with the recording, whatever its phases: magnitudes of short-time spectra."""

import torch
from torch import Tensor

from audioflow.evaluation.metrics import RESOLUTIONS, m_stft_loss

POWER_FFT, POWER_HOP = 1024, 256
SHORTEST = max(fft for fft, _, _ in RESOLUTIONS) // 2 + 1
"""Samples that all of these need at least."""


def multi_resolution_stft_loss(reference: Tensor, generated: Tensor) -> Tensor:
    r"""Spectral convergence plus the mean difference of log-magnitudes, averaged over three resolutions.

    .. math:: \frac{\lVert |R| - |G| \rVert_F}{\lVert |R| \rVert_F} + \text{mean} \bigl| \ln |R| - \ln |G| \bigr|

    Args:
        reference: the recordings, ``[B, T]``.
        generated: ``[B, T]``; gradients flow through it.

    Returns:
        A scalar.

    References:
        Yamamoto, Song and Kim, "Probability density distillation with generative adversarial networks for
        high-quality parallel waveform generation", 2019, https://arxiv.org/abs/1904.04472
    """
    loss: Tensor = m_stft_loss()(generated[:, None], reference[:, None])
    return loss


def power_loss(reference: Tensor, generated: Tensor) -> Tensor:
    r"""Squared difference of magnitudes as a share of the recordings' energy: loud frames decide.

    .. math:: \frac{\lVert |R| - |G| \rVert_F^2}{\lVert |R| \rVert_F^2}

    It is taken of magnitudes, not of their squares, which a few loud bins would rule, nor of their logarithms.

    Args:
        reference: the recordings, ``[B, T]``.
        generated: ``[B, T]``.

    References:
        van den Oord et al., "Parallel WaveNet", 2017, https://arxiv.org/abs/1711.10433 (of squares)
        Ping, Peng and Chen, "ClariNet", 2018, https://arxiv.org/abs/1807.07281 (of magnitudes)
    """
    wanted, made = magnitudes(reference), magnitudes(generated)
    return (made - wanted).square().sum() / wanted.square().sum().clamp(min=1e-12)


def magnitudes(wav: Tensor, fft: int = POWER_FFT, hop: int = POWER_HOP) -> Tensor:
    """Magnitudes ``[B, bins, frames]`` of the short-time spectrum of ``wav [B, T]``, Hann window.

    Silence has a magnitude of 1e-7, where the square root still has a gradient.
    """
    wav = wav.float()
    window = torch.hann_window(fft, device=wav.device)
    spectrum = torch.stft(wav, fft, hop, window=window, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=1e-14).sqrt()
