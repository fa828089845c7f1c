"""From a mel spectrogram to a filter of linear prediction, block by block."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from audioflow.audio import (
    MelContract,
    MelFrontEnd,
    band_centres,
    band_magnitudes,
    bin_frequencies,
)
from audioflow.audio.envelope import interpolation_between
from audioflow.flows.filtering import compiles, powers_between, predictors
from audioflow.nets.level import ROUNDING
from audioflow.nets.masks import masked

ROUNDING_VARIANCE = math.exp(2 * ROUNDING)
"""Variance of the rounding error of 16-bit audio."""

BLOCKS = 4
"""Filters in a frame, where the hop can be divided so."""

UPPER_BANDS = 4
"""Bands above the mel's highest whose power is guessed from the mel, at most."""

_RIDGE = 1e-2


class Filter(NamedTuple):
    """Coefficients and scales of ``N`` blocks of ``block`` samples each.

    Attributes:
        coefficients: of the samples before, the oldest first, ``[B, N, p]``, float64.
        log_scale: log standard deviation of the prediction's error, ``[B, N]``, float64.
        block: samples of a block.
    """

    coefficients: Tensor
    log_scale: Tensor
    block: int

    def scale_of_samples(self, steps: int, offset: int = 0) -> Tensor:
        """Standard deviations ``[B, steps]``, from sample ``offset`` of the first block on."""
        return torch.exp(self.log_scale).repeat_interleave(self.block, dim=1)[:, offset : offset + steps]

    def log_scale_of_samples(self, steps: int, offset: int = 0) -> Tensor:
        """``[B, steps]``, from sample ``offset`` of the first block on."""
        return self.log_scale.repeat_interleave(self.block, dim=1)[:, offset : offset + steps]


class Stretches(NamedTuple):
    """Runs of bins over which a spectrum that is interpolated between points is one straight line.

    Attributes:
        matrix: log-magnitude at the first bin of each run, and what is added from bin to bin, ``[2 S, P]``.
        first: number of its first bin, ``[S]``.
        length: bins of each run, ``[S]``.
    """

    matrix: Tensor
    first: Tensor
    length: Tensor

    @classmethod
    def of(cls, spread: Tensor) -> "Stretches":
        """Those of a matrix of interpolation ``[K, P]``."""
        steps = spread[1:] - spread[:-1]
        # A line goes on where the step from one bin to the next is the step before.
        same = torch.isclose(steps[1:], steps[:-1], rtol=0, atol=1e-12).all(dim=1)
        starts, at = [0], 1
        while at < len(spread):
            straight = at == starts[-1] + 1 or bool(same[at - 2])
            if not straight:
                starts.append(at)
            at += 1
        first = torch.tensor(starts)
        length = torch.diff(first, append=torch.tensor([len(spread)]))
        slope = torch.zeros(len(starts), spread.shape[1], dtype=spread.dtype)
        longer = length > 1
        slope[longer] = steps[first[longer]]
        return cls(torch.cat([spread[first], slope]), first, length)


def blocks_per_frame(hop_length: int) -> int:
    """Blocks of equal length in a frame, about four.

    >>> blocks_per_frame(200), blocks_per_frame(300), blocks_per_frame(5), blocks_per_frame(1)
    (4, 4, 5, 1)
    """
    divisors = [n for n in range(1, hop_length + 1) if hop_length % n == 0]
    return min(divisors, key=lambda n: abs(math.log(n / BLOCKS)))


