"""The compiled loop with gated layers in 8 bits; the front, the head and the draws are those of the other loop."""

from typing import NamedTuple

import numpy as np

from audioflow.compiled.lanes import LANES, Lanes, fma, inlined, larger, load, splat, store, uncounted
from audioflow.sampling.cpu.groups import Made
from audioflow.sampling.cpu.loop import Block, Sizes, State, draw_step, front, head
from audioflow.sampling.cpu.quantized import (
    LEVELS,
    largest_of,
    load_whole,
    multiply_bytes,
    quick_gate,
    size_of,
    store_bytes,
)
from audioflow.sampling.law_numbers import LawNumbers

_TINY = np.float32(1e-20)
_LEVELS, _STEP = np.float32(LEVELS), np.float32(1 / LEVELS)


class ByteWeights(NamedTuple):
    """As :class:`audioflow.sampling.cpu.loop.Weights`, but for these.

    Attributes:
        conv: ``[layers, taps, channels / 4, conv_width, 4]``, 8 bits.
        conv_start: what a tap's sums begin with, ``[layers, taps, conv_width]``, 32 bits.
        conv_scale: ``[layers, conv_width]``; as all that is added to the gates in the units of :func:`quick_gate`.
        out: ``[layers, gates / 4, out_width, 4]``, 8 bits.
        out_start: ``[layers, out_width]``, 32 bits.
        out_scale: ``[layers, out_width]``; the scale of the inputs, which is always the same, is in it.
    """

    front: np.ndarray
    front_bias: np.ndarray
    conv: np.ndarray
    conv_start: np.ndarray
    conv_scale: np.ndarray
    out: np.ndarray
    out_start: np.ndarray
    out_scale: np.ndarray
    out_bias: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    end: np.ndarray
    linear: np.ndarray
    dilations: np.ndarray
    residual_scale: np.float32
    skip_scale: np.float32
    front_relu: bool


class ByteState(NamedTuple):
    """What is kept in 8 bits, and its scales; rings begin where those of :class:`State` do.

    Attributes:
        rings: ``[slots, B, channels]`` for each layer.
        scales: of each of them, ``[slots, B]``.
        gated: ``[gates]``.
        sums: of a layer's convolution, ``[taps, conv_width]``, and of its output; 32 bits.
        steps: scales of a convolution's inputs, ``[taps]``.
    """

    rings: np.ndarray
    scales: np.ndarray
    gated: np.ndarray
    sums: np.ndarray
    steps: np.ndarray


@uncounted
def run_bytes(
    sizes: Sizes,
    weights: ByteWeights,
    law: LawNumbers,
    made: Made,
    state: State,
    kept: ByteState,
    block: Block,
    preemphasis: float,
    limit: float,
) -> None:
    """See :func:`audioflow.sampling.cpu.loop.run`."""
    batch, stride = block.batch, len(state.inputs) // block.batch
    longest = stride // sizes.samples - block.steps
    frame, phase = 0, 0
    for t in range(block.steps):
        front(sizes, weights, state, t + longest, stride, batch)
        for layer in range(sizes.layers):
            for b in range(batch):
                _convolve(sizes, weights, state, kept, layer, b, batch)
                _gate(sizes, weights, kept, block, layer, frame, phase, b, batch)
                _add_output(sizes, weights, state, kept, layer, b)
            slots = weights.dilations[layer] * (sizes.taps - 1)
            state.slots[layer] = 0 if state.slots[layer] + 1 == slots else state.slots[layer] + 1
        head(sizes, weights, state, t + longest, stride, batch)
        for b in range(batch):
            draw_step(sizes, law, made, state, block, b, t, b * stride, t + longest, preemphasis, limit)
        phase += 1
        if phase == block.hop:
            frame, phase = frame + 1, 0


