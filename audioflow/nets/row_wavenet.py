"""WaveFlow's network: a WaveNet over a picture of rows and time, causal along the rows."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from audioflow.nets.masked_convolution import MaskedConv1d, MaskedConv2d, bias_of, start_at_zero
from audioflow.nets.masks import full_precision, masked, wide
from audioflow.nets.slots import ChannelNet

Layer = tuple[Tensor, Tensor]
"""Weight and bias, normalisation worked out."""


@dataclass
class RowState:
    """What :meth:`RowWaveNet.step` needs from the rows before.

    Attributes:
        position: rows that are known.
        zeros: what stands before the first row, ``[B, 1, W]``.
        mask: of the signal, ``[B, 1, 1, W]``.
        cond: conditioning in order of visit, ``[B, M, h, W]``, where each row has its own.
        shares: per layer what the conditioning adds to every row, ``[B, 2 C, 1, W]``, where they have it in common.
        past: per layer the inputs of the last rows, ``[B, C, 1, W]`` each, as many as its taps reach.
        convolutions: of each layer.
        mixers: of each layer.
        condition: of all layers; ``None`` without conditioning.
    """

    position: int
    zeros: Tensor
    mask: Tensor | None
    cond: Tensor | None
    shares: list[Tensor | None] | None
    past: list[deque[Tensor]]
    convolutions: list[Layer]
    mixers: list[Layer]
    condition: Layer | None


class RowWaveNet(ChannelNet[RowState]):
    r"""Parameters of each row from the rows before it, at all of time around, and the conditioning.

    The ``h`` channels of ``x [B, h, W]`` are the rows of a picture ``[1, h, W]``. A 1x1 convolution that sees the row
    above makes ``C`` channels; ``L`` gated layers with skip connections follow, as in
    :class:`audioflow.nets.gated_stack.GatedStack`, whose convolutions see rows up to their own and both sides of time;
    then a 1x1 convolution to ``P`` numbers for each value. All rows share all weights. With two taps along rows::

        row of x       0   1   2   3
                         \   \   \          first layer: the row above
        hidden row     0   1   2   3
                       | \ | \ | \ |        each gated layer: its own row and those above
        parameters     0   1   2   3        of row 3: from rows 0, 1, 2

    The first row sees no other: its parameters come from the conditioning. With ``first_row_passes`` they are zero, and
    there is no hidden row above the second.

    Row by row, each layer keeps the inputs of the last rows that its taps reach, and a new row is made by
    one-dimensional convolutions over time.

    The last layer starts at zero.

    Args:
        rows: ``h``.
        outputs: numbers ``P`` for each value.
        cond_channels: features ``M`` that a row is told; 0 for none.
        channels: residual and skip channels ``C``.
        row_dilations: per layer, rows from tap to tap. Dilations in time are 1, 2, 4, ...
        kernel_size: taps along rows and along time; the latter odd.
        order: rows in order of visit; from the top down by default.
        shared_cond: whether all rows are told the same, ``cond [B, M, W]``; otherwise ``cond [B, M * h, W]``, the ``h``
            rows of the first feature, then of the second, ... (as :func:`audioflow.flows.reshape.squeeze` makes it).
        first_row_passes: whether the first row has parameters of zero, as in the paper.

    Raises:
        ValueError: one row that passes leaves nothing to do.

    References:
        Ping, Peng, Zhao and Song, "WaveFlow: A Compact Flow-based Model for Raw Audio", 2019,
        https://arxiv.org/abs/1912.01219

    >>> net = RowWaveNet(8, 2, 3, channels=4, row_dilations=[1, 1], shared_cond=True)
    >>> net(torch.randn(5, 8, 20), torch.randn(5, 3, 20)).shape
    torch.Size([5, 16, 20])
    """

    def __init__(
        self,
        rows: int,
        outputs: int,
        cond_channels: int,
        channels: int,
        row_dilations: Sequence[int],
        kernel_size: tuple[int, int] = (3, 3),
        order: Sequence[int] | None = None,
        *,
        shared_cond: bool = False,
        first_row_passes: bool = False,
    ) -> None:
        super().__init__(list(range(rows)) if order is None else order)
        if first_row_passes and rows < 2:
            raise ValueError("there must be a second row where the first one passes")
        self.channels, self.outputs, self.shared_cond = channels, outputs, shared_cond
        self.untouched = int(first_row_passes)
        layers = len(row_dilations)
        # Of a weight that sees one number, a norm would leave the sign only.
        self.start = MaskedConv2d(1, channels, sight=("before", "all"), normed=False)
        self.convolutions = nn.ModuleList(
            MaskedConv2d(channels, 2 * channels, kernel_size, dilation=(rows_apart, 2**layer))
            for layer, rows_apart in enumerate(row_dilations)
        )
        # The last layer has no residual output: nobody would read it.
        self.mixers = nn.ModuleList(
            MaskedConv2d(channels, channels * (2 if layer < layers - 1 else 1)) for layer in range(layers)
        )
        self.condition = MaskedConv1d(cond_channels, 2 * channels * layers) if cond_channels else None
        self.end = MaskedConv2d(channels, outputs, normed=False)
        start_at_zero(self.end)

    @property
    @override
    def context_steps(self) -> int:
        return sum(_reach(convolution) for convolution in self._convolutions())

    @property
    @override
    def context_of_data(self) -> int:
        """Each row sees further than the one before; conditioning is seen from the second layer's input on."""
        rows = len(self.order)
        told = (rows - self.untouched) * self.context_steps - _reach(self._convolutions()[0])
        return max((rows - 1) * self.context_steps, told if self.condition is not None else 0)

    @override
    def forward(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        picture_mask = None if mask is None else mask[:, None]
        with full_precision(x):
            h = masked(self.start(wide(x)[:, None, self.order])[:, :, self.untouched :], picture_mask)
        shares = self._shares(self._picture(cond), self._condition())
        skips = self._body(
            h, shares, picture_mask, lambda i, h: self.convolutions[i](h), lambda i, y: self.mixers[i](y)
        )
        with full_precision(x):
            params = masked(self.end(wide(skips)), picture_mask)
        params = functional.pad(params, (0, 0, self.untouched, 0))
        return params[:, :, torch.argsort(self.order)].flatten(1, 2)

    def _body(
        self,
        h: Tensor,
        shares: Iterable[Tensor | None],
        mask: Tensor | None,
        convolve: Callable[[int, Tensor], Tensor],
        mix: Callable[[int, Tensor], Tensor],
    ) -> Tensor:
        """The gated layers, on ``h [B, C, rows, W]``: the sum of their skips.

        Args:
            h: zero outside the mask.
            shares: what the conditioning adds to each layer.
            mask: ``[B, 1, 1, W]``.
            convolve: the convolution of a layer, to ``2 C`` channels.
            mix: its 1x1 convolution, from ``C`` channels to residual and skip; of the last, to the skip.
        """
        h = _channels_innermost(h)
        skips: Tensor | None = None
        for layer, share in enumerate(shares):
            a = convolve(layer, h)
            if share is not None:
                a = a + share
            # Halves of interleaved channels are copied: elementwise maps are far slower on pieces of memory.
            filter_, gate = (_channels_innermost(half) for half in a.chunk(2, dim=1))
            y = mix(layer, torch.tanh(filter_) * torch.sigmoid(gate))
            if y.shape[1] > self.channels:
                h = masked(h + y[:, : self.channels], mask)
            skip = y[:, -self.channels :]
            skips = skip if skips is None else skips + skip
        assert skips is not None  # noqa: S101  (there is at least one layer)
        return skips

    def _picture(self, cond: Tensor | None) -> Tensor | None:
        """Conditioning of the rows that are mapped, in order of visit: ``[B, M, h, W]``, or ``h = 1`` for all rows."""
        if cond is None or self.condition is None:
            return None
        if self.shared_cond:
            return _channels_innermost(cond[:, :, None])
        return _channels_innermost(cond.unflatten(1, (-1, len(self.order)))[:, :, self.order[self.untouched :]])

    def _shares(self, cond: Tensor | None, condition: Layer | None) -> Iterator[Tensor | None]:
        """Layer by layer what ``cond [B, M, h, W]`` adds, ``[B, 2 C, h, W]``: memory for one at a time."""
        for layer in range(len(self.convolutions)):
            if cond is None or condition is None:
                yield None
                continue
            own = slice(2 * self.channels * layer, 2 * self.channels * (layer + 1))
            weight, bias = condition
            yield functional.conv2d(cond, weight[own, :, :, None], bias[own])

    def _condition(self) -> Layer | None:
        return None if self.condition is None else (self.condition.weight, bias_of(self.condition))

    def _convolutions(self) -> list[MaskedConv2d]:
        return list(self.convolutions)  # type: ignore[arg-type]

    @override
    def init_state(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> RowState:
        picture, condition = self._picture(cond), self._condition()
        return RowState(
            position=0,
            zeros=torch.zeros_like(wide(z[:, :1])),
            mask=None if mask is None else mask[:, None],
            cond=None if self.shared_cond else picture,
            shares=list(self._shares(picture, condition)) if self.shared_cond else None,
            past=[deque(maxlen=1 - min(layer.row_offsets)) for layer in self._convolutions()],
            convolutions=[(layer.weight, bias_of(layer)) for layer in self._convolutions()],
            mixers=[(layer.weight, bias_of(layer)) for layer in self.mixers],  # type: ignore[misc,arg-type]
            condition=condition,
        )

    @override
    def step(self, state: RowState, previous: Tensor | None) -> tuple[Tensor, RowState]:
        row = state.position - self.untouched
        state.position += 1
        if row < 0:
            return state.zeros.repeat(1, self.outputs, 1), state
        x = (state.zeros if previous is None else wide(previous))[:, None]
        with full_precision(x):
            h = masked(functional.conv2d(x, self.start.weight, self.start.bias), state.mask)
        shares: Iterable[Tensor | None] | None = state.shares
        if shares is None:
            shares = self._shares(None if state.cond is None else state.cond[:, :, row : row + 1], state.condition)

        def mix(layer: int, y: Tensor) -> Tensor:
            return functional.conv2d(y, *state.mixers[layer])

        skips = self._body(h, shares, state.mask, partial(self._convolve, state), mix)
        with full_precision(x):
            return masked(self.end(wide(skips)), state.mask)[:, :, 0], state

    def _convolve(self, state: RowState, index: int, h: Tensor) -> Tensor:
        """Convolution ``index`` for a new row ``h [B, C, 1, W]``, which joins the rows that are kept.

        Kernel 3, two rows from tap to tap, at row 5: the rows 1 ... 5 are kept, the taps are 1, 3 and 5. At row 2 they
        are 0 and 2: what lies above the first row is zero, and the weights of its tap are left out.
        """
        layer, past = self._convolutions()[index], state.past[index]
        past.append(h)
        rows = list(past)[:: -layer.dilation[0]][::-1]
        weight, bias = state.convolutions[index]
        picture, weight = torch.cat(rows, dim=2), weight[:, :, -len(rows) :]
        return functional.conv2d(picture, weight, bias, padding=(0, _reach(layer)), dilation=(1, layer.dilation[1]))


def _reach(layer: MaskedConv2d) -> int:
    """Steps of time that a convolution sees on each side."""
    return max(layer.step_offsets)


def _channels_innermost(x: Tensor) -> Tensor:
    """``x [B, C, h, W]`` laid out in memory so that convolutions are fastest; its values stay."""
    return x.contiguous(memory_format=torch.channels_last)
