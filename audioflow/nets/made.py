"""MADE: a multilayer perceptron over channels in which each output sees the channels before its own only."""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from audioflow.nets.masks import full_precision, masked, wide
from audioflow.nets.sight import TOLD, spread_degrees, visible
from audioflow.nets.slots import ChannelNet, Units

Order = Literal["sequential", "reversed", "random"]
Numbers = Literal["sequential", "random"]


class MLP(nn.Module):
    """A plain perceptron over channels, the same at every step: the conditioner of a coupling of vectors.

    Args:
        in_channels: channels of ``x``.
        out_channels: channels of the result.
        hidden: units of each hidden layer.
        cond_channels: channels of ``cond``; 0 for none.
        zero_start: whether the last layer starts at zero, so that a flow starts as the identity; at random otherwise,
            which learns faster where steps are few.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: Sequence[int],
        cond_channels: int = 0,
        *,
        zero_start: bool = True,
    ) -> None:
        super().__init__()
        widths = [in_channels + cond_channels, *hidden, out_channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        if zero_start:
            _start_at_zero(self.layers[-1])  # type: ignore[arg-type]

    @override
    def forward(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """``x [B, in, T]``, ``cond [B, M, T]`` -> ``[B, out, T]``."""
        h = rows_of(x if cond is None else torch.cat([x, cond.to(x.dtype)], dim=1))
        for layer in self.layers[:-1]:
            h = functional.relu(layer(h))
        with full_precision(x):
            return masked(columns_of(self.layers[-1](wide(h)), x.shape), mask)


@dataclass
class MadeState:
    """What :meth:`MADE.step` needs from the steps before it; units are sorted by degree.

    Attributes:
        position: channels that are known.
        shape: of the signal.
        told: what the conditioning adds to each unit of the first layer, ``[H, N]``; zeros ``[0, N]`` without any.
        weights: per layer its masked weight, rows and columns sorted by degree.
        biases: per layer its bias, sorted, ``[out, 1]``.
        upto: per hidden layer, how many units have at most degree -1, 0, 1, ...
        inputs: known channels in order of visit.
        sums: per hidden layer what its units add up to.
        values: the same after the nonlinearity.
    """

    position: int
    shape: torch.Size
    told: Tensor
    weights: list[Tensor]
    biases: list[Tensor]
    upto: list[list[int]]
    inputs: Units
    sums: list[Units]
    values: list[Units]


class MADE(ChannelNet[MadeState]):
    r"""Masked autoencoder: ``P`` numbers for each channel, made of the channels before it in an order.

    .. math::
        h_1 = W_1 x + V c + b_1, \quad h_{l+1} = [h_l +]\, W_{l+1}\, \text{relu}(h_l) + b_{l+1}, \quad
        \text{params} = W_{L+1}\, \text{relu}(h_L) + b_{L+1}

    Every ``W`` is masked by :func:`audioflow.nets.sight.visible`: the channel at place ``p`` of the order has degree
    ``p``, its outputs have degree ``p - 1``, hidden units have connection numbers in between. Units of degree -1 see
    the conditioning only, so the parameters of the first channel depend on it too. Steps do not see each other.

    One network may hold several masks (``masks``), each with an order and connection numbers of its own: training takes
    another one for each batch, and a density averages over them.

    Differs from the paper: there is no direct connection from inputs to outputs.

    Args:
        channels: channels ``C`` of ``x``.
        outputs: numbers ``P`` for each.
        hidden: units of each hidden layer.
        cond_channels: channels of ``cond``; 0 for none.
        order: ``sequential``, ``reversed``, ``random``, or the channels in order of visit.
        numbers: connection numbers: ``sequential`` in equal shares, or drawn at ``random``, at least the smallest of
            the layer before.
        residual: whether each hidden layer after the first adds to the one before; all are equally wide then.
        masks: how many masks there are; those after the first are random.
        zero_start: whether the last layer starts at zero, as in :class:`MLP`.
        seed: of everything that is drawn.

    References:
        Germain, Gregor, Murray and Larochelle, "MADE", 2015, https://arxiv.org/abs/1502.03509
        Durkan and Nash, "Autoregressive Energy Machines", 2019, https://arxiv.org/abs/1904.05626 (residual layers)

    >>> net = MADE(3, 2, [8, 8])
    >>> net(torch.randn(5, 3, 1)).shape
    torch.Size([5, 6, 1])
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        hidden: Sequence[int],
        cond_channels: int = 0,
        order: Order | Sequence[int] = "sequential",
        numbers: Numbers = "sequential",
        *,
        residual: bool = False,
        masks: int = 1,
        zero_start: bool = True,
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        orders = [_order(order, channels, generator)]
        orders += [torch.randperm(channels, generator=generator).tolist() for _ in range(masks - 1)]
        super().__init__(orders[0])
        if residual and len(set(hidden)) > 1:
            raise ValueError(f"residual layers are equally wide, unlike {list(hidden)}")
        if not hidden:
            raise ValueError("a MADE has at least one hidden layer")
        self.channels, self.outputs, self.residual, self.masks = channels, outputs, residual, masks
        widths = [channels, *hidden, outputs * channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.condition = nn.Linear(cond_channels, hidden[0], bias=False) if cond_channels else None
        lowest = TOLD if cond_channels else 0
        degrees = []
        for mask, own_order in enumerate(orders):
            positions = torch.argsort(torch.tensor(own_order))
            drawn: Numbers = numbers if mask == 0 else "random"
            degrees.append(_degrees(positions, hidden, outputs, lowest, drawn, generator, shared=residual))
        # Degrees are stored with the weights: they cannot be drawn again when these are loaded.
        for layer, of_masks in enumerate(zip(*degrees, strict=True)):
            self.register_buffer(f"degrees_{layer}", torch.stack(of_masks))
        self.see()
        self.register_load_state_dict_post_hook(_see_again)
        if zero_start:
            _start_at_zero(self.layers[-1])  # type: ignore[arg-type]

    def see(self) -> None:
        """Work out the masks, ``[masks, out, in]`` of 0 and 1 for each layer, from the degrees."""
        for layer, linear in enumerate(self.layers):
            above, below = getattr(self, f"degrees_{layer + 1}"), getattr(self, f"degrees_{layer}")
            seen = [visible(a, b)[..., 0] for a, b in zip(above, below, strict=True)]
            mask = torch.stack(seen).to(linear.weight)  # type: ignore[arg-type]
            self.register_buffer(f"mask_{layer}", mask, persistent=False)

    def degrees(self, mask: int = 0) -> list[Tensor]:
        """Degrees of the inputs, of each hidden layer and of the outputs, under one of the masks."""
        return [getattr(self, f"degrees_{layer}")[mask] for layer in range(len(self.layers) + 1)]

    def under(self, which: int) -> "MADE":
        """The same weights under mask number ``which`` alone."""
        other = copy.copy(self)
        other.masks = 1
        own = {name: rows[which, None] for name, rows in self.named_buffers() if name.startswith(("degrees", "mask"))}
        other._buffers = {**self._buffers, **own, "order": torch.argsort(own["degrees_0"][0])}
        return other

    @override
    def forward(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, which: int = 0) -> Tensor:
        """``x [B, C, T]`` -> ``params [B, P * C, T]`` under mask number ``which``; float32 at both ends."""
        with full_precision(x):
            h = functional.linear(rows_of(wide(x)), self._weight(0, which), self.layers[0].bias)  # type: ignore[arg-type]
            if self.condition is not None and cond is not None:
                h = h + self.condition(rows_of(wide(cond)))
        for layer in range(1, len(self.layers) - 1):
            linear = functional.linear(functional.relu(h), self._weight(layer, which), self.layers[layer].bias)  # type: ignore[arg-type]
            h = h + linear if self.residual else linear
        last = len(self.layers) - 1
        with full_precision(x):
            params = functional.linear(functional.relu(wide(h)), self._weight(last, which), self.layers[last].bias)  # type: ignore[arg-type]
            return masked(columns_of(params, x.shape), mask)

    def _weight(self, layer: int, which: int) -> Tensor:
        weight: Tensor = self.layers[layer].weight  # type: ignore[assignment]
        masked_weight: Tensor = weight * getattr(self, f"mask_{layer}")[which]
        return masked_weight

    @override
    def init_state(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> MadeState:
        degrees = self.degrees()
        sorts = [torch.argsort(row, stable=True) for row in degrees[:-1]]
        sorts.append(torch.argsort(degrees[-1].reshape(self.outputs, -1), dim=1, stable=True).reshape(-1))
        # Outputs of one channel stay beside each other: row p * P + k is parameter k of the channel at place p.
        offset = torch.arange(self.outputs, device=z.device)[:, None] * self.channels
        sorts[-1] = (sorts[-1].reshape(self.outputs, -1) + offset).t().reshape(-1)
        told = wide(z).new_zeros(0, z.shape[0] * z.shape[2])
        if self.condition is not None and cond is not None:
            told = self.condition(rows_of(cond.to(told.dtype))).t()[sorts[1]]
        layers: list[nn.Linear] = list(self.layers)  # type: ignore[arg-type]
        widths = [layer.in_features for layer in layers]
        return MadeState(
            position=0,
            shape=z.shape,
            told=told,
            weights=[self._weight(k, 0)[sorts[k + 1]][:, sorts[k]] for k in range(len(layers))],
            biases=[layer.bias[sorts[k + 1]][:, None] for k, layer in enumerate(layers)],
            upto=[self._upto(row) for row in degrees[1:-1]],
            inputs=Units(told, widths[0], axis=0),
            sums=[Units(told, width, axis=0) for width in widths[1:]],
            values=[Units(told, width, axis=0) for width in widths[1:]],
        )

    def _upto(self, degrees: Tensor) -> list[int]:
        """How many units have at most degree -1, 0, 1, ..."""
        return (degrees[:, None] <= torch.arange(TOLD, self.channels, device=degrees.device)).sum(dim=0).tolist()

    @override
    def step(self, state: MadeState, previous: Tensor | None) -> tuple[Tensor, MadeState]:
        if previous is not None:
            state.inputs.add(wide(previous).reshape(1, -1))
            state.position += 1
        below = state.inputs.all()
        for layer, upto in enumerate(state.upto):
            # The units whose degree is that of the newest channel: nobody could compute them before.
            rows = slice(state.sums[layer].known, upto[state.position])
            fresh = torch.addmm(state.biases[layer][rows], state.weights[layer][rows, : len(below)], below)
            if layer == 0 and len(state.told):
                fresh = fresh + state.told[rows]
            if layer > 0 and self.residual:
                fresh = fresh + state.sums[layer - 1].all()[rows]
            state.sums[layer].add(fresh)
            state.values[layer].add(functional.relu(fresh))
            below = state.values[layer].all()
        rows = slice(state.position * self.outputs, (state.position + 1) * self.outputs)
        params = torch.addmm(state.biases[-1][rows], state.weights[-1][rows, : len(below)], below)
        return params.reshape(self.outputs, state.shape[0], state.shape[2]).transpose(0, 1), state


def _see_again(module: nn.Module, _: object) -> None:
    """After other degrees were loaded."""
    cast(MADE, module).see()


def rows_of(x: Tensor) -> Tensor:
    """``[B, C, T] -> [B * T, C]``."""
    return x.transpose(1, 2).reshape(-1, x.shape[1])


def columns_of(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """``[B * T, C] -> [B, C, T]`` for a signal of ``shape [B, ., T]``."""
    return rows.reshape(shape[0], shape[2], -1).transpose(1, 2)


def _order(order: Order | Sequence[int], channels: int, generator: torch.Generator) -> list[int]:
    if order == "sequential":
        return list(range(channels))
    if order == "reversed":
        return list(range(channels))[::-1]
    if order == "random":
        return torch.randperm(channels, generator=generator).tolist()
    if isinstance(order, str) or len(order) != channels:
        raise ValueError(f"order is sequential, reversed, random or names all {channels} channels, unlike {order!r}")
    return list(order)


def _degrees(
    positions: Tensor,
    hidden: Sequence[int],
    outputs: int,
    lowest: int,
    numbers: Numbers,
    generator: torch.Generator,
    *,
    shared: bool,
) -> list[Tensor]:
    """Degrees of inputs, hidden layers and outputs, for channels that stand at ``positions`` of the order."""
    # Nobody looks at a unit that sees the last channel. One channel alone: its outputs see what is told and no more.
    highest = max(len(positions) - 2, lowest) if len(positions) > 1 else TOLD
    lowest = min(lowest, highest)
    rows, smallest = [positions], lowest
    for layer, width in enumerate(hidden):
        if shared and layer > 0:
            rows.append(rows[-1])
        elif numbers == "sequential":
            rows.append(spread_degrees(width, lowest, highest))
        else:
            rows.append(torch.randint(smallest, highest + 1, (width,), generator=generator))
            smallest = int(rows[-1].min())
    return [*rows, (positions - 1).repeat(outputs)]


def _start_at_zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
