"""How loud the speech is at each sample, read off its mel spectrogram."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from audioflow.audio import MelContract, decompress, mel_filterbank
from audioflow.nets.masks import masked, repeat_mask, wide
from audioflow.nets.upsample import interpolation_weights

ROUNDING = math.log(2.0**-15 / math.sqrt(12))
"""Log standard deviation of the rounding error of 16-bit audio: the quietest that a recording can be."""


class MelLevel(nn.Module):
    r"""The log standard deviation that a mel spectrogram says its speech has, sample by sample.

    The energy of a frame is the sum over bands of mean power times width; its logarithm is interpolated linearly
    between the frames' centres:

    .. math:: \ell_f = \tfrac12 \log \sum_m w_m a_{m,f}^2 + c

    with ``a`` the mean magnitude in band ``m``. ``c`` is a buffer, fitted once so that the energies agree. The level
    never falls below the spread of 16-bit rounding, whatever floor the mel has.
    Networks that work on ``x exp(-level)`` need not span the ten thousand to one between a vowel and the quantisation
    noise of silence; the map is known given the mel, so likelihoods stay exact.

    Args:
        contract: what the mel values mean.
        follow: ``False`` gives the constant level ``c`` instead, the spread of all data.

    References:
        Lee et al., "PriorGrad", 2021, https://arxiv.org/abs/2106.06406 (frame energies as a data-dependent prior)
    """

    offset: Tensor
    widths: Tensor
    weights: Tensor

    def __init__(self, contract: MelContract, *, follow: bool = True) -> None:
        super().__init__()
        self.contract = contract
        self.follow = follow
        filters = mel_filterbank(contract)
        sums, peaks = filters.sum(dim=1), filters.amax(dim=1)
        # A band narrower than a bin may be empty; it then counts for nothing.
        widths = torch.where(sums > 0, sums / peaks.clamp(min=1e-12), 0)
        mean_of_band = sums.clamp(min=1e-12) ** (2 / contract.power)
        self.register_buffer("widths", (widths / mean_of_band).float(), persistent=False)
        centre = contract.hop_length / 2 if contract.framing == "half_hop" else 0.0
        self.register_buffer("weights", interpolation_weights(contract.hop_length, centre), persistent=False)
        self.register_buffer("offset", torch.zeros(()))

    @torch.no_grad()
    def fit(self, wav: Tensor, mel: Tensor, frame_mask: Tensor | None = None) -> None:
        """Choose ``c`` so that ``wav [B, F * hop]`` has the energy ``mel [B, M, F]`` says; silence changes nothing."""
        mask = repeat_mask(frame_mask, self.contract.hop_length)
        said = masked(torch.exp(2 * self._up_to_offset(mel, frame_mask)), mask).sum()
        energy = masked(wav[:, None], mask).square().sum()
        if energy > 0:
            self.offset.copy_(0.5 * torch.log(energy / said))

    def forward(self, mel: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """``mel [B, M, F]``, in the contract's units -> level ``[B, 1, F * hop_length]``, zero outside the mask."""
        level = self._up_to_offset(mel, frame_mask) + self.offset
        return masked(level.clamp(min=ROUNDING), repeat_mask(frame_mask, self.contract.hop_length))

    def _up_to_offset(self, mel: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Level ``[B, 1, F * hop_length]`` without ``c``; zero where the mel is not followed."""
        batch, _, frames = mel.shape
        if not self.follow:
            return wide(mel).new_zeros(batch, 1, frames * self.contract.hop_length)
        level = self._of_frames(wide(mel), frame_mask)
        neighbours = functional.pad(level, (1, 1), mode="replicate")
        samples = functional.conv1d(neighbours, self.weights.to(level.dtype)[:, None])
        return samples.transpose(1, 2).reshape(batch, 1, -1)

    def _of_frames(self, mel: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Levels ``[B, 1, F]`` up to ``c``; an utterance keeps its last level after its end."""
        power = decompress(mel, self.contract) ** (2 / self.contract.power)
        energy = (power * self.widths.to(power.dtype)[:, None]).sum(dim=1, keepdim=True)
        level = 0.5 * torch.log(energy.clamp(min=1e-20))
        if frame_mask is None:
            return level
        last = (frame_mask.sum(dim=-1, keepdim=True).long() - 1).clamp(min=0)
        positions = torch.arange(mel.shape[-1], device=mel.device).expand(len(mel), 1, -1)
        return level.gather(-1, torch.minimum(positions, last))
