r"""The gated stack on a GPU, two matrix products a layer, for synthesis in half precision.

Activations lie step by step, ``[B, T, C]``, so that a dilated convolution is one product of rows that are read again at
each tap's offset, and the conditioning is more columns of the same rows:

.. math::
    g_t = \tanh(a_t) \odot \sigma(b_t) \qquad
    (a_t, b_t) = \textstyle\sum_k W_k h_{t + o_k} + V c_t + \text{bias} \qquad
    h_t \leftarrow (h_t + R g_t)\,\rho\,m_t \qquad
    \text{skip}_t = m_t \textstyle\sum_l S_l g^{(l)}_t

The first kernel makes ``g`` from ``h`` and ``c``; the second makes ``h`` from ``g``, and what several layers add to
``skip`` as one product whose inner dimension runs over layers and channels. Operands are bfloat16, sums float32; ``h``
is kept in float32 beside the bfloat16 copy that the next layer multiplies.

Channels are filled up with zeros to a multiple of the inner block: filled weights give zeros again, so that no kernel
has to ask where the channels end.

References:
    Tillet, Kung and Cox, "Triton: An Intermediate Language and Compiler for Tiled Neural Network Computations", 2019
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import triton
from torch import Tensor
from torch.nn import functional

from audioflow.compiled.cuda_kernels import gated_kernel, product_kernel, rows_kernel


class Blocks(NamedTuple):
    """How a kernel cuts its product into tiles.

    Attributes:
        steps: rows of a tile.
        columns: columns of a tile; a gated layer has two accumulators of so many.
        inner: of the inner dimension, in each step of the loop.
        warps: of a program.
        stages: tiles that are under way from memory.
    """

    steps: int
    columns: int
    inner: int
    warps: int
    stages: int


@dataclass(frozen=True)
class Choice:
    """Blocks of each product.

    Attributes:
        gated: from ``h`` and ``c`` to ``g``.
        residual: from ``g`` to the next ``h``; it waits for memory, so several of its tiles should share a processor.
        skip: from the ``g`` of several layers to the skips.
        quick_tanh: whether the gate takes the GPU's own tanh, right to 11 bits (bfloat16 has 8).
    """

    gated: Blocks
    residual: Blocks
    skip: Blocks
    quick_tanh: bool = True


FILL = 64
"""Channels are filled up to a multiple of this: the largest inner block."""

HOPPER = Choice(Blocks(128, 128, 64, 8, 3), Blocks(128, 64, 64, 4, 3), Blocks(128, 128, 64, 8, 3))
"""Where a tile may take 227 KiB of shared memory, and there are enough tiles for all multiprocessors."""

FEW = Choice(Blocks(64, 64, 64, 4, 4), Blocks(64, 64, 64, 4, 3), Blocks(64, 64, 64, 4, 4))
"""For signals so short that large tiles would leave multiprocessors idle."""

SMALL = Choice(Blocks(128, 64, 32, 8, 3), Blocks(64, 64, 32, 4, 3), Blocks(128, 64, 32, 8, 3))
"""Older and smaller GPUs: 100 KiB."""

TOGETHER = 8
"""Layers whose gates are kept for one product that makes their skips."""


class Convolution(NamedTuple):
    """Weight ``[out, in, taps]``, bias ``[out]`` and offsets of the taps."""

    weight: Tensor
    bias: Tensor
    offsets: Sequence[int]


@dataclass(frozen=True)
class Layer:
    """One layer's operands.

    Attributes:
        first: offset of the first tap.
        dilation: steps from tap to tap.
        taps: ``[K * C + M, 2 * G]``, see :func:`audioflow.compiled.cuda_kernels.gated_kernel`.
        bias: ``[2 * G]``.
        residual: ``[G, C]`` and ``[C]``; ``None`` in the last layer.
    """

    first: int
    dilation: int
    taps: Tensor
    bias: Tensor
    residual: tuple[Tensor, Tensor] | None


@dataclass(frozen=True)
class StackWeights:
    """Weights of a stack as the kernels want them, sizes filled up.

    Attributes:
        layers: one after another.
        skips: for each few layers together, ``[layers * G, S]`` and ``[S]``.
        kernel_size: taps.
        channels: ``C``.
        gates: ``G``.
        conds: ``M``.
        skip_channels: of the result, not filled up.
    """

    layers: list[Layer]
    skips: list[tuple[Tensor, Tensor]]
    kernel_size: int
    channels: int
    gates: int
    conds: int
    skip_channels: int


def prepare(
    convolutions: Sequence[Convolution],
    outputs: Sequence[tuple[Tensor, Tensor]],
    condition: tuple[Tensor, Tensor] | None,
    dtype: torch.dtype = torch.bfloat16,
) -> StackWeights:
    """Bring a stack's weights into the order of the kernels.

    Args:
        convolutions: ``C`` to ``2 * G`` channels, one for each layer.
        outputs: weight ``[C + S, G, 1]`` and bias; ``[S, G, 1]`` in the last layer.
        condition: weight ``[L * 2 * G, M, 1]`` and bias of all layers.
        dtype: of the operands.
    """
    count = len(convolutions)
    twice, channels, kernel_size = convolutions[0].weight.shape
    gates, skip_channels = _filled(twice // 2), outputs[-1][0].shape[0]
    told: Sequence[tuple[Tensor, Tensor] | None] = [None] * count
    if condition is not None:
        told = list(zip(*(part.chunk(count) for part in condition), strict=True))
    layers, skips, biases = [], [], []
    for (weight, bias, offsets), (out, out_bias), cond in zip(convolutions, outputs, told, strict=True):
        # [2 G, C, K] -> [K, C, 2 G]: the inner dimension is cut into taps first.
        rows = _fill(weight.permute(2, 1, 0), 1).flatten(0, 1)
        if cond is not None:
            rows, bias = torch.cat([rows, _fill(cond[0][..., 0].t(), 0)]), bias + cond[1]  # noqa: PLW2901
        split = out.shape[0] - skip_channels
        matrix = _fill(out[..., 0].t(), 0)
        residual = None
        if split:
            residual = _fill(matrix[:, :split], 1).to(dtype).contiguous(), _fill(out_bias[:split], 0).float()
        step = offsets[1] - offsets[0] if len(offsets) > 1 else 0
        layers.append(Layer(offsets[0], step, _in_turns(rows).to(dtype), _in_turns(bias).float(), residual))
        skips.append(_fill(matrix[:, split:], 1).to(dtype))
        biases.append(_fill(out_bias[split:], 0).float())
    cuts = range(0, count, TOGETHER)
    return StackWeights(
        layers,
        [(torch.cat(skips[i : i + TOGETHER]), torch.stack(biases[i : i + TOGETHER]).sum(dim=0)) for i in cuts],
        kernel_size,
        _filled(channels),
        gates,
        0 if condition is None else _filled(condition[0].shape[1]),
        skip_channels,
    )


def run(
    weights: StackWeights,
    x: Tensor,
    cond: Tensor | None,
    mask: Tensor | None,
    residual_scale: float,
    choice: Choice | None = None,
) -> Tensor:
    """All layers of a stack.

    Args:
        weights: from :func:`prepare`.
        x: ``[B, C, T]``, zero outside the mask; not written to.
        cond: ``[B, M, T]``.
        mask: ``[B, 1, T]``.
        residual_scale: ``rho``.
        choice: how the kernels cut their work; what suits the device by default.

    Returns:
        The sum of the skips, ``[B, skip_channels, T]`` in float32; a step's channels lie side by side.
    """
    batch, _, steps = x.shape
    choice = choice or suitable(x.device, batch * steps)
    h, operand = rows_of(x, weights.channels, weights.layers[0].taps.dtype, wide=True)
    told = operand if cond is None else rows_of(cond, weights.conds, operand.dtype)[1]
    flat_mask = None if mask is None else mask[:, 0].float().contiguous()
    width = min(TOGETHER, len(weights.layers)) * weights.gates
    gates = operand.new_empty(batch, steps, width)
    # What the caller gave is not written to.
    kept = torch.empty_like(h)
    total: Tensor | None = None
    for number, layer in enumerate(weights.layers):
        slot = number % TOGETHER
        here = gates[..., slot * weights.gates :]
        _gated(weights, layer, operand, told, here, choice)
        if layer.residual is not None:
            # The last layer reads the operand only. The first operand may be what the caller gave, too.
            wide = kept if number < len(weights.layers) - 2 else None
            operand = operand if number else torch.empty_like(operand)
            _product(here, layer.residual, (wide, operand), choice.residual, h, flat_mask, residual_scale)
            h = kept
        if slot == TOGETHER - 1 or layer.residual is None:
            skip = weights.skips[number // TOGETHER]
            made = h.new_empty(batch, steps, skip[0].shape[1]) if total is None else total
            _product(gates, skip, (made, None), choice.skip, total, flat_mask)
            total = made
    assert total is not None  # noqa: S101  (a stack has at least one layer)
    return total[..., : weights.skip_channels].transpose(1, 2)


def rows_of(x: Tensor, width: int, dtype: torch.dtype, *, wide: bool = False) -> tuple[Tensor, Tensor]:
    """``x [B, C, T]`` as ``[B, T, width]``: in float32 where ``wide`` is asked for, and in ``dtype``.

    Nothing is copied that lies like this already.
    """
    batch, channels, steps = x.shape
    rows = x.transpose(1, 2)
    if channels == width and rows.is_contiguous() and rows.dtype in (torch.float32, dtype):
        return (rows.float() if wide else rows), rows.to(dtype)
    half = torch.empty(batch, steps, width, dtype=dtype, device=x.device)
    full = torch.empty(batch, steps, width, dtype=torch.float32, device=x.device) if wide else half
    block = 16 if x.device.type == "cpu" else 64
    grid = (width // block, triton.cdiv(steps, block), batch)
    rows_kernel[grid](x, full, half, channels, steps, *x.stride(), WIDTH=width, WIDE=wide, BLOCK=block, num_warps=4)
    return full, half


def _gated(weights: StackWeights, layer: Layer, h: Tensor, cond: Tensor, gates: Tensor, choice: Choice) -> None:
    """Write a layer's ``g``, see :func:`audioflow.compiled.cuda_kernels.gated_kernel`."""
    grid, tiles = _tiles(choice.gated, h, weights.gates)
    sizes = {"CHANNELS": weights.channels, "CONDS": weights.conds, "GATES": weights.gates, "TAPS": weights.kernel_size}
    operands = h, cond, layer.taps, layer.bias, gates, h.shape[1], layer.first, layer.dilation
    gated_kernel[grid](*operands, **sizes, STRIDE=gates.stride(1), QUICK=choice.quick_tanh and h.is_cuda, **tiles)


