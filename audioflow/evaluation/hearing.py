"""Measures nearer to what people hear than spectral distances: PESQ, STOI, opinion scores, envelope, pitch, voicing."""

import importlib.util
import math
from collections.abc import Collection

import numpy as np
from torch import Tensor

from audioflow.audio import resample
from audioflow.errors import OptionError
from audioflow.evaluation.cepstra import mel_cepstral_distortion
from audioflow.evaluation.opinion import RATE, distillmos, dnsmos, has_distillmos, has_dnsmos
from audioflow.evaluation.pitch import pitch_errors
from audioflow.evaluation.world import has_world

PACKAGES = ("pesq", "pystoi")

OPINIONS = ("distillmos", "dnsmos")
"""Judges that are networks."""


def require_packages() -> None:
    """See that PESQ and STOI can be taken.

    Raises:
        OptionError: a package is missing; how it is installed is said.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise OptionError(f"{' and '.join(missing)} must be installed for this: pip install 'audioflow[metrics]'.")


def hearing(
    reference: Tensor,
    generated: Tensor,
    sample_rate: int,
    wanted: np.ndarray | None = None,
    without: Collection[str] = (),
) -> dict[str, float]:
    """Judge one pair of wavs ``[T]`` in [-1, 1].

    Args:
        reference: the recording.
        generated: what is judged, of the same length.
        sample_rate: of both, in Hz.
        wanted: the recording's :func:`audioflow.evaluation.pitch.contour`, where it is known already.
        without: names of opinion scores to leave out, which take longest: of :data:`OPINIONS`.

    Returns:
        ``pesq``: wideband PESQ at 16 kHz, 1 to 4.64; ``stoi``: extended short-time intelligibility, up to 1;
        ``f0_cents`` and ``voicing_error``: see :class:`audioflow.evaluation.pitch.PitchErrors`; and where their
        packages are installed ``mcd_db``, see :mod:`audioflow.evaluation.cepstra`, and ``distillmos`` and ``dnsmos``,
        of the generated wav alone, see :mod:`audioflow.evaluation.opinion`. NaN where one cannot be taken, such as of
        silence.

    Raises:
        OptionError: a package is missing.

    References:
        ITU-T P.862.2, 2007; Jensen and Taal, "An Algorithm for Predicting the Intelligibility of Speech Masked by
        Modulated Noise Maskers", 2016
    """
    require_packages()
    errors = pitch_errors(reference, generated, sample_rate, wanted)
    heard = [resample(wav.detach().float().cpu()[None], sample_rate, RATE)[0] for wav in (reference, generated)]
    pair = [wav.numpy() for wav in heard]
    return {
        "pesq": _pesq(*pair),
        "stoi": _stoi(*pair),
        **({"mcd_db": mel_cepstral_distortion(reference, generated, sample_rate)} if has_world() else {}),
        **({"distillmos": distillmos(heard[1])} if has_distillmos() and "distillmos" not in without else {}),
        **({"dnsmos": dnsmos(heard[1])} if has_dnsmos() and "dnsmos" not in without else {}),
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
