"""Upsamplers as published WaveNet vocoders have them, whose factors multiply to the hop length."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from audioflow.nets.masks import full_precision, masked, repeat_mask, wide
from audioflow.nets.weight_norm import weight_normed


class TransposedUpsampler2d(nn.Module):
    r"""ClariNet's upsampler: transposed convolutions over bands and time, one after another.

    Each multiplies the rate by ``s`` with a kernel of 3 bands by ``2 s`` steps shared by all bands, and a leaky ReLU
    follows. With an even ``s`` its output has exactly ``s`` times the steps; an odd one is cut to that.

    Args:
        scales: factors; their product is the hop length.
        slope: of the leaky ReLU below zero.
        overlap: whether the kernels have ``2 s`` steps, so that neighbours overlap; otherwise they have ``s``.

    References:
        Ping, Peng and Chen, "ClariNet", 2018, https://arxiv.org/abs/1807.07281
    """

    def __init__(self, scales: Sequence[int], slope: float = 0.4, *, overlap: bool = True) -> None:
        super().__init__()
        self.scales = list(scales)
        self.slope = slope
        self.overlap = overlap
        sizes = [(2 * s, s // 2) if overlap else (s, 0) for s in self.scales]
        self.upsample = nn.ModuleList(
            weight_normed(nn.ConvTranspose2d(1, 1, (3, taps), stride=(1, s), padding=(1, cut)))
            for s, (taps, cut) in zip(self.scales, sizes, strict=True)
        )

    @property
    def frame_context(self) -> int:
        """Frames needed on each side of a frame for its samples to be exact."""
        return len(self.scales) if self.overlap else 0

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mel [B, M, F]``, frame mask ``[B, 1, F]`` -> ``cond [B, M, F * hop_length]``."""
        with full_precision(mel):
            h = masked(wide(mel), mask)
            for layer, scale in zip(self.upsample, self.scales, strict=True):
                mask = repeat_mask(mask, scale)
                wanted = h.shape[-1] * scale
                h = functional.leaky_relu(layer(h[:, None])[:, 0, :, :wanted], self.slope)
                h = masked(h, mask)
        return h


class StretchUpsampler(nn.Module):
    r"""A convolution over frames, then each value repeated and smoothed, factor by factor.

    At its ends an utterance goes on with its first and its last frame. For a factor ``s``, with weights ``w`` shared by
    all channels (and zeros beyond the ends),

    .. math:: h'_t = \sum_{j=-s}^{s} w_j\, h_{\lfloor (t+j) / s \rfloor}

    The smoothing starts as the mean of ``2 s + 1`` values.

    Args:
        n_mels: mel bands.
        cond_channels: channels of the result.
        scales: factors; their product is the hop length.
        context: frames on each side that the convolution over frames sees.

    References:
        https://github.com/r9y9/wavenet_vocoder (``ConvInUpsampleNetwork``)
    """

    def __init__(self, n_mels: int, cond_channels: int, scales: Sequence[int], context: int = 2) -> None:
        super().__init__()
        self.scales = list(scales)
        self.context = context
        self.frames = nn.Conv1d(n_mels, cond_channels, 2 * context + 1, bias=False)
        self.smooth = nn.ModuleList(nn.Conv1d(1, 1, 2 * s + 1, padding=s, bias=False) for s in self.scales)
        for layer in self.smooth:
            nn.init.constant_(layer.weight, 1 / layer.weight.numel())  # type: ignore[arg-type,operator]
            weight_normed(layer)

    @property
    def frame_context(self) -> int:
        """Frames needed on each side of a frame for its samples to be exact."""
        hop = math.prod(self.scales)
        rates = [math.prod(self.scales[: place + 1]) for place in range(len(self.scales))]
        seen = sum(scale * hop // rate for scale, rate in zip(self.scales, rates, strict=True))
        return self.context + -(-seen // hop)

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mel [B, M, F]``, frame mask ``[B, 1, F]`` -> ``cond [B, cond_channels, F * hop_length]``."""
        with full_precision(mel):
            h = masked(self.frames(self._extended(masked(wide(mel), mask), mask)), mask)
            for layer, scale in zip(self.smooth, self.scales, strict=True):
                mask = repeat_mask(mask, scale)
                stretched = h.repeat_interleave(scale, dim=-1)
                smooth = layer(stretched.flatten(0, 1)[:, None])[:, 0]
                h = masked(smooth.unflatten(0, h.shape[:2]), mask)
        return h

    def _extended(self, mel: Tensor, mask: Tensor | None) -> Tensor:
        """Each utterance with its outermost frames repeated ``context`` times: ``a b c`` -> ``a a a b c c c``."""
        if mask is None:
            return functional.pad(mel, (self.context, self.context), mode="replicate")
        last = mask.sum(dim=-1, keepdim=True).long() - 1
        places = torch.arange(-self.context, mel.shape[-1] + self.context, device=mel.device)
        index = torch.minimum(places.clamp(min=0)[None, None], last)
        return mel.gather(-1, index.expand(-1, mel.shape[1], -1))