def _product(
    gates: Tensor,
    layer: tuple[Tensor, Tensor],
    results: tuple[Tensor | None, Tensor | None],
    blocks: Blocks,
    start: Tensor | None = None,
    mask: Tensor | None = None,
    scale: float = 1.0,
) -> None:
    """Write ``(start + gates weight + bias) scale mask``, wide or as an operand or both."""
    depth, width = layer[0].shape
    grid, tiles = _tiles(blocks, gates, width)
    given = start, mask, *results
    names = ("STARTS", "MASKED", "WIDE", "HALF")
    flags = {name: x is not None for name, x in zip(names, given, strict=True)}
    # What is not there is not touched, but has to be something.
    tensors = [layer[1] if x is None else x for x in given]
    sizes = {"STRIDE": gates.stride(1), "DEPTH": depth, "WIDTH": width}
    product_kernel[grid](gates, *layer, *tensors, gates.shape[1], scale, **sizes, **flags, **tiles)


def _tiles(blocks: Blocks, rows: Tensor, width: int) -> tuple[tuple[int, int, int], dict[str, int]]:
    """Grid and settings of a kernel whose result has the steps of ``rows [B, T, C]`` and ``width`` columns."""
    columns = blocks.columns
    while width % columns:
        columns //= 2
    batch, steps, _ = rows.shape
    # Tiles of the same steps come one after another: what they read in common is near then.
    grid = width // columns, triton.cdiv(steps, blocks.steps), batch
    sizes = {"BLOCK_T": blocks.steps, "BLOCK_N": columns, "BLOCK_K": blocks.inner}
    return grid, {**sizes, "num_warps": blocks.warps, "num_stages": blocks.stages}


