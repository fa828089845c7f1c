"""A WaveNet whose channels have degrees: a MADE over channels and a WaveNet over time in one network."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from audioflow.nets.conditioning import Conditioning
from audioflow.nets.gated_stack import GatedStack, dilation_cycle
from audioflow.nets.masked_convolution import MaskedConv1d, bias_of, start_at_zero
from audioflow.nets.masks import full_precision, masked, wide
from audioflow.nets.rows import channels_of, convolved, rows_of
from audioflow.nets.sight import TOLD, padding, spread_degrees
from audioflow.nets.slots import ChannelNet, Units


@dataclass
class MaskedState:
    """What :meth:`MaskedWaveNet.step` needs from the steps before it.

    Attributes:
        position: channels that are known.
        mask: of the signal.
        projected: conditioning of all layers, ``[B, 2 * channels * L, T]`` or ``None``.
        weights: weight and bias of the first layer, of each dilated convolution, of each output, of the last layer.
        inputs: known channels of the signal in order of visit.
        residuals: per layer its input, as far as it is known.
        gates: per layer its gates.
        skips: their sum.
    """

    position: int
    mask: Tensor | None
    projected: Tensor | None
    weights: "MaskedWeights"
    inputs: Units
    residuals: list[Units]
    gates: list[Units]
    skips: Units


@dataclass
class MaskedWeights:
    """Weights and biases with masks and normalisation worked out."""

    start: tuple[Tensor, Tensor]
    convolutions: list[tuple[Tensor, Tensor]]
    outputs: list[tuple[Tensor, Tensor]]
    end: tuple[Tensor, Tensor]


class MaskedWaveNet(ChannelNet[MaskedState]):
    """Parameters of each channel from the channels before it, at all of time around, and the conditioning.

    1x1 in, gated stack, 1x1 out, as in :class:`audioflow.nets.wavenet.WaveNetConditioner`; but every hidden channel has
    a degree, and no weight leads from a higher to a lower one, at any tap. Channel by channel, the hidden channels of
    one degree are computed for the whole signal, once.

    The last layer starts at zero.

    Args:
        rows: channels of ``x``.
        outputs: numbers ``P`` for each.
        cond_channels: channels of ``cond``; 0 for none.
        channels: hidden channels, all degrees together.
        layers: dilations are 1, 2, 4, ..., ``2 ** (layers - 1)``.
        kernel_size: odd.
        order: channels of ``x`` in order of visit; one after the other by default.

    References:
        Germain, Gregor, Murray and Larochelle, "MADE", 2015, https://arxiv.org/abs/1502.03509
        Papamakarios, Pavlakou and Murray, "Masked Autoregressive Flow", 2017, https://arxiv.org/abs/1705.07057
    """

    def __init__(
        self,
        rows: int,
        outputs: int,
        cond_channels: int,
        channels: int,
        layers: int,
        kernel_size: int = 3,
        order: Sequence[int] | None = None,
    ) -> None:
        super().__init__(list(range(rows)) if order is None else order)
        self.channels, self.outputs = channels, outputs
        positions = torch.argsort(self.order)
        degrees = spread_degrees(channels, TOLD, max(rows - 2, TOLD))
        # Some of its units see nothing of x, and nothing cannot be normalised.
        self.start = MaskedConv1d(rows, channels, in_degrees=positions, out_degrees=degrees, normed=False)
        self.stack = GatedStack(
            channels,
            channels,
            cond_channels,
            dilation_cycle(layers, layers),
            kernel_size,
            sight="all",
            degrees=degrees,
        )
        self.end = MaskedConv1d(
            channels, outputs * rows, in_degrees=degrees, out_degrees=(positions - 1).repeat(outputs), normed=False
        )
        start_at_zero(self.end)
        self._offsets: list[list[int]] = [c.offsets for c in self.stack.convolutions]  # type: ignore[misc,union-attr]
        self._upto = [int((degrees <= degree).sum()) for degree in range(TOLD, rows)]

    @property
    @override
    def context_steps(self) -> int:
        return self.stack.context // 2

    @override
    def forward(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        shares = self.stack.shares(Conditioning.of_steps(cond))
        if self.stack.runs_by_rows(wide(x), shares):
            with full_precision(x):
                h = masked(channels_of(convolved(self.start, rows_of(wide(x)))), mask)
                h = channels_of(convolved(self.end, rows_of(self.stack(h, shares, mask))))
                return masked(h.contiguous(), mask)
        with full_precision(x):
            h = masked(self.start(wide(x)), mask)
        h = self.stack(h, shares, mask)
        with full_precision(x):
            return masked(self.end(wide(h)), mask)

    @override
    def init_state(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> MaskedState:
        like, channels, stack = wide(z), self.channels, self.stack
        return MaskedState(
            position=0,
            mask=mask,
            projected=stack.project(Conditioning.of_steps(cond)),
            weights=MaskedWeights(
                start=(self.start.weight[:, self.order], bias_of(self.start)),
                convolutions=[(c.weight, bias_of(c)) for c in stack.convolutions],  # type: ignore[misc,arg-type]
                outputs=[(c.weight, bias_of(c)) for c in stack.outputs],  # type: ignore[misc,arg-type]
                end=(self.end.weight, bias_of(self.end)),
            ),
            inputs=Units(like, len(self.order), axis=1),
            residuals=[Units(like, channels, axis=1) for _ in stack.dilations],
            gates=[Units(like, channels, axis=1) for _ in stack.dilations],
            skips=Units(like, channels, axis=1),
        )

    @override
    def step(self, state: MaskedState, previous: Tensor | None) -> tuple[Tensor, MaskedState]:
        if previous is not None:
            state.inputs.add(wide(previous))
            state.position += 1
        fresh = slice(state.skips.known, self._upto[state.position])
        if fresh.stop > fresh.start:
            self._advance(state, fresh)
        rows = slice(int(self.order[state.position]), None, len(self.order))
        weight, bias = state.weights.end
        skips = state.skips.all()
        with full_precision(skips):
            params = weight[rows, : skips.shape[1], 0] @ wide(skips) + bias[rows, None]
        return masked(params, state.mask), state

    def _advance(self, state: MaskedState, fresh: slice) -> None:
        """Compute in every layer the channels ``fresh``, whose degree is that of the newest channel of ``x``."""
        stack, weights, known = self.stack, state.weights, fresh.stop
        count = fresh.stop - fresh.start
        x = state.inputs.all()
        weight, bias = weights.start
        with full_precision(x):
            # A product, since a convolution of no channels is none.
            h = masked(weight[fresh, : x.shape[1], 0] @ x + bias[fresh, None], state.mask)
        skips: Tensor | None = None
        second = slice(fresh.start + self.channels, fresh.stop + self.channels)
        for layer, dilation in enumerate(stack.dilations):
            state.residuals[layer].add(h)
            seen = functional.pad(state.residuals[layer].all(), padding(self._offsets[layer]))
            a = functional.conv1d(seen, *_rows(weights.convolutions[layer], [fresh, second], known), dilation=dilation)
            if state.projected is not None:
                share = state.projected.narrow(1, 2 * self.channels * layer, 2 * self.channels)
                a = a + torch.cat([share[:, fresh], share[:, second]], dim=1)
            filter_, gate = a.chunk(2, dim=1)
            state.gates[layer].add(torch.tanh(filter_) * torch.sigmoid(gate))
            # The last layer has skips only.
            parts = [fresh] if layer == len(stack.dilations) - 1 else [fresh, second]
            y = functional.conv1d(state.gates[layer].all(), *_rows(weights.outputs[layer], parts, known))
            if len(parts) > 1:
                h = masked((h + y[:, :count]) * stack.residual_scale, state.mask)
            skip = y[:, -count:]
            skips = skip if skips is None else skips + skip
        assert skips is not None  # noqa: S101  (a stack has at least one layer)
        state.skips.add(masked(skips, state.mask))


def _rows(layer: tuple[Tensor, Tensor], parts: Sequence[slice], known: int) -> tuple[Tensor, Tensor]:
    """Some rows of a layer's weight and bias, as far as its inputs are known."""
    weight, bias = layer
    return torch.cat([weight[part, :known] for part in parts]), torch.cat([bias[part] for part in parts])
