"""Two networks around the gated stack: one that may look at the past only, and one that sees both sides."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from audioflow.nets.conditioning import Conditioning
from audioflow.nets.gated_stack import GatedStack, dilation_cycle
from audioflow.nets.masked_convolution import MaskedConv1d, bias_of, start_at_zero
from audioflow.nets.masks import full_precision, masked, wide
from audioflow.nets.rows import channels_of, convolved, rows_of


class WaveNetConditioner(nn.Module):
    """A WaveNet that sees both sides: 1x1 in, gated stack, 1x1 out, as in WaveGlow's couplings.

    The last layer starts at zero, so that a flow around it starts as the identity.

    Args:
        in_channels: channels of ``x``.
        out_channels: channels of the result.
        cond_channels: channels of ``cond``.
        channels: residual and skip channels.
        layers: dilations are 1, 2, 4, ..., ``2 ** (layers - 1)``.
        kernel_size: odd.

    References:
        Prenger, Valle and Catanzaro, "WaveGlow", 2018, https://arxiv.org/abs/1811.00002
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        cond_channels: int,
        channels: int,
        layers: int,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        self.start = MaskedConv1d(in_channels, channels)
        self.stack = GatedStack(
            channels,
            channels,
            cond_channels,
            dilation_cycle(layers, layers),
            kernel_size,
            sight="all",
        )
        self.end = MaskedConv1d(channels, out_channels, normed=False)
        start_at_zero(self.end)

    @property
    def context_steps(self) -> int:
        """Steps seen on each side."""
        return self.stack.context // 2

    def forward(self, x: Tensor, cond: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """``x [B, in, T]``, ``cond [B, M, T]`` -> ``[B, out, T]``; first and last layer in float32 under autocast."""
        return self.conditioned(x, Conditioning.of_steps(cond), mask)

    def conditioned(self, x: Tensor, cond: Conditioning | None, mask: Tensor | None = None) -> Tensor:
        """:meth:`forward` with conditioning at the lowest rate."""
        shares = self.stack.shares(cond)
        by_steps, by_rows = self.stack.fuses(x, shares), self.stack.runs_by_rows(wide(x), shares)
        with full_precision(x):
            if by_rows:
                h = masked(channels_of(convolved(self.start, rows_of(wide(x)))), mask)
                h = convolved(self.end, rows_of(self.stack(h, shares, mask)))
                return masked(channels_of(h).contiguous(), mask)
            h = masked(_pointwise(self.start, wide(x), by_steps=by_steps), mask)
        h = self.stack(h, shares, mask)
        with full_precision(x):
            return masked(_pointwise(self.end, wide(h), by_steps=by_steps), mask)


def _pointwise(layer: MaskedConv1d, x: Tensor, *, by_steps: bool) -> Tensor:
    """A convolution of one tap; ``by_steps`` with the channels of a step side by side, as a fused stack has them."""
    if not by_steps:
        return layer(x)  # type: ignore[no-any-return]
    return functional.linear(x.transpose(1, 2), layer.weight[..., 0], layer.bias).transpose(1, 2)


@dataclass
class StepState:
    """Everything that one step of a :class:`CausalWaveNet` needs from the steps before it.

    Attributes:
        step: number of the next step.
        window: the last inputs, the oldest first, ``[B, taps * in]``; the front and the linear prediction see them.
        front: matrix ``[taps * in, channels]`` and bias of the first convolution.
        linear: matrix ``[taps * in, out]`` of the linear prediction.
        past: per dilated convolution a ring of its last ``(kernel_size - 1) * dilation`` inputs ``[B, channels]``.
        weights: per dilated convolution its taps ``[kernel_size, in, out]`` and bias, weight norm worked out.
        outputs: per layer the matrix ``[in, out]`` and bias of its output, and likewise of the head.
    """

    step: int
    window: Tensor
    front: tuple[Tensor, Tensor]
    linear: Tensor | None
    past: list[list[Tensor]]
    weights: list[tuple[Tensor, Tensor]]
    outputs: list[tuple[Tensor, Tensor]]


class CausalWaveNet(nn.Module):
    """A WaveNet whose output at ``t`` depends on ``x`` before ``t`` only, and on the conditioning up to ``t``.

    Front convolution, gated stack, then ReLU, 1x1, ReLU, 1x1. It runs over a whole signal at once, or step by step with
    an explicit state; both give the same numbers. A linear prediction from the last ``linear_taps`` inputs is added to
    the result: most of what can be said of the next sample of speech is linear, and gates that saturate are slow to
    find it. It starts at zero, and so does the last layer.

    Args:
        in_channels: channels of ``x``.
        out_channels: channels of the result.
        cond_channels: channels of ``cond``; 0 for none.
        layers: gated layers.
        cycle: layers after which the dilations start again at 1.
        channels: residual channels.
        skip_channels: channels of the head.
        kernel_size: taps of the dilated convolutions.
        front_kernel_size: taps of the first convolution.
        linear_taps: inputs that the result sees directly; 0 for none, as in the literature.
        speaker_channels: channels of a speaker embedding; 0 for none.
        gate_channels: channels of each gate; as many as residual ones by default.
        front_relu: whether a ReLU follows the first convolution, as in ClariNet.

    References:
        van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, https://arxiv.org/abs/1609.03499
        Paine et al., "Fast Wavenet Generation Algorithm", 2016, https://arxiv.org/abs/1611.09482 (the rings)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        cond_channels: int,
        layers: int,
        cycle: int,
        channels: int,
        skip_channels: int,
        kernel_size: int = 2,
        front_kernel_size: int = 1,
        linear_taps: int = 0,
        speaker_channels: int = 0,
        gate_channels: int | None = None,
        *,
        front_relu: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.front = MaskedConv1d(in_channels, channels, front_kernel_size, sight="before")
        self.front_relu = front_relu
        self.stack = GatedStack(
            channels,
            skip_channels,
            cond_channels,
            dilation_cycle(layers, cycle),
            kernel_size,
            sight="past",
            gate_channels=gate_channels,
            speaker_channels=speaker_channels,
            residual_scale=0.5**0.5,
        )
        self.skip_scale = layers**-0.5
        self.hidden = MaskedConv1d(skip_channels, skip_channels)
        self.end = MaskedConv1d(skip_channels, out_channels, normed=False)
        start_at_zero(self.end)
        self.linear_taps = linear_taps
        self.linear = None
        if linear_taps:
            self.linear = MaskedConv1d(in_channels, out_channels, linear_taps, sight="before", bias=False, normed=False)
            start_at_zero(self.linear)

    @property
    def receptive_field(self) -> int:
        """Number of past samples that reach one output."""
        return max(self.stack.context + self.front.kernel_size[0], self.linear_taps)

    @classmethod
    def from_settings(
        cls,
        settings: Mapping[str, Any],
        in_channels: int,
        out_channels: int,
        cond_channels: int,
        layers: int,
        speaker_channels: int = 0,
    ) -> "CausalWaveNet":
        """The network that a recipe describes by ``cycle``, ``residual_channels``, ``gate_channels`` and so on."""
        return cls(
            in_channels,
            out_channels,
            cond_channels,
            layers,
            settings["cycle"],
            settings["residual_channels"],
            settings["skip_channels"],
            settings["kernel_size"],
            settings["front_kernel_size"],
            settings["linear_taps"],
            speaker_channels,
            settings["gate_channels"] or None,
            front_relu=settings["front_relu"],
        )

    def project(self, cond: Conditioning | None, speaker: Tensor | None = None) -> Tensor | None:
        """See :meth:`GatedStack.project`."""
        return self.stack.project(cond, speaker)

    def shares(self, cond: Conditioning | None, speaker: Tensor | None = None) -> Iterator[Tensor | None]:
        """See :meth:`GatedStack.shares`."""
        return self.stack.shares(cond, speaker)

    def forward(
        self,
        x: Tensor,
        projected: Tensor | Iterable[Tensor | None] | None,
        mask: Tensor | None = None,
        hidden: list[Tensor] | None = None,
    ) -> Tensor:
        """All steps at once.

        Args:
            x: ``[B, in, T]``; the output at ``t`` sees ``x[..., :t]``.
            projected: ``[B, 2 * gate_channels * L, T]`` from :meth:`project`, or :meth:`shares`.
            mask: ``[B, 1, T]`` or ``None``.
            hidden: takes what each gated layer is given, ``[B, channels, T]``.

        Returns:
            ``[B, out, T]``, in float32 or wider also under autocast.
        """
        if hidden is None and self.stack.runs_by_rows(wide(x), projected):
            return self._by_rows(x, projected, mask)
        with full_precision(x):
            h = self.front(wide(x))
            h = masked(functional.relu(h) if self.front_relu else h, mask)
        skips = self.stack(h, projected, mask, hidden) * self.skip_scale
        h = self.hidden(functional.relu(skips))
        with full_precision(x):
            out = self.end(functional.relu(wide(h)))
            if self.linear is not None:
                out = out + self.linear(wide(x))
            return masked(out, mask)

    def _by_rows(self, x: Tensor, projected: Tensor | Iterable[Tensor | None] | None, mask: Tensor | None) -> Tensor:
        """:meth:`forward` where the stack runs by rows: what is before it and after it as well, in full precision."""
        with full_precision(x):
            rows = rows_of(wide(x))
            h = convolved(self.front, rows)
            h = masked(channels_of(functional.relu(h) if self.front_relu else h), mask)
            h = functional.relu(rows_of(self.stack(h, projected, mask)))
            # A positive factor may come after a ReLU, and there before the sums.
            h = functional.linear(h, self.hidden.weight[..., 0] * self.skip_scale, self.hidden.bias)
            out = convolved(self.end, functional.relu(h))
            if self.linear is not None:
                out = out + convolved(self.linear, rows)
            return masked(channels_of(out).contiguous(), mask)

    def init_state(self, batch: int) -> StepState:
        """State before the first step of ``batch`` signals: silence, as if zeros had come before."""
        convolutions: list[tuple[nn.Conv1d, int]]
        convolutions = list(zip(self.stack.convolutions, self.stack.dilations, strict=True))  # type: ignore[arg-type]
        pointwise = [*self.stack.outputs, self.hidden, self.end]
        like = self.end.weight
        longest = max(self.front.kernel_size[0], self.linear_taps)
        return StepState(
            step=0,
            window=like.new_zeros(batch, longest * self.in_channels),
            front=(_flat(self.front), bias_of(self.front)),
            linear=None if self.linear is None else _flat(self.linear),
            past=[[like.new_zeros(batch, c.in_channels)] * ((c.kernel_size[0] - 1) * d) for c, d in convolutions],
            weights=[(c.weight.permute(2, 1, 0).contiguous(), bias_of(c)) for c, _ in convolutions],
            outputs=[(c.weight[..., 0].t().contiguous(), bias_of(c)) for c in pointwise],  # type: ignore[index,union-attr,arg-type]
        )

    def step(self, state: StepState, x: Tensor, projected: Tensor | None) -> tuple[Tensor, StepState]:
        """One step.

        Args:
            state: from :meth:`init_state` or the step before; consumed, its rings are written in place.
            x: the sample before this step (zeros before the first), ``[B, in]``.
            projected: conditioning of this step, ``[B, 2 * gate_channels * L]``.

        Returns:
            The output at this step, ``[B, out]``, and the state for the next.
        """
        state.window = self.moved(state.window, x)
        out = self.step_with(state, state.window, projected, partial(self._tap, state))
        state.step += 1
        return out, state

    def moved(self, window: Tensor, x: Tensor) -> Tensor:
        """The window a step later, with ``x [B, in]`` at its end."""
        return torch.cat([window[:, self.in_channels :], x], dim=1)

    def step_with(
        self, state: StepState, window: Tensor, projected: Tensor | None, convolve: Callable[[int, Tensor], Tensor]
    ) -> Tensor:
        """The output ``[B, out]`` of a step, where ``convolve`` keeps what the dilated convolutions see of the past.

        Args:
            state: whose weights are used.
            window: the last inputs, see :class:`StepState`.
            projected: see :meth:`step`.
            convolve: from the number of a layer and its input ``[B, channels]`` to its sums ``[B, 2 * gate_channels]``.
        """
        stack = self.stack
        layers = len(stack.dilations)
        shares = [None] * layers if projected is None else projected.chunk(layers, dim=1)
        matrix, bias = state.front
        h = torch.addmm(bias, window[:, -matrix.shape[0] :], matrix)
        if self.front_relu:
            h = functional.relu(h)
        skips: Tensor | None = None
        out: Tensor
        for layer in range(layers):
            a = convolve(layer, h)
            share = shares[layer]
            if share is not None:
                a = a + share
            filter_, gate = a.chunk(2, dim=1)
            matrix, bias = state.outputs[layer]
            y = torch.addmm(bias, torch.tanh(filter_) * torch.sigmoid(gate), matrix)
            if layer < layers - 1:
                h = (h + y[:, : stack.channels]) * stack.residual_scale
                y = y[:, stack.channels :]
            skips = y if skips is None else skips + y
        assert skips is not None  # noqa: S101  (a stack has at least one layer)
        out = skips * self.skip_scale
        for matrix, bias in state.outputs[layers:]:
            out = torch.addmm(bias, functional.relu(out), matrix)
        if state.linear is not None:
            out = torch.addmm(out, window[:, -state.linear.shape[0] :], state.linear)
        return out

    def _tap(self, state: StepState, index: int, x: Tensor) -> Tensor:
        """Convolution ``index`` at this step: its new input ``x [B, C]`` and what its ring remembers.

        A ring of kernel 3, dilation 2 holds the inputs of steps t-4 ... t-1; the slot of t-4 is read, then reused::

            step 5:  slot = 5 % 4 = 1:  taps are slots 1 (t-4), 3 (t-2), and x; then slot 1 <- x
        """
        taps, bias = state.weights[index]
        ring, dilation = state.past[index], self.stack.dilations[index]
        result = torch.addmm(bias, x, taps[-1])
        for tap in range(taps.shape[0] - 1):
            result = torch.addmm(result, ring[(state.step + tap * dilation) % len(ring)], taps[tap])
        if ring:
            ring[state.step % len(ring)] = x
        return result


def _flat(layer: nn.Conv1d) -> Tensor:
    """Weights of a convolution as a matrix ``[taps * in, out]``, the oldest tap first."""
    return layer.weight.permute(2, 1, 0).reshape(-1, layer.out_channels).contiguous()