def suitable(device: torch.device, rows: int) -> Choice:
    """Blocks for a device and so many rows, all utterances together."""
    if device.type != "cuda":
        return SMALL
    properties = torch.cuda.get_device_properties(device)
    if properties.major != 9:
        return SMALL
    return FEW if rows < HOPPER.gated.steps * properties.multi_processor_count else HOPPER


def fits(device: torch.device) -> bool:
    """Whether a device has the products that the kernels are made of: an NVIDIA GPU since Ampere."""
    if device.type != "cuda" or torch.version.cuda is None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def _filled(channels: int) -> int:
    return -(-channels // FILL) * FILL


def _fill(x: Tensor, dim: int) -> Tensor:
    """``x`` with zeros after its end along ``dim``, up to a multiple of :data:`FILL`."""
    missing = _filled(x.shape[dim]) - x.shape[dim]
    return functional.pad(x, [0, 0] * (x.ndim - 1 - dim) + [0, missing]) if missing else x


def _in_turns(x: Tensor) -> Tensor:
    """Filters, then gates, along the last dimension, filled up and put in turns.

    With two of each::

        a0 a1 b0 b1  ->  a0 b0 a1 b1
    """
    filters, gates = (_fill(half, x.ndim - 1) for half in x.chunk(2, dim=-1))
    return torch.stack([filters, gates], dim=-1).flatten(-2)