class EnvelopeFilter(nn.Module):
    r"""The predictor of least error for speech with the envelope that a mel tells of.

    The mean magnitude of each band, its logarithm interpolated over frequency, is the spectrum ``S_f`` of a frame.
    Its inverse Fourier transform is the autocorrelation of the speech there, which is interpolated linearly in time:

    .. math::
        r_f(i) = \frac{1}{\sum_n w_n^2} \frac{1}{N} \sum_k S_f(k)^2 \cos(2 \pi k i / N) \qquad
        r(0) \leftarrow (r(0) + \delta^2 / 12)(1 + \epsilon) \qquad
        r_t = (1 - \alpha_t)\, r_f + \alpha_t\, r_{f+1}

    with ``w`` the analysis window and ``delta`` a 16-bit step. A convex sum of autocorrelations is one, so that the
    Levinson-Durbin recursion gives a filter of minimum phase for each block. Its error has the energy ``E``, and

    .. math:: \log \sigma = \max(\tfrac12 \log E + c,\ \log(\delta / \sqrt{12}))

    ``c`` is a buffer, fitted once. What lies above the highest band is read off the log-mel by an affine map in
    buffers, fitted once too; until then the spectrum goes on there as it ended.

    Args:
        contract: what mel values mean.
        order: coefficients ``p`` of a filter.
        correction: ``epsilon``.
    """

    offset: Tensor
    upper_weight: Tensor
    upper_bias: Tensor

    def __init__(self, contract: MelContract, order: int, correction: float) -> None:
        super().__init__()
        self.contract, self.order, self.correction = contract, order, correction
        self.per_frame = blocks_per_frame(contract.hop_length)
        self.block = contract.hop_length // self.per_frame
        self.upper_edges = upper_band_edges(contract)
        upper = max(0, len(self.upper_edges) - 1)
        self.register_buffer("offset", torch.zeros(()))
        last = torch.zeros(upper, contract.n_mels)
        last[:, _last_band(contract)] = 1
        self.register_buffer("upper_weight", last)
        self.register_buffer("upper_bias", torch.zeros(upper))
        points = torch.cat([band_centres(contract), (self.upper_edges[1:] + self.upper_edges[:-1]) / 2])
        # No buffers: they stay in float64 whatever the model is cast to, for 90 dB of range need its digits.
        self._spread = interpolation_between(points, bin_frequencies(contract))
        self._cosines = _autocorrelation(contract, order)
        self._stretches = Stretches.of(self._spread)

    def forward(self, mel: Tensor, frame_mask: Tensor | None = None) -> Filter:
        """``mel [B, M, F]`` -> the filter of its ``F * blocks`` blocks.

        After the end of an utterance, as the mask ``[B, 1, F]`` has it, its last frame goes on.
        """
        lags = self._autocorrelations(mel)
        zero = (lags[..., :1] + ROUNDING_VARIANCE) * (1 + self.correction)
        lags = self._over_blocks(torch.cat([zero, lags[..., 1:]], dim=-1), frame_mask)
        coefficients, energy = predictors(lags)
        log_scale = 0.5 * torch.log(energy) + self.offset.double()
        return Filter(coefficients, log_scale.clamp(min=ROUNDING), self.block)

    def log_spectrum(self, mel: Tensor) -> Tensor:
        """Log-magnitude ``[B, K, F]`` of the Fourier transform that a mel ``[B, M, F]`` tells of, float64."""
        bands = self._log_bands(mel)
        self._spread = self._spread.to(bands.device)
        return self._spread @ bands

    def _log_bands(self, mel: Tensor) -> Tensor:
        """Log-magnitudes at the points between which the spectrum is interpolated, ``[B, P, F]``."""
        bands = torch.log(band_magnitudes(mel, self.contract))
        if not len(self.upper_bias):
            return bands
        upper = self.upper_weight.double() @ bands + self.upper_bias.double()[:, None]
        # A guess may not be louder than anything that was heard below.
        return torch.cat([bands, torch.minimum(upper, bands.amax(dim=1, keepdim=True))], dim=1)

    def _autocorrelations(self, mel: Tensor) -> Tensor:
        """Of each frame, ``[B, F, p + 1]``."""
        if compiles(mel) and not (torch.is_grad_enabled() and (mel.requires_grad or self.upper_weight.requires_grad)):
            power = powers_between(self._log_bands(mel), *self._stretches)
        else:
            power = torch.exp(2 * self.log_spectrum(mel))
        self._cosines = self._cosines.to(power.device)
        return power.transpose(1, 2) @ self._cosines

    def _over_blocks(self, lags: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Frames ``[B, F, p + 1]`` to blocks ``[B, F * blocks, p + 1]``, by interpolation in time."""
        frames = lags.shape[1]
        if frame_mask is not None:
            last = (frame_mask.sum(dim=-1).long() - 1).clamp(min=0)
            rows = torch.minimum(torch.arange(frames, device=lags.device), last)
            lags = lags.gather(1, rows[..., None].expand(-1, -1, lags.shape[2]))
        padded = torch.cat([lags[:, :1], lags, lags[:, -1:]], dim=1)
        centre = 0.5 if self.contract.framing == "half_hop" else 0.0
        blocks = []
        for n in range(self.per_frame):
            place = (n + 0.5) / self.per_frame - centre
            first = 1 + math.floor(place)
            before, after = padded[:, first : first + frames], padded[:, first + 1 : first + 1 + frames]
            blocks.append(torch.lerp(before, after, place - math.floor(place)))
        return torch.stack(blocks, dim=2).flatten(1, 2)

    @torch.no_grad()
    def fit_upper_bands(self, wav: Tensor, mel: Tensor, frame_mask: Tensor | None = None) -> None:
        """Fit the map from the log-mel to what lies above its highest band, by least squares.

        Args:
            wav: ``[B, F * hop_length]``.
            mel: ``[B, M, F]``.
            frame_mask: ``[B, 1, F]``.
        """
        if not len(self.upper_bias):
            return
        lengths = None if frame_mask is None else frame_mask.sum(dim=(1, 2)).long() * self.contract.hop_length
        wanted = _upper_magnitudes(wav.double(), self.contract, self.upper_edges.to(wav.device), lengths)
        bands = torch.log(band_magnitudes(mel, self.contract))
        valid = torch.ones_like(bands[:, :1]) if frame_mask is None else frame_mask.to(bands.dtype)
        rows = valid.transpose(1, 2).reshape(-1) > 0
        x = masked(bands, valid).transpose(1, 2).reshape(-1, bands.shape[1])[rows]
        y = torch.log(wanted.clamp(min=1e-7)).transpose(1, 2).reshape(-1, wanted.shape[1])[rows]
        mean_x, mean_y = x.mean(dim=0), y.mean(dim=0)
        x, y = x - mean_x, y - mean_y
        ridge = _RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        weight = torch.linalg.solve(x.t() @ x + ridge, x.t() @ y).t()
        self.upper_weight.copy_(weight)
        self.upper_bias.copy_(mean_y - weight @ mean_x)


def upper_band_edges(contract: MelContract) -> Tensor:
    """Edges in Hz of the bands above the mel's highest, ``[0]`` to ``[UPPER_BANDS + 1]``, float64.

    >>> from audioflow.audio import PRESETS
    >>> [round(edge) for edge in upper_band_edges(PRESETS["nvidia-22k"]).tolist()]
    [8000, 8756, 9512, 10269, 11025]
    """
    nyquist, bin_width = contract.sample_rate / 2, contract.sample_rate / contract.n_fft
    centres = band_centres(contract)
    known = centres[torch.isfinite(centres)]
    spacing = max(float(known[-1] - known[-2]) if len(known) > 1 else bin_width, 2 * bin_width)
    count = min(UPPER_BANDS, int((nyquist - contract.f_max) / spacing))
    if count < 1:
        return torch.zeros(0, dtype=torch.float64)
    return torch.linspace(contract.f_max, nyquist, count + 1, dtype=torch.float64)


def _upper_magnitudes(wav: Tensor, contract: MelContract, edges: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean magnitudes ``[B, U, F]`` of the Fourier transform between the edges."""
    front_end = MelFrontEnd(contract.model_copy(update={"power": 1, "magnitude_epsilon": 0.0}))
    frequencies = bin_frequencies(contract).to(wav.device)
    inside = (frequencies >= edges[:-1, None]) & (frequencies < edges[1:, None])
    inside[-1, -1] = True
    filters = inside.to(wav.dtype)
    front_end.filterbank = filters / filters.sum(dim=1, keepdim=True).clamp(min=1)
    return front_end.linear(wav, lengths)


def _autocorrelation(contract: MelContract, order: int) -> Tensor:
    """The map from a power spectrum ``[K]`` to lags 0 to ``order`` of the autocorrelation, ``[K, order + 1]``."""
    bins = contract.n_fft // 2 + 1
    weight = torch.full((bins,), 2.0, dtype=torch.float64)
    weight[0] = 1
    if contract.n_fft % 2 == 0:
        weight[-1] = 1
    angles = 2 * math.pi / contract.n_fft * torch.arange(bins, dtype=torch.float64)[:, None] * torch.arange(order + 1)
    window = torch.hann_window(contract.win_length, periodic=True, dtype=torch.float64)
    return weight[:, None] * torch.cos(angles) / (contract.n_fft * window.square().sum())


def _last_band(contract: MelContract) -> int:
    return int(torch.nonzero(torch.isfinite(band_centres(contract)))[-1])
