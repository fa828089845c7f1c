"""Mel filter banks: triangles on the Slaney or the HTK scale."""

import math

import torch
from torch import Tensor

from audioflow.audio.contract import MelContract

# Slaney's scale: linear, 200/3 Hz a mel, up to 1 kHz; from there 27 mels for each factor of 6.4.
_HERTZ_PER_MEL = 200.0 / 3.0
_KNEE_HERTZ = 1000.0
_KNEE_MEL = _KNEE_HERTZ / _HERTZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


def mel_filterbank(contract: MelContract) -> Tensor:
    """Make the matrix from a spectrum to mel bands.

    Args:
        contract: gives the rate, ``n_fft``, the bands and their scale and normalisation.

    Returns:
        ``[M, n_fft // 2 + 1]``, float64.

    References:
        M. Slaney, "Auditory Toolbox: Version 2", Interval Research technical report 1998-010, 1998.
        S. Young et al., "The HTK Book", section on filter bank analysis.
    """
    bins = torch.linspace(0, contract.sample_rate / 2, contract.n_fft // 2 + 1, dtype=torch.float64)
    edges = _band_edges(contract)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)
    if contract.mel_norm == "slaney":
        triangles = triangles * 2.0 / (right - left)
    return triangles


def _band_edges(contract: MelContract) -> Tensor:
    """Edges in Hz, ``[M + 2]``: equally spaced in mels; band ``m`` rises from ``m``, peaks at ``m + 1``."""
    limits = torch.tensor([contract.f_min, contract.f_max], dtype=torch.float64)
    to_mel, to_hertz = (_slaney_mel, _slaney_hertz) if contract.mel_scale == "slaney" else (_htk_mel, _htk_hertz)
    low, high = to_mel(limits).tolist()
    return to_hertz(torch.linspace(low, high, contract.n_mels + 2, dtype=torch.float64))


def _slaney_mel(hertz: Tensor) -> Tensor:
    logarithmic = _KNEE_MEL + torch.log(hertz.clamp(min=_KNEE_HERTZ) / _KNEE_HERTZ) / _LOG_STEP
    return torch.where(hertz < _KNEE_HERTZ, hertz / _HERTZ_PER_MEL, logarithmic)


def _slaney_hertz(mel: Tensor) -> Tensor:
    exponential = _KNEE_HERTZ * torch.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return torch.where(mel < _KNEE_MEL, mel * _HERTZ_PER_MEL, exponential)


def _htk_mel(hertz: Tensor) -> Tensor:
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


def _htk_hertz(mel: Tensor) -> Tensor:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
