"""Pitch and voicing of what a vocoder made, against those of the recording."""

from dataclasses import dataclass

import librosa
import numpy as np
from torch import Tensor

LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
HOP_SECONDS, WINDOW_SECONDS = 0.01, 0.064


@dataclass(frozen=True)
class PitchErrors:
    """How two contours differ.

    Attributes:
        f0_rmse_cents: root mean square of the difference where both are voiced, 1200 to the octave; NaN where there is
            no such frame.
        voicing_error: share of the frames that only one of them calls voiced.
    """

    f0_rmse_cents: float
    voicing_error: float


def pitch_errors(
    reference: Tensor, generated: Tensor, sample_rate: int, wanted: np.ndarray | None = None
) -> PitchErrors:
    """Compare the contours of two wavs ``[T]``, found by pYIN in frames of 64 ms every 10 ms.

    Args:
        reference: the recording.
        generated: what is judged, of the same length.
        sample_rate: of both, in Hz.
        wanted: the recording's :func:`contour`, where it is known already.

    References:
        Mauch and Dixon, "pYIN: A fundamental frequency estimator using probabilistic threshold distributions", 2014
    """
    wanted = contour(reference, sample_rate) if wanted is None else wanted
    found = contour(generated, sample_rate)
    both = np.isfinite(wanted) & np.isfinite(found)
    cents = 1200 * np.log2(found[both] / wanted[both])
    error = float(np.sqrt(np.mean(cents**2))) if both.any() else float("nan")
    return PitchErrors(error, voicing_error(wanted, found))


def voicing_error(wanted: np.ndarray, found: np.ndarray) -> float:
    """Share of the frames that only one of two contours of :func:`contour` calls voiced."""
    return float(np.mean(np.isfinite(wanted) != np.isfinite(found)))


def contour(wav: Tensor, sample_rate: int) -> np.ndarray:
    """Fundamental frequency of ``wav [T]`` in Hz, NaN where it is unvoiced, one value every 10 ms."""
    f0: np.ndarray
    f0, _, _ = librosa.pyin(
        wav.detach().cpu().double().numpy(),
        fmin=LOWEST_HZ,
        fmax=HIGHEST_HZ,
        sr=sample_rate,
        frame_length=round(WINDOW_SECONDS * sample_rate),
        hop_length=round(HOP_SECONDS * sample_rate),
    )
    return f0
