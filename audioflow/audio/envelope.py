"""The spectral envelope that a mel spectrogram tells of, at every bin of a short-time Fourier transform."""

from functools import cache

import torch
from torch import Tensor

from audioflow.audio.contract import MelContract
from audioflow.audio.filterbank import mel_filterbank
from audioflow.audio.mel import decompress

SMALLEST_MAGNITUDE = 1e-7
"""Least mean magnitude of a band: far below what 16-bit audio can have, and above what has no logarithm."""


def band_centres(contract: MelContract) -> Tensor:
    """Mean frequency of each band's filter in Hz, ``[M]``, float64; NaN for a band too narrow to hold a bin."""
    filters = mel_filterbank(contract)
    sums = filters.sum(dim=1)
    centres = (filters * bin_frequencies(contract)).sum(dim=1) / sums
    return torch.where(sums > 0, centres, torch.nan)


def bin_frequencies(contract: MelContract) -> Tensor:
    """Frequencies of the Fourier transform's bins in Hz, ``[n_fft / 2 + 1]``, float64."""
    return torch.linspace(0, contract.sample_rate / 2, contract.n_fft // 2 + 1, dtype=torch.float64)


def band_magnitudes(mel: Tensor, contract: MelContract) -> Tensor:
    """Mean magnitude of the Fourier transform within each band: ``mel [..., M, F]`` -> ``[..., M, F]``, float64.

    The filter's sum is divided out, and the root taken of power; a band without a bin has the smallest magnitude.
    """
    sums = _filter_sums(contract, mel.device)
    mean = decompress(mel.double(), contract) / sums.clamp(min=1e-12)
    if contract.power != 1:
        mean = mean ** (1 / contract.power)
    return torch.where(sums > 0, mean, 0.0).clamp(min=SMALLEST_MAGNITUDE)


def interpolation_over_bins(contract: MelContract) -> Tensor:
    """The linear map from values at the bands' centres to values at all bins, ``[n_fft / 2 + 1, M]``, float64.

    Linear in between, constant beyond the outermost centres. Bands without a bin are passed over. Rows add up to one.
    """
    centres = band_centres(contract)
    return interpolation_between(centres, bin_frequencies(contract))


def interpolation_between(points: Tensor, places: Tensor) -> Tensor:
    """The matrix ``[places, points]`` of linear interpolation; points that are NaN are passed over.

    >>> interpolation_between(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.5, 9.0])).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.0, 1.0]]
    """
    used = torch.nonzero(torch.isfinite(points))[:, 0]
    known = points[used]
    matrix = torch.zeros(len(places), len(points), dtype=points.dtype)
    rows = torch.arange(len(places))
    if len(used) == 1:
        matrix[:, used[0]] = 1
        return matrix
    after = torch.searchsorted(known, places).clamp(1, len(known) - 1)
    share = ((places - known[after - 1]) / (known[after] - known[after - 1])).clamp(0, 1)
    matrix[rows, used[after - 1]] = 1 - share
    matrix[rows, used[after]] += share
    return matrix


@cache
def _filter_sums(contract: MelContract, device: torch.device) -> Tensor:
    """What each band's filter adds up to, ``[M, 1]``; kept where it is needed, so that no step waits for a copy."""
    with torch.inference_mode(mode=False):
        return mel_filterbank(contract).sum(dim=1, keepdim=True).to(device)
