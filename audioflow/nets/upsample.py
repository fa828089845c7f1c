"""From mel frames to conditioning features at the sample rate, for any hop length."""

import math
from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from audioflow.audio import MelContract
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.masks import full_precision, masked, repeat_mask, wide
from audioflow.nets.upsample_published import StretchUpsampler, TransposedUpsampler2d

UpsamplerName = Literal["interpolate", "transposed", "transposed2d", "stretch"]


class Upsampler(Protocol):
    """From mel frames to features at the sample rate."""

    @property
    def frame_context(self) -> int:
        """Frames needed on each side of a frame for its samples to be exact."""
        ...

    def __call__(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mel [B, M, F]``, frame mask ``[B, 1, F]`` -> ``cond [B, C, F * hop_length]``."""
        ...


class MelNormalizer(nn.Module):
    """Brings each mel band to zero mean and unit variance: ``(mel - mean) / std``.

    The statistics are buffers, fitted once from training data by an explicit call; until then it is the identity.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.ones(n_mels))

    @torch.no_grad()
    def fit(self, mel: Tensor, mask: Tensor | None = None) -> None:
        """Take mean and standard deviation of each band over the valid frames of ``mel [B, M, F]``."""
        weight = torch.ones_like(mel[:, :1]) if mask is None else mask.to(mel.dtype)
        count = weight.sum().clamp(min=1)
        mean = (mel * weight).sum(dim=(0, 2)) / count
        variance = ((mel - mean[:, None]).square() * weight).sum(dim=(0, 2)) / count
        self.mean.copy_(mean)
        # A band that never moves (above the recording's own bandwidth, say) must not be blown up.
        self.std.copy_(variance.sqrt().clamp(min=0.1))

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise ``mel [B, M, F]``; frames outside the mask become zero."""
        return masked((mel - self.mean[:, None]) / self.std[:, None], mask)


def interpolation_weights(hop_length: int, frame_centre: float = 0.0) -> Tensor:
    """Linear interpolation between frames: ``[hop, 3]``, for each sample of frame ``f`` over ``f - 1, f, f + 1``.

    Args:
        hop_length: samples per frame.
        frame_centre: where in its own hop a frame is centred, in samples.
    """
    position = torch.arange(hop_length)[:, None] - frame_centre
    centres = hop_length * torch.tensor([-1.0, 0.0, 1.0])
    return (1 - (position - centres).abs() / hop_length).clamp(min=0)


class InterpolatingUpsampler(nn.Module):
    r"""A short convolution over frames, then a learned interpolation between them, for any hop length.

    Sample ``p`` of frame ``f`` is a weighted sum of neighbouring frames, with weights shared by all channels:

    .. math:: c_{m,\,f h + p} = \sum_{j=-1}^{1} w_{p,j}\, a_{m,\,f+j}, \qquad p = 0 \ldots h-1

    ``w`` starts as linear interpolation between the frames' centres. The map is linear and acts on each channel alike,
    so it commutes with any 1x1 convolution after it: a sampler may project at the frame rate.

    Args:
        n_mels: mel bands ``M``.
        cond_channels: channels of the result.
        hop_length: samples per frame, any number.
        frame_centre: where in its own hop a frame is centred, in samples: 0 for centred framing.
        context: frames that the convolution before the interpolation sees on each side.
        hidden: channels of a ReLU and a 1x1 convolution after that one; 0 for none.
    """

    def __init__(
        self,
        n_mels: int,
        cond_channels: int,
        hop_length: int,
        frame_centre: float = 0.0,
        context: int = 2,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.context = context
        self.frames = nn.Conv1d(n_mels, hidden or cond_channels, 2 * context + 1, padding=context)
        self.mixed = nn.Conv1d(hidden, cond_channels, 1) if hidden else None
        self.weight = nn.Parameter(interpolation_weights(hop_length, frame_centre))

    @property
    def frame_context(self) -> int:
        """Frames needed on each side of a frame for its samples to be exact."""
        return self.context + 1

    def frame_features(self, mel: Tensor, mask: Tensor | None = None, steady: Tensor | None = None) -> Conditioning:
        """The same features before the interpolation, for 1x1 convolutions that come after it.

        Args:
            mel: ``[B, M, F]``.
            mask: of the frames, ``[B, 1, F]``. After an utterance's end the interpolation runs out over one frame more.
            steady: added to the features at all times, ``[B, cond_channels, 1]``.
        """
        features = self.frames(masked(mel, mask))
        if self.mixed is not None:
            features = self.mixed(torch.relu(features))
        return Conditioning(masked(features, mask), self.weight, steady)

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mel [B, M, F]``, frame mask ``[B, 1, F]`` -> ``cond [B, cond_channels, F * hop_length]``."""
        return masked(self.frame_features(mel, mask).samples(), repeat_mask(mask, self.hop_length))


