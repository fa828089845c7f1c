"""Mel-cepstral distortion: how far apart two spectral envelopes are, whatever the pitch."""

import math

import numpy as np
from torch import Tensor

from audioflow.evaluation.world import waveform_for_world

COEFFICIENTS = 24
"""Mel-cepstral coefficients that are compared; the one of order zero, which is the loudness, is not."""


def mel_cepstral_distortion(reference: Tensor, generated: Tensor, sample_rate: int) -> float:
    r"""Give the mel-cepstral distortion in dB, the mean over frames of 5 ms, which are compared at the same time.

    .. math:: \frac{10}{\ln 10} \sqrt{2 \sum_{d=1}^{24} (c_d - \hat c_d)^2} \qquad
        \ln |H(m)| = c_0 + \sum_{d=1} c_d \cos(\pi d m)

    It is the root mean square over a mel scale ``m`` from 0 to 1 of the envelopes' difference in dB, without loudness
    and finest detail. The envelopes are WORLD's: pitch by DIO and StoneMask, then CheapTrick. There is no time warping,
    since a vocoder's audio is as long as the recording. Definitions vary in the literature: compare it only with
    figures from this function.

    Args:
        reference: the recording, wav [T] in [-1, 1].
        generated: what is judged, wav [T].
        sample_rate: of both, in Hz.

    References:
        R. Kubichek: Mel-cepstral distance measure for objective speech quality assessment, 1993
    """
    difference = cepstra(reference, sample_rate) - cepstra(generated, sample_rate)
    return float(10 / math.log(10) * np.sqrt(2 * np.square(difference).sum(axis=1)).mean())


def cepstra(wav: Tensor, sample_rate: int) -> np.ndarray:
    """Mel-cepstral coefficients 1 to 24 of wav [T], a row every 5 ms."""
    import pyworld  # noqa: PLC0415 - an extra

    speech = waveform_for_world(wav)
    pitch, places = pyworld.dio(speech, sample_rate)
    pitch = pyworld.stonemask(speech, pitch, places, sample_rate)
    envelope = pyworld.cheaptrick(speech, pitch, places, sample_rate)
    return coded_envelope(envelope, sample_rate)


def coded_envelope(power: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mel-cepstral coefficients 1 to 24 of power spectra ``[F, K]``."""
    import pyworld  # noqa: PLC0415 - an extra

    coded: np.ndarray = pyworld.code_spectral_envelope(power, sample_rate, COEFFICIENTS + 1)
    # WORLD's transform of the log-power is orthonormal.
    return coded[:, 1:] / math.sqrt(2)
