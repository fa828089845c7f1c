"""A WaveNet that sees both sides, with the ends of a WaveNet that sees the past: the network of FloWaveNet."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from audioflow.nets.conditioning import Conditioning
from audioflow.nets.gated_stack import GatedStack, dilation_cycle
from audioflow.nets.masked_convolution import MaskedConv1d, start_at_zero
from audioflow.nets.masks import full_precision, masked, wide
from audioflow.nets.rows import channels_of, convolved, rows_of


class FrontWaveNet(nn.Module):
    r"""Front convolution of three taps, gated stack, ReLU, 1x1, ReLU, and a scaled 1x1 that starts at zero.

    .. math:: \text{out} = (W h + b)\,e^{3 a}

    with ``a`` a parameter for each output, 0 at the start. So a flow around it starts as the identity.

    Args:
        in_channels: channels of ``x``.
        out_channels: channels of the result.
        cond_channels: channels of ``cond`` that the network sees.
        channels: residual, gate and skip channels.
        layers: dilations are 1, 2, 4, ..., ``2 ** (layers - 1)``.
        kernel_size: odd.
        first_cond: number of the first channel of ``cond`` that the network sees.

    References:
        Kim, Lee, Song, Kim and Yoon, "FloWaveNet: A Generative Flow for Raw Audio", 2018, https://arxiv.org/abs/1811.02155
        Kingma and Dhariwal, "Glow", 2018, https://arxiv.org/abs/1807.03039 (the scaled layer that starts at zero)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        cond_channels: int,
        channels: int,
        layers: int,
        kernel_size: int = 3,
        first_cond: int = 0,
    ) -> None:
        super().__init__()
        self.seen = slice(first_cond, first_cond + cond_channels)
        self.front = MaskedConv1d(in_channels, channels, 3)
        self.stack = GatedStack(
            channels,
            channels,
            cond_channels,
            dilation_cycle(layers, layers),
            kernel_size,
            sight="all",
            residual_scale=0.5**0.5,
        )
        self.hidden = MaskedConv1d(channels, channels)
        self.end = MaskedConv1d(channels, out_channels, normed=False)
        self.end_scale = nn.Parameter(torch.zeros(out_channels, 1))
        start_at_zero(self.end)

    @property
    def context_steps(self) -> int:
        """Steps seen on each side."""
        return max(self.front.offsets) + self.stack.context // 2

    def forward(self, x: Tensor, cond: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """``x [B, in, T]``, ``cond [B, M, T]`` -> ``[B, out, T]``; first and last layer in float32 under autocast."""
        shares = self.stack.shares(Conditioning.of_steps(None if cond is None else cond[:, self.seen]))
        if self.stack.runs_by_rows(wide(x), shares):
            with full_precision(x):
                h = masked(channels_of(functional.relu(convolved(self.front, rows_of(wide(x))))), mask)
                h = functional.relu(rows_of(self.stack(h, shares, mask)))
                h = channels_of(convolved(self.end, functional.relu(convolved(self.hidden, h))))
                return masked(h.contiguous() * torch.exp(3 * self.end_scale), mask)
        with full_precision(x):
            h = masked(functional.relu(self.front(wide(x))), mask)
        skips = self.stack(h, shares, mask)
        hidden = functional.relu(self.hidden(functional.relu(skips)))
        with full_precision(x):
            return masked(self.end(wide(hidden)) * torch.exp(3 * self.end_scale), mask)
