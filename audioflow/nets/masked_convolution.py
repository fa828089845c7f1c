"""Convolutions that see what :mod:`audioflow.nets.sight` allows."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from typing_extensions import override

from audioflow.nets.pointwise import conv1x1
from audioflow.nets.sight import Sight, padding, tap_offsets, visible
from audioflow.nets.weight_norm import weight_normed


class Visible(nn.Module):
    """A parametrisation that sets the weights of unseen inputs to zero."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        # It follows from the layer's settings, so it is not stored with the weights.
        self.register_buffer("mask", mask.contiguous(), persistent=False)

    @override
    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Give the weight that is stored for a wanted one: its unseen part is zero already."""
        return weight * self.mask


class MaskedConv1d(nn.Conv1d):
    """A convolution over time that keeps the length and sees what it may.

    ``x [B, in, T] -> [B, out, T]``; what lies before the start and after the end is taken to be zero.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the result.
        kernel_size: taps; odd where both sides are seen.
        dilation: steps from tap to tap.
        sight: what is seen along time.
        in_degrees: degree of each input channel, ``[in]``; without degrees every channel sees every other.
        out_degrees: degree of each output channel, ``[out]``.
        bias: whether there is one.
        normed: whether the weight is normalised, over what is seen.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        dilation: int = 1,
        sight: Sight = "all",
        in_degrees: Tensor | None = None,
        out_degrees: Tensor | None = None,
        bias: bool = True,
        normed: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, dilation=dilation, bias=bias)
        self.offsets = tap_offsets(kernel_size, dilation, sight)
        mask = None
        if in_degrees is not None and out_degrees is not None:
            mask = visible(out_degrees, in_degrees, self.offsets, sight)
            with torch.no_grad():
                self.weight.mul_(mask)
        # The norm is taken first, and of what is seen: unseen weights are zero, and get no gradient.
        if normed:
            weight_normed(self)
        if mask is not None and not bool(mask.all()):
            parametrize.register_parametrization(self, "weight", Visible(mask))

    @override
    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, padding(self.offsets))
        if self.kernel_size[0] == 1:
            return conv1x1(padded, self.weight, self.bias)
        return functional.conv1d(padded, self.weight, self.bias, dilation=self.dilation)


class MaskedConv2d(nn.Conv2d):
    """A convolution over rows and time that keeps both lengths: ``x [B, in, H, T] -> [B, out, H, T]``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the result.
        kernel_size: taps along rows and along time.
        dilation: rows, and steps, from tap to tap.
        sight: what is seen along rows and along time.
        bias: whether there is one.
        normed: whether the weight is normalised.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int] = (1, 1),
        *,
        dilation: tuple[int, int] = (1, 1),
        sight: tuple[Sight, Sight] = ("past", "all"),
        bias: bool = True,
        normed: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, dilation=dilation, bias=bias)
        self.row_offsets = tap_offsets(kernel_size[0], dilation[0], sight[0])
        self.step_offsets = tap_offsets(kernel_size[1], dilation[1], sight[1])
        if normed:
            weight_normed(self)

    @override
    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (*padding(self.step_offsets), *padding(self.row_offsets)))
        return functional.conv2d(padded, self.weight, self.bias, dilation=self.dilation)


@torch.no_grad()
def start_at_zero(layer: nn.Conv1d | nn.Conv2d) -> None:
    """Set weight and bias of a last layer to zero, so that a flow around its network starts as the identity."""
    original = layer.parametrizations.weight.original if parametrize.is_parametrized(layer) else layer.weight  # type: ignore[union-attr]
    original.zero_()  # type: ignore[operator]
    if layer.bias is not None:
        layer.bias.zero_()


def bias_of(layer: nn.Conv1d | nn.Conv2d) -> Tensor:
    """The bias of a layer; zeros where it has none."""
    return layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