@inlined
def _convolve(
    sizes: Sizes, weights: ByteWeights, state: State, kept: ByteState, layer: int, b: int, batch: int
) -> None:
    """Sums of each tap by itself: each of its inputs has a scale of its own. The newest goes to the ring."""
    width, channels, taps = sizes.conv_width, sizes.channels, sizes.taps
    dilation, slot, start = weights.dilations[layer], state.slots[layer], state.ring_starts[layer] // channels
    slots, quads = dilation * (taps - 1), channels // 4
    for tap in range(taps - 1):
        place = slot + tap * dilation
        if place >= slots:
            place -= slots
        row, own = start + place * batch + b, layer * taps + tap
        multiply_bytes(
            weights.conv, own * quads * width, width, kept.rings, row * channels,
            weights.conv_start, own * width, kept.sums, tap * width, quads,
        )  # fmt: skip
        kept.steps[tap] = kept.scales[row]
    row, own = start + slot * batch + b, layer * taps + taps - 1
    running = b * sizes.out_width
    biggest: Lanes = size_of(load(state.running, running))
    for c in range(LANES, channels, LANES):
        biggest = larger(biggest, size_of(load(state.running, running + c)))
    largest = max(largest_of(biggest), _TINY)
    levels = splat(_LEVELS / largest)
    for c in range(0, channels, LANES):
        store_bytes(kept.rings, row * channels + c, load(state.running, running + c) * levels)
    kept.scales[row] = kept.steps[taps - 1] = largest * _STEP
    multiply_bytes(
        weights.conv, own * quads * width, width, kept.rings, row * channels,
        weights.conv_start, own * width, kept.sums, (taps - 1) * width, quads,
    )  # fmt: skip


@inlined
def _gate(
    sizes: Sizes,
    weights: ByteWeights,
    kept: ByteState,
    block: Block,
    layer: int,
    frame: int,
    phase: int,
    b: int,
    batch: int,
) -> None:
    """Add bias and conditioning, and gate: ``tanh(a) sigmoid(b)`` into ``gated``."""
    gates, all_layers = sizes.gates, sizes.layers * sizes.conv_width
    at, stride = 3 * phase, batch * all_layers
    before, here, after = splat(block.weight[at]), splat(block.weight[at + 1]), splat(block.weight[at + 2])
    scale = layer * sizes.conv_width
    own = b * all_layers + scale
    for i in range(0, gates, LANES):
        j = i + gates  # filter, and gate
        x = _told(sizes, weights, kept, block, i, scale + i, own + i, frame * stride, stride, before, here, after)
        y = _told(sizes, weights, kept, block, j, scale + j, own + j, frame * stride, stride, before, here, after)
        store_bytes(kept.gated, i, quick_gate(x, y) * splat(_LEVELS))


@inlined
def _told(
    sizes: Sizes,
    weights: ByteWeights,
    kept: ByteState,
    block: Block,
    sums: int,
    scale: int,
    own: int,
    frame: int,
    stride: int,
    before: Lanes,
    here: Lanes,
    after: Lanes,
) -> Lanes:
    told = fma(before, load(block.frames, frame + own), load(block.bias, own))
    told = fma(here, load(block.frames, frame + stride + own), told)
    told = fma(after, load(block.frames, frame + 2 * stride + own), told)
    total = load_whole(kept.sums, sums) * splat(kept.steps[0])
    for tap in range(1, sizes.taps):
        total = fma(load_whole(kept.sums, tap * sizes.conv_width + sums), splat(kept.steps[tap]), total)
    return fma(total, load(weights.conv_scale, scale), told)


@inlined
def _add_output(sizes: Sizes, weights: ByteWeights, state: State, kept: ByteState, layer: int, b: int) -> None:
    """A layer's output onto the residual path, which is scaled, and onto the skips."""
    width, quads, channels = sizes.out_width, sizes.gates // 4, sizes.channels
    at, own = layer * quads * width, layer * width
    multiply_bytes(weights.out, at, width, kept.gated, 0, weights.out_start, own, kept.sums, 0, quads)
    scale = splat(weights.residual_scale)
    for o in range(0, channels, LANES):
        i = b * width + o
        total = load(state.running, i) + load(weights.out_bias, own + o)
        total = fma(load_whole(kept.sums, o), load(weights.out_scale, own + o), total)
        store(state.running, i, total * scale)
    for o in range(channels, width, LANES):
        i = b * width + o
        total = load(state.running, i) + load(weights.out_bias, own + o)
        store(state.running, i, fma(load_whole(kept.sums, o), load(weights.out_scale, own + o), total))
