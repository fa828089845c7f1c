"""Measures nearer to what people hear than spectral distances: PESQ, STOI, DistillMOS, pitch and voicing."""

import importlib.util
import math

import numpy as np
from torch import Tensor

from audioflow.audio import resample
from audioflow.errors import OptionError
from audioflow.evaluation.opinion import distillmos, has_distillmos
from audioflow.evaluation.pitch import pitch_errors

RATE = 16_000
"""What wideband PESQ is defined at."""

PACKAGES = ("pesq", "pystoi")


def require_packages() -> None:
    """See that PESQ and STOI can be taken.

    Raises:
        OptionError: a package is missing; how it is installed is said.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise OptionError(f"{' and '.join(missing)} must be installed for this: pip install 'audioflow[metrics]'.")


def hearing(reference: Tensor, generated: Tensor, sample_rate: int) -> dict[str, float]:
    """Judge one pair of wavs ``[T]`` in [-1, 1].

    Returns:
        ``pesq``: wideband PESQ at 16 kHz, 1 to 4.64; ``stoi``: extended short-time intelligibility, up to 1;
        ``f0_cents`` and ``voicing_error``: see :class:`audioflow.evaluation.pitch.PitchErrors`; and where its package
        is installed ``distillmos``, of the generated wav alone: see :mod:`audioflow.evaluation.opinion`. NaN where one
        cannot be taken, such as of silence.

    Raises:
        OptionError: a package is missing.

    References:
        ITU-T P.862.2, 2007; Jensen and Taal, "An Algorithm for Predicting the Intelligibility of Speech Masked by
        Modulated Noise Maskers", 2016
    """
    require_packages()
    errors = pitch_errors(reference, generated, sample_rate)
    heard = [resample(wav.detach().float().cpu()[None], sample_rate, RATE)[0] for wav in (reference, generated)]
    pair = [wav.numpy() for wav in heard]
    return {
        "pesq": _pesq(*pair),
        "stoi": _stoi(*pair),
        **({"distillmos": distillmos(heard[1])} if has_distillmos() else {}),
        "f0_cents": errors.f0_rmse_cents,
        "voicing_error": errors.voicing_error,
    }


def _pesq(reference: np.ndarray, generated: np.ndarray) -> float:
    from pesq import PesqError, pesq  # noqa: PLC0415 - an extra

    if not (reference.any() and generated.any()):
        return math.nan
    try:
        return float(pesq(RATE, reference, generated, "wb"))
    except PesqError:  # it finds no speech in one of them
        return math.nan


def _stoi(reference: np.ndarray, generated: np.ndarray) -> float:
    from pystoi import stoi  # noqa: PLC0415 - an extra

    return float(stoi(reference, generated, RATE, extended=True))