class TransposedUpsampler(nn.Module):
    """WaveGlow's upsampler: one transposed convolution over all channels, cut to ``F * hop_length`` samples.

    The samples of frame ``f`` depend on the frames ``f - taps + 1 ... f``.

    Args:
        n_mels: mel bands.
        cond_channels: channels of the result.
        hop_length: samples per frame, any number.
        taps: frames that reach each sample; the kernel has ``taps * hop_length`` samples.

    References:
        Prenger, Valle and Catanzaro, "WaveGlow", 2018, https://arxiv.org/abs/1811.00002
    """

    def __init__(self, n_mels: int, cond_channels: int, hop_length: int, taps: int = 4) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.taps = taps
        self.upsample = nn.ConvTranspose1d(n_mels, cond_channels, taps * hop_length, stride=hop_length)

    @property
    def frame_context(self) -> int:
        """Frames needed before a frame for its samples to be exact."""
        return self.taps - 1

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mel [B, M, F]``, frame mask ``[B, 1, F]`` -> ``cond [B, C, F * hop_length]``."""
        with full_precision(mel):
            cond = self.upsample(masked(wide(mel), mask))[..., : mel.shape[-1] * self.hop_length]
        return masked(cond, repeat_mask(mask, self.hop_length))


def lowest_rate(
    upsampler: Upsampler, mel: Tensor, mask: Tensor | None = None, steady: Tensor | None = None
) -> Conditioning:
    """Features at the lowest rate at which 1x1 convolutions may act on them: the frames' where that is exact.

    Args:
        upsampler: from frames to samples.
        mel: ``[B, M, F]``.
        mask: of the frames, ``[B, 1, F]``.
        steady: added to the features at all times, ``[B, C, 1]``.
    """
    if isinstance(upsampler, InterpolatingUpsampler):
        return upsampler.frame_features(mel, mask, steady)
    cond = upsampler(mel, mask)
    return Conditioning(cond if steady is None else cond + steady)


def make_upsampler(
    name: UpsamplerName,
    contract: MelContract,
    cond_channels: int,
    taps: int = 4,
    *,
    scales: Sequence[int] | None = None,
    context: int = 2,
    overlap: bool = True,
    slope: float = 0.4,
    hidden: int = 0,
    samples_per_step: int = 1,
) -> Upsampler:
    """The upsampler that a recipe names by ``upsampler``.

    Args:
        name: ``interpolate`` (:class:`InterpolatingUpsampler`), ``transposed`` (:class:`TransposedUpsampler`),
            ``transposed2d`` (:class:`TransposedUpsampler2d`, which keeps the number of bands) or ``stretch``
            (:class:`StretchUpsampler`).
        contract: gives bands, hop and framing.
        cond_channels: channels of the result.
        taps: mel frames that reach each sample of ``transposed``.
        scales: factors of ``transposed2d`` and ``stretch``; two by default.
        context: frames on each side that the convolution before ``interpolate`` and ``stretch`` sees.
        overlap: see :class:`TransposedUpsampler2d`.
        slope: see :class:`TransposedUpsampler2d`.
        hidden: channels between two convolutions of ``interpolate``; 0 for a single one.
        samples_per_step: samples that share their features; they divide the hop.

    Raises:
        ValueError: hidden channels with another upsampler, the factors do not multiply to the hop, or ``transposed2d``
            would have to change the number of channels.
    """
    hop = contract.hop_length // samples_per_step
    if name == "interpolate":
        centre = contract.hop_length / 2 if contract.framing == "half_hop" else 0.0
        # In steps, each of which stands for the middle of its samples.
        centre = (centre + 0.5) / samples_per_step - 0.5
        return InterpolatingUpsampler(contract.n_mels, cond_channels, hop, centre, context, hidden)
    if hidden:
        raise ValueError(f"cond_hidden goes with upsampler = interpolate, not with {name}")
    if name == "transposed":
        return TransposedUpsampler(contract.n_mels, cond_channels, hop, taps)
    factors = two_factors(hop) if scales is None else list(scales)
    if math.prod(factors) != hop:
        raise ValueError(f"upsample_scales = {factors} multiply to {math.prod(factors)}, not to the hop of {hop}")
    if name == "stretch":
        return StretchUpsampler(contract.n_mels, cond_channels, factors, context)
    if cond_channels != contract.n_mels:
        raise ValueError(f"upsampler = transposed2d keeps the {contract.n_mels} mel bands; let cond_channels be that")
    return TransposedUpsampler2d(factors, slope, overlap=overlap)


def two_factors(number: int) -> list[int]:
    """Two factors as near to each other as can be, the larger first; even ones where there are any.

    >>> two_factors(256), two_factors(200), two_factors(7)
    ([16, 16], [20, 10], [7, 1])
    """
    pairs = [(number // small, small) for small in range(1, math.isqrt(number) + 1) if number % small == 0]
    even = [pair for pair in pairs if pair[0] % 2 == 0 and pair[1] % 2 == 0]
    return list((even or pairs)[-1])
