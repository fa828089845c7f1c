"""The WaveNet's body: dilated convolutions with gates, residual and skip connections, conditioning in every layer."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from audioflow.nets.conditioning import Conditioning
from audioflow.nets.kept import Kept
from audioflow.nets.masked_convolution import MaskedConv1d, bias_of
from audioflow.nets.masks import full_precision, masked, wide
from audioflow.nets.rows import channels_of, rows_of
from audioflow.nets.sight import Sight
from audioflow.nets.weight_norm import joined_weights


def dilation_cycle(layers: int, cycle: int) -> list[int]:
    """Dilations 1, 2, 4, ... starting again after ``cycle`` layers: ``dilation_cycle(5, 3) == [1, 2, 4, 1, 2]``.

    >>> dilation_cycle(5, 3)
    [1, 2, 4, 1, 2]
    """
    return [2 ** (layer % cycle) for layer in range(layers)]


def gated(sums: Tensor, share: Tensor | None = None) -> Tensor:
    """``tanh(a) sigmoid(b)`` of the halves ``a``, ``b`` of ``sums + share``: ``[B, 2 * G, T] -> [B, G, T]``.

    Without gradients it is one pass over memory where that can be compiled.
    """
    # torch.compile fuses by itself, and does not look into compiled code.
    if not torch.compiler.is_compiling() and not torch.is_grad_enabled():
        gate = _cuda_gate() if sums.is_cuda else _compiled_gate()
        if gate is not None and gate.fits(sums, share):
            fused: Tensor = gate.gate_in_one_pass(sums, share)
            return fused
    if share is not None:
        sums = sums + share
    a, b = sums.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


@cache
def _compiled_gate() -> Any:
    """The room of the compiled gate, or ``None`` where it does not compile."""
    try:
        # The compiler takes half a second to load.
        from numba.core.errors import NumbaError  # noqa: PLC0415

        from audioflow.compiled import gate  # noqa: PLC0415
    except ImportError:
        return None
    try:
        for dtype in (torch.float32, torch.bfloat16):
            gate.gate_in_one_pass(torch.zeros(1, 2, 16, dtype=dtype), None)
    except NumbaError:
        return None
    return gate


@cache
def _cuda_gate() -> Any:
    """The same for a GPU, or ``None`` where there is no compiler for GPUs."""
    try:
        from audioflow.compiled import cuda_gate  # noqa: PLC0415
    except ImportError:
        return None
    return cuda_gate


@cache
def _fused_stack() -> Any:
    """The room of the fused stack, or ``None`` where there is no compiler for GPUs."""
    try:
        from audioflow.compiled import cuda_stack  # noqa: PLC0415
    except ImportError:
        return None
    return cuda_stack


BY_ROWS = True
"""Whether stacks run by rows on a CPU, where they can; see :meth:`GatedStack.runs_by_rows`."""

_COUNTED: ContextVar[bool] = ContextVar("counted", default=False)


@contextmanager
def operations_of_torch() -> Iterator[None]:
    """Within it stacks keep to torch's own operations, which can be counted from outside."""
    token = _COUNTED.set(True)
    try:
        yield
    finally:
        _COUNTED.reset(token)


FEWEST = 16
"""Channels and gates from which on that is worth it: vectors are filled up to as many."""


FEWEST_FOR_TILES = 128
"""Channels and gates from which on a processor with tiles for bfloat16 (AMX) keeps to these; guessed, not measured."""


@cache
def _row_stack() -> Any:
    """The room of the stack by rows, or ``None`` where it does not compile."""
    try:
        # The compiler takes half a second to load.
        from numba.core.errors import NumbaError  # noqa: PLC0415

        from audioflow.compiled import cpu_stack  # noqa: PLC0415
    except ImportError:
        return None
    try:
        cpu_stack.compile_all()
    except NumbaError:
        return None
    return cpu_stack


