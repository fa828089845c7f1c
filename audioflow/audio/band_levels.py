"""How loud the bands of a mel are in audio, and by how much they should be louder, as one round of matching asks."""

from typing import NamedTuple

import torch
from torch import Tensor

from audioflow.audio.contract import MelContract
from audioflow.audio.envelope import SMALLEST_MAGNITUDE, interpolation_over_bins
from audioflow.audio.filterbank import mel_filterbank
from audioflow.audio.mel import decompress

LARGEST_STEP = 3.0
"""Natural logarithm of the most that one round scales a bin up or down."""

# The square root of a squared magnitude has a finite derivative at nothing with this much added.
_TINY = 1e-30


class Bands(NamedTuple):
    """The analysis of a contract.

    Attributes:
        contract: what all that is of.
        window: ``[win_length]``.
        cells: the squared window in hops, ``[cells, hop]``, with zeros at the end.
        filters: mean over each band's bins, ``[n_fft / 2 + 1, M]``.
        spread: from bands to bins, ``[M, n_fft / 2 + 1]``.
        least: least mean magnitude of each band that is told from less, ``[M]``.
        most: the greatest one, ``[M]``.
    """

    contract: MelContract
    window: Tensor
    cells: Tensor
    filters: Tensor
    spread: Tensor
    least: Tensor
    most: Tensor

    @classmethod
    def of(cls, contract: MelContract, device: torch.device) -> "Bands":
        """The analysis of ``contract``, in float64 where there is that."""
        window = torch.hann_window(contract.win_length, periodic=True, dtype=torch.float64)
        beyond = -contract.win_length % contract.hop_length
        cells = torch.nn.functional.pad(window.square(), (0, beyond)).unflatten(0, (-1, contract.hop_length))
        filters = mel_filterbank(contract)
        sums = filters.sum(dim=1).clamp(min=1e-12)
        least, most = _limits(contract, sums, float(window.sum()))
        made = (window, cells, (filters / sums[:, None]).T, interpolation_over_bins(contract).T, least, most)
        working = torch.float32 if device.type == "mps" else torch.float64
        return cls(contract, *(value.contiguous().to(device=device, dtype=working) for value in made))

    def corrections(self, heard: Tensor, goal: Tensor) -> Tensor:
        """Say what one round adds to each frame.

        Args:
            heard: ``[B, n, win_length]``.
            goal: logarithm of the mean magnitudes that the bands should have, ``[B, n, M]``.

        Returns:
            ``[B, n, win_length]``, with the window of the synthesis.
        """
        spectrum = torch.fft.rfft(heard * self.window, self.contract.n_fft)
        gains = (goal - self.levels(spectrum)).clamp(-LARGEST_STEP, LARGEST_STEP) @ self.spread
        changed: Tensor = torch.fft.irfft(spectrum * (gains.exp() - 1), self.contract.n_fft)
        return changed[..., : len(self.window)] * self.window

    def levels(self, spectrum: Tensor) -> Tensor:
        """Logarithm of the mean magnitude in each band: ``[B, n, n_fft / 2 + 1]`` to ``[B, n, M]``."""
        power = self.contract.power
        squared = spectrum.real.square() + spectrum.imag.square() + max(self.contract.magnitude_epsilon, _TINY)
        mean = (squared if power != 1 else squared.sqrt()) @ self.filters
        least, most = (limit if power == 1 else limit.square() for limit in (self.least, self.most))
        return mean.clamp(least, most).log() / power


def _limits(contract: MelContract, sums: Tensor, full_scale: float) -> tuple[Tensor, Tensor]:
    """Mean magnitudes between which the contract's mel tells one from another; no audio in [-1, 1] goes beyond."""
    least = torch.full_like(sums, SMALLEST_MAGNITUDE)
    if contract.floor_law == "clamp":
        least = torch.maximum(least, (contract.floor / sums) ** (1 / contract.power))
    most = torch.full_like(sums, full_scale)
    if contract.ceiling is not None:
        ceiling = decompress(torch.tensor(contract.ceiling, dtype=torch.float64), contract)
        most = torch.minimum(most, (ceiling / sums) ** (1 / contract.power))
    return least, most
