"""The WaveNet's body: dilated convolutions with gates, residual and skip connections, conditioning in every layer."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from audioflow.nets.masks import masked
from audioflow.nets.weight_norm import weight_normed


def dilation_cycle(layers: int, cycle: int) -> list[int]:
    """Dilations 1, 2, 4, ... starting again after ``cycle`` layers: ``dilation_cycle(5, 3) == [1, 2, 4, 1, 2]``.

    >>> dilation_cycle(5, 3)
    [1, 2, 4, 1, 2]
    """
    return [2 ** (layer % cycle) for layer in range(layers)]


class GatedStack(nn.Module):
    r"""A stack of gated dilated convolutions.

    Layer ``l`` computes, with ``*`` the dilated convolution and ``c`` the conditioning features,

    .. math::
        a, b = \text{split}(W_l * h_l + V_l c + U_l s) \qquad
        g = \tanh(a) \odot \sigma(b) \qquad
        h_{l+1} = (h_l + R_l g)\,\rho \qquad
        \text{skip} \mathrel{+}= S_l g

    Args:
        channels: residual channels; the gate has as many.
        skip_channels: channels of the result.
        cond_channels: channels of ``cond``; 0 for an unconditional stack.
        dilations: one per layer.
        kernel_size: taps of every dilated convolution; odd when not causal.
        causal: whether step ``t`` sees steps up to ``t`` only, or as many on either side.
        speaker_channels: channels of a global (speaker) embedding; 0 for none.
        residual_scale: ``rho``; 1 in WaveGlow, the square root of 1/2 in most autoregressive WaveNets.

    References:
        van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, https://arxiv.org/abs/1609.03499
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        cond_channels: int,
        dilations: Sequence[int],
        kernel_size: int,
        *,
        causal: bool,
        speaker_channels: int = 0,
        residual_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if not causal and kernel_size % 2 == 0:
            raise ValueError(f"a stack that is not causal needs an odd kernel_size, not {kernel_size}")
        self.channels = channels
        self.dilations = list(dilations)
        self.kernel_size = kernel_size
        self.causal = causal
        self.residual_scale = residual_scale
        layers = len(self.dilations)
        last = layers - 1
        self.convolutions = nn.ModuleList(
            weight_normed(nn.Conv1d(channels, 2 * channels, kernel_size, dilation=d)) for d in self.dilations
        )
        # The last layer has no residual output: nobody would read it.
        self.outputs = nn.ModuleList(
            weight_normed(nn.Conv1d(channels, skip_channels + (channels if layer < last else 0), 1))
            for layer in range(layers)
        )
        self.condition = weight_normed(nn.Conv1d(cond_channels, 2 * channels * layers, 1)) if cond_channels else None
        self.speaker = (
            weight_normed(nn.Conv1d(speaker_channels, 2 * channels * layers, 1, bias=False))
            if speaker_channels
            else None
        )

    @property
    def context(self) -> int:
        """Steps that are seen before the current one (and, when not causal, half of them after it instead)."""
        return (self.kernel_size - 1) * sum(self.dilations)

    def project(self, cond: Tensor | None, speaker: Tensor | None = None) -> Tensor | None:
        """Conditioning of all layers: ``cond [B, M, T]``, ``speaker [B, S]`` -> ``[B, 2 * channels * L, T]``."""
        projected = None
        if self.condition is not None and cond is not None:
            projected = self.condition(cond)
        if self.speaker is not None and speaker is not None:
            voice = self.speaker(speaker[..., None])
            projected = voice if projected is None else projected + voice
        return projected

    def shares(self, cond: Tensor | None, speaker: Tensor | None = None) -> Iterator[Tensor | None]:
        """The same layer by layer, ``[B, 2 * channels, T]`` each: a long signal needs memory for one at a time."""
        voice = None if self.speaker is None or speaker is None else self.speaker(speaker[..., None])
        weight = None if self.condition is None or cond is None else self.condition.weight
        for layer in range(len(self.dilations)):
            rows = slice(2 * self.channels * layer, 2 * self.channels * (layer + 1))
            share = None if voice is None else voice[:, rows]
            if weight is not None:
                bias = self.condition.bias[rows]  # type: ignore[union-attr,index]
                projected = functional.conv1d(cond, weight[rows], bias)  # type: ignore[arg-type]
                share = projected if share is None else projected + share
            yield share

    def forward(
        self, x: Tensor, projected: Tensor | Iterable[Tensor | None] | None, mask: Tensor | None = None
    ) -> Tensor:
        """Run all layers.

        Args:
            x: ``[B, channels, T]``, zero outside the mask.
            projected: ``[B, 2 * channels * L, T]`` (or ``T = 1``) from :meth:`project`, or :meth:`shares`.
            mask: ``[B, 1, T]`` or ``None``.

        Returns:
            The sum of the skips, ``[B, skip_channels, T]``.
        """
        count = len(self.dilations)
        shares: Iterable[Tensor | None] = [None] * count if projected is None else projected
        if isinstance(projected, Tensor):
            shares = projected.chunk(count, dim=1)
        skips: Tensor | None = None
        layers = zip(self.convolutions, self.outputs, self.dilations, shares, strict=True)
        for layer, (convolution, output, dilation, share) in enumerate(layers):
            a = convolution(self._pad(x, dilation))
            if share is not None:
                a = a + share
            filter_, gate = a.chunk(2, dim=1)
            y = output(torch.tanh(filter_) * torch.sigmoid(gate))
            if layer < len(self.dilations) - 1:
                residual, skip = y.split([self.channels, y.shape[1] - self.channels], dim=1)
                x = masked((x + residual) * self.residual_scale, mask)
            else:
                skip = y
            skips = skip if skips is None else skips + skip
        assert skips is not None  # noqa: S101  (a stack has at least one layer)
        return masked(skips, mask)

    def _pad(self, x: Tensor, dilation: int) -> Tensor:
        reach = (self.kernel_size - 1) * dilation
        return functional.pad(x, (reach, 0) if self.causal else (reach // 2, reach // 2))