class Shares(Iterator[Tensor | None]):
    """What mel and speaker add to the gates, layer by layer; a stack that does not need it so may look where from.

    Attributes:
        cond: features of the mel.
        speaker: embeddings.
    """

    def __init__(self, cond: Conditioning | None, speaker: Tensor | None, made: Iterator[Tensor | None]) -> None:
        self.cond, self.speaker = cond, speaker
        self._made = made

    @override
    def __next__(self) -> Tensor | None:
        return next(self._made)


class GatedStack(nn.Module):
    r"""A stack of gated dilated convolutions.

    Layer ``l`` computes, with ``*`` the dilated convolution and ``c`` the conditioning features,

    .. math::
        a, b = \text{split}(W_l * h_l + V_l c + U_l s) \qquad
        g = \tanh(a) \odot \sigma(b) \qquad
        h_{l+1} = (h_l + R_l g)\,\rho \qquad
        \text{skip} \mathrel{+}= S_l g

    Args:
        channels: residual channels.
        skip_channels: channels of the result.
        cond_channels: channels of ``cond``; 0 for an unconditional stack.
        dilations: one per layer.
        kernel_size: taps of every dilated convolution; odd when both sides are seen.
        sight: ``past``: step ``t`` sees steps up to ``t`` only; ``all``: as many on either side.
        gate_channels: channels of each gate; as many as residual ones by default.
        speaker_channels: channels of a global (speaker) embedding; 0 for none.
        residual_scale: ``rho``; 1 in WaveGlow, the square root of 1/2 in most autoregressive WaveNets.
        degrees: degree of each residual, gate and skip channel, see :mod:`audioflow.nets.sight`; there are as many of
            each then. By default every channel sees every other.

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
        sight: Sight,
        gate_channels: int | None = None,
        speaker_channels: int = 0,
        residual_scale: float = 1.0,
        degrees: Tensor | None = None,
    ) -> None:
        super().__init__()
        gates = self.gate_channels = gate_channels or channels
        if degrees is not None and not channels == gates == skip_channels == len(degrees):
            raise ValueError("a stack with degrees has as many gate and skip channels as residual ones")
        self.channels = channels
        self.dilations = list(dilations)
        self.residual_scale = residual_scale
        layers = len(self.dilations)
        last = layers - 1
        twice = None if degrees is None else degrees.repeat(2)
        self.convolutions = nn.ModuleList(
            MaskedConv1d(
                channels, 2 * gates, kernel_size, dilation=d, sight=sight, in_degrees=degrees, out_degrees=twice
            )
            for d in self.dilations
        )
        # The last layer has no residual output: nobody would read it.
        self.outputs = nn.ModuleList(
            MaskedConv1d(
                gates,
                skip_channels + (channels if layer < last else 0),
                in_degrees=degrees,
                out_degrees=twice if layer < last else degrees,
            )
            for layer in range(layers)
        )
        # What the mel and the speaker say may be seen by all.
        self.condition = MaskedConv1d(cond_channels, 2 * gates * layers) if cond_channels else None
        self.speaker = MaskedConv1d(speaker_channels, 2 * gates * layers, bias=False) if speaker_channels else None

    @property
    def context(self) -> int:
        """Steps that are seen before the current one (where both sides are seen, half of them lie after it)."""
        return sum(max(c.offsets) - min(c.offsets) for c in self.convolutions)  # type: ignore[arg-type,union-attr,misc]

    def project(self, cond: Conditioning | None, speaker: Tensor | None = None) -> Tensor | None:
        """Conditioning of all layers, and ``speaker [B, S]``: ``[B, 2 * gate_channels * L, T]``."""
        return next(self._cut(cond, speaker, 1))

    def shares(self, cond: Conditioning | None, speaker: Tensor | None = None) -> Shares:
        """The same layer by layer, ``[B, 2 * gate_channels, T]`` each: a long signal needs memory for one at a time.

        Features at the frame rate are multiplied there, and interpolated afterwards.
        """
        return Shares(cond, speaker, self._cut(cond, speaker, len(self.dilations)))

    def _cut(self, cond: Conditioning | None, speaker: Tensor | None, parts: int) -> Iterator[Tensor | None]:
        """What mel and speaker add to the gates of all layers, in so many parts one after another."""
        voices: Sequence[Tensor | None] = [None] * parts
        if self.speaker is not None and speaker is not None:
            voices = self.speaker(speaker[..., None]).chunk(parts, dim=1)
        if self.condition is None or cond is None:
            yield from voices
            return
        weights, biases = self.condition.weight.chunk(parts), bias_of(self.condition).chunk(parts)
        for voice, weight, bias in zip(voices, weights, biases, strict=True):
            yield cond.projected(weight, bias, voice)

    def fuses(self, x: Tensor, projected: Tensor | Iterable[Tensor | None] | None) -> bool:
        """Whether :meth:`forward` takes two kernels a layer: on a GPU, under autocast to bfloat16, without gradients.

        It does where conditioning comes by :meth:`shares` or not at all: the kernels multiply the features themselves.
        """
        if not x.is_cuda or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return False
        if not torch.is_autocast_enabled("cuda") or torch.get_autocast_dtype("cuda") != torch.bfloat16:
            return False
        room = _fused_stack()
        return room is not None and room.fits(x.device) and self._can_fuse(x, projected)

    def _can_fuse(self, x: Tensor, projected: Tensor | Iterable[Tensor | None] | None) -> bool:
        if projected is None:
            return self.condition is None
        if not isinstance(projected, Shares) or (projected.speaker is not None and self.speaker is not None):
            return False
        if projected.cond is None or self.condition is None:
            return self.condition is None
        return projected.cond.steps == x.shape[-1]

    def runs_by_rows(self, x: Tensor, projected: Tensor | Iterable[Tensor | None] | None) -> bool:
        """Whether :meth:`forward` takes the compiled stack of a CPU, see :mod:`audioflow.compiled.cpu_stack`.

        It does in float32 where conditioning comes by :meth:`shares` or not at all. Under autocast to bfloat16 it does
        if gradients are wanted, and is more exact then: of networks as narrow as those that a CPU can train, more time
        goes into passes over memory than bfloat16 saves in products, unless the processor has tiles for them (AMX).
        """
        if not BY_ROWS or x.device.type != "cpu" or x.dtype != torch.float32 or x.numel() == 0:
            return False
        if (
            torch.compiler.is_compiling()
            or torch._C._get_tracing_state()
            or torch._C._are_functorch_transforms_active()
        ):
            return False
        if _COUNTED.get():
            return False
        if torch.is_autocast_enabled("cpu") and (not torch.is_grad_enabled() or self._suits_tiles()):
            return False
        if min(self.channels, self.gate_channels) < FEWEST or self.outputs[-1].bias.dtype != torch.float32:  # type: ignore[union-attr]
            return False
        return self._can_tell_rows(x, projected) and _row_stack() is not None

    def _suits_tiles(self) -> bool:
        return min(self.channels, self.gate_channels) >= FEWEST_FOR_TILES and torch.cpu._is_amx_tile_supported()

    def _can_tell_rows(self, x: Tensor, projected: Tensor | Iterable[Tensor | None] | None) -> bool:
        if projected is None:
            return True
        if not isinstance(projected, Shares):
            return False
        cond = projected.cond
        if cond is None or self.condition is None:
            return True
        return cond.steps == x.shape[-1] and len(cond.features) == len(x)

    def _run_by_rows(self, x: Tensor, shares: Shares | None, mask: Tensor | None) -> Tensor:
        room = _row_stack()
        with full_precision(x):
            # [L * 2 G, C, K] -> [L, K, C, 2 G]: convolutions have as many channels each.
            taps = joined_weights(self.convolutions).unflatten(0, (len(self.dilations), -1)).permute(0, 3, 2, 1)
            biases = torch.cat([layer.bias for layer in self.outputs])  # type: ignore[misc]
            weights = room.Weights(taps, joined_weights(self.outputs)[..., 0], biases)
            shape = room.Shape([c.offsets for c in self.convolutions], self.residual_scale)  # type: ignore[union-attr]
            rows_mask = None if mask is None else mask[:, 0].t().to(x.dtype)
            result: Tensor = room.run(shape, rows_of(x), self._told_to_rows(len(x), shares), weights, rows_mask)
        return channels_of(result)

    def _told_to_rows(self, batch: int, shares: Shares | None) -> Any:
        """What mel and speaker say, see :class:`audioflow.compiled.cpu_stack.Told`."""
        steady = torch.cat([bias_of(c) for c in self.convolutions])  # type: ignore[arg-type]
        frames = weight = features = matrix = None
        if self.condition is not None and shares is not None and shares.cond is not None:
            cond, matrix = shares.cond, self.condition.weight[..., 0]
            steady = steady + bias_of(self.condition)
            if cond.interpolation is None:
                features = rows_of(wide(cond.features))
            else:
                frames = functional.linear(rows_of(functional.pad(wide(cond.features), (1, 1))), matrix)
                weight = wide(cond.interpolation)
                if cond.time_invariant is not None:
                    steady = steady + functional.linear(wide(cond.time_invariant)[..., 0], matrix)
                matrix = None
        if self.speaker is not None and shares is not None and shares.speaker is not None:
            steady = steady + functional.linear(wide(shares.speaker), self.speaker.weight[..., 0])
        return _row_stack().Told(steady.expand(batch, -1), frames, weight, features, matrix)

    def _run_fused(self, x: Tensor, projected: Any, mask: Tensor | None) -> Tensor:
        room = _fused_stack()
        cond = None
        if projected is not None and self.condition is not None and projected.cond is not None:
            # At the rate of samples they are fewer than what each layer makes of them.
            cond = projected.cond.samples()
        with torch.autocast(x.device.type, enabled=False):
            weights = _FUSED.of(self, lambda: self.fused_weights(torch.bfloat16))
            result: Tensor = room.run(weights, x, cond, mask, self.residual_scale)
        return result

    @torch.no_grad()
    def fused_weights(self, dtype: torch.dtype) -> Any:
        """The weights in the order of the kernels, see :func:`audioflow.compiled.cuda_stack.prepare`."""
        room = _fused_stack()
        convolutions = [room.Convolution(c.weight, bias_of(c), c.offsets) for c in self.convolutions]  # type: ignore[arg-type]
        outputs = [(layer.weight, bias_of(layer)) for layer in self.outputs]  # type: ignore[arg-type]
        condition = None if self.condition is None else (self.condition.weight, bias_of(self.condition))
        return room.prepare(convolutions, outputs, condition, dtype)

    def forward(
        self,
        x: Tensor,
        projected: Tensor | Iterable[Tensor | None] | None,
        mask: Tensor | None = None,
        hidden: list[Tensor] | None = None,
    ) -> Tensor:
        """Run all layers.

        Args:
            x: ``[B, channels, T]``, zero outside the mask.
            projected: ``[B, 2 * gate_channels * L, T]`` (or ``T = 1``) from :meth:`project`, or :meth:`shares`.
            mask: ``[B, 1, T]`` or ``None``.
            hidden: takes what each layer is given, ``[B, channels, T]``, one after another.

        Returns:
            The sum of the skips, ``[B, skip_channels, T]``.
        """
        if hidden is None and self.fuses(x, projected):
            return self._run_fused(x, projected, mask)
        if hidden is None and self.runs_by_rows(x, projected):
            return self._run_by_rows(x, projected, mask)  # type: ignore[arg-type]
        count = len(self.dilations)
        shares: Iterable[Tensor | None] = [None] * count if projected is None else projected
        if isinstance(projected, Tensor):
            shares = projected.chunk(count, dim=1)
        skips: Tensor | None = None
        layers = zip(self.convolutions, self.outputs, shares, strict=True)
        for layer, (convolution, output, share) in enumerate(layers):
            if hidden is not None:
                hidden.append(x)
            y = output(gated(convolution(x), share))
            if layer < len(self.dilations) - 1:
                residual, skip = y.split([self.channels, y.shape[1] - self.channels], dim=1)
                x = masked((x + residual) * self.residual_scale, mask)
            else:
                skip = y
            skips = skip if skips is None else skips + skip
        assert skips is not None  # noqa: S101  (a stack has at least one layer)
        return masked(skips, mask)


_FUSED: Kept[Any] = Kept()
