"""The compiled loop: every sample, layer and utterance in one function that allocates nothing.

All arrays are flat, so that a product of :mod:`audioflow.sampling.cpu.vectors` may begin anywhere in them. Widths of
matrices are multiples of 64, and numbers of channels multiples of 16; what is padded is zero.
"""

from typing import NamedTuple

import numpy as np

from audioflow.compiled.lanes import LANES, Lanes, compiled, fma, gated, inlined, larger, load, splat, store
from audioflow.sampling.cpu.laws import draw, seen
from audioflow.sampling.cpu.vectors import product_4x1, product_4x4, product_8x1
from audioflow.sampling.law_numbers import LawNumbers

_ZERO = np.float32(0)


class Sizes(NamedTuple):
    """Numbers of channels, each padded, and of taps.

    Attributes:
        layers: gated layers.
        channels: residual channels ``C``.
        gates: channels ``G`` of each gate.
        skips: skip channels ``S``.
        taps: of the dilated convolutions.
        front_taps: of the first convolution.
        linear_taps: of the linear prediction, may be 0.
        conv_width: of a convolution's result, ``2 G`` padded to 64.
        out_width: of a layer's output, ``C + S`` padded to 64.
        front_width: of the front's result, ``C`` padded to 64.
        hidden_width: of the head's hidden layer.
        end_width: of what the law is given.
        classes: of one-hot inputs; 0 where the network sees amplitudes.
        packed: weights of ``conv`` and ``out`` in one number: 1, or 2 where they are pairs of 16 bits.
    """

    layers: int
    channels: int
    gates: int
    skips: int
    taps: int
    front_taps: int
    linear_taps: int
    conv_width: int
    out_width: int
    front_width: int
    hidden_width: int
    end_width: int
    classes: int
    packed: int


class Weights(NamedTuple):
    """Matrices, one row for each input, and vectors; float32, but ``conv`` and ``out``, which may be pairs of 16 bits.

    Attributes:
        front: ``[front_taps, front_width]``, the oldest tap first; a row for each class of a tap for one-hot inputs.
        front_bias: ``[front_width]``.
        conv: ``[layers, taps, channels, conv_width]``, the oldest tap first.
        conv_scale: ``[layers, conv_width]``.
        out: ``[layers, gates, out_width]``: the residual's columns, then the skip's.
        out_scale: ``[layers, out_width]``.
        out_bias: ``[layers, out_width]``.
        hidden: ``[skips, hidden_width]``.
        hidden_bias: ``[hidden_width]``.
        end: ``[hidden_width, end_width]``.
        end_bias: ``[end_width]``.
        linear: ``[linear_taps, end_width]``, or likewise for classes.
        dilations: one for each layer.
        residual_scale: what a layer's output is multiplied by.
        skip_scale: what the sum of the skips is multiplied by.
        front_relu: whether a ReLU follows the front.
    """

    front: np.ndarray
    front_bias: np.ndarray
    conv: np.ndarray
    conv_scale: np.ndarray
    out: np.ndarray
    out_scale: np.ndarray
    out_bias: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    end: np.ndarray
    end_bias: np.ndarray
    linear: np.ndarray
    dilations: np.ndarray
    residual_scale: np.float32
    skip_scale: np.float32
    front_relu: bool


class State(NamedTuple):
    """What goes from block to block, and room to work in.

    Attributes:
        inputs: what the network has seen of each utterance, ``[B, longest + steps of a block]``, the newest ``longest``
            of the block before in front; classes for one-hot inputs.
        before: the audio sample before, ``[B]``.
        rings: past inputs of each layer's convolution, ``[slots, B, channels]`` for each.
        ring_starts: where each layer's ring begins.
        slots: of each layer's ring, the oldest slot.
        running: residual path and sum of skips, ``[B, out_width]``.
        sums: of a convolution, ``[B, conv_width]``.
        gated: ``[B, gates]``.
        outputs: of a layer, ``[B, out_width]``.
        skips: what the head is given, ``[B, skips]``.
        hidden: ``[B, hidden_width]``.
        params: ``[B, end_width]``.
    """

    inputs: np.ndarray
    before: np.ndarray
    rings: np.ndarray
    ring_starts: np.ndarray
    slots: np.ndarray
    running: np.ndarray
    sums: np.ndarray
    gated: np.ndarray
    outputs: np.ndarray
    skips: np.ndarray
    hidden: np.ndarray
    params: np.ndarray


class Block(NamedTuple):
    """What is given for some steps, and where their audio goes.

    Attributes:
        frames: conditioning of all layers at the rate of frames, ``[frames + 2, B, layers, conv_width]``: the frame
            before the first, and the one after the last, too.
        weight: of the frame before, this one and the next, for each sample of a frame, ``[hop, 3]``.
        bias: of the convolutions, and what the speaker adds, ``[B, layers, conv_width]``.
        level: log standard deviation of the speech, ``[B, steps]``.
        noise: see :func:`audioflow.sampling.law_numbers.prepared_noise`, ``[2, B, steps]``.
        audio: ``[B, steps]``, written.
    """

    frames: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    level: np.ndarray
    noise: np.ndarray
    audio: np.ndarray


@compiled
def project(matrix: np.ndarray, rows: int, x: np.ndarray, result: np.ndarray) -> None:
    """``x [N, rows] @ matrix [rows, width]`` into ``result [N, width]``, all flat."""
    count = len(x) // rows
    width = len(matrix) // rows
    for i in range(0, count * width, LANES):
        store(result, i, splat(_ZERO))
    multiply(matrix, 0, width, rows, x, 0, rows, result, width, count)


@compiled
def run(
    sizes: Sizes, weights: Weights, law: LawNumbers, state: State, block: Block, preemphasis: float, limit: float
) -> None:
    """Draw the samples of a block one after another, for all utterances."""
    batch, steps = block.audio.shape
    hop = block.weight.shape[0]
    longest = state.inputs.shape[1] - steps
    for t in range(steps):
        _front(sizes, weights, state, t + longest, batch)
        for layer in range(sizes.layers):
            _convolve(sizes, weights, state, layer, batch)
            _gate(sizes, weights, state, block, layer, t // hop, t % hop, batch)
            _add_output(sizes, weights, state, layer, batch)
        _head(sizes, weights, state, t + longest, batch)
        for b in range(batch):
            level = block.level[b, t]
            predicted = preemphasis * state.before[b]
            sample = draw(law, state.params, b * sizes.end_width, level, block.noise[0, b, t], block.noise[1, b, t])
            audio = min(max(sample + predicted, -limit), limit)
            state.before[b] = audio
            block.audio[b, t] = audio
            state.inputs[b, t + longest] = seen(law, audio - predicted, level)


@inlined
def _front(sizes: Sizes, weights: Weights, state: State, t: int, batch: int) -> None:
    """The first convolution into ``running``, whose skips become zero."""
    width, step = sizes.front_width, sizes.out_width
    running = state.running
    for b in range(batch):
        for o in range(step):
            running[b * step + o] = weights.front_bias[o] if o < sizes.channels else _ZERO
    # The front is at most as wide as its channels padded; its columns beyond them are zero.
    _see(sizes, weights.front, width, sizes.front_taps, state, t, running, step, batch)
    if weights.front_relu:
        for b in range(batch):
            for o in range(sizes.channels):
                running[b * step + o] = max(running[b * step + o], _ZERO)


@inlined
def _see(
    sizes: Sizes,
    matrix: np.ndarray,
    width: int,
    taps: int,
    state: State,
    t: int,
    sums: np.ndarray,
    step: int,
    batch: int,
) -> None:
    """Add a convolution over the last ``taps`` inputs before step ``t``."""
    stride = state.inputs.shape[1]
    if sizes.classes == 0:
        multiply(matrix, 0, width, taps, state.inputs.reshape(-1), t - taps, stride, sums, step, batch)
        return
    for b in range(batch):
        for tap in range(taps):
            row = (tap * sizes.classes + int(state.inputs[b, t - taps + tap])) * width
            for o in range(width):
                sums[b * step + o] += matrix[row + o]


@inlined
def _convolve(sizes: Sizes, weights: Weights, state: State, layer: int, batch: int) -> None:
    """A layer's dilated convolution into ``sums``; its input goes to the ring."""
    width, channels, step = sizes.conv_width, sizes.channels, sizes.out_width
    for i in range(0, batch * width, LANES):
        store(state.sums, i, splat(_ZERO))
    dilation, taps = weights.dilations[layer], sizes.taps
    slots, slot = dilation * (taps - 1), state.slots[layer]
    matrix = channels * width // sizes.packed
    at = layer * taps * matrix
    for tap in range(taps - 1):
        place = slot + tap * dilation
        if place >= slots:
            place -= slots
        past = state.ring_starts[layer] + place * batch * channels
        multiply(
            weights.conv, at + tap * matrix, width, channels, state.rings, past, channels, state.sums, width, batch
        )
    multiply(weights.conv, at + (taps - 1) * matrix, width, channels, state.running, 0, step, state.sums, width, batch)
    ring = state.ring_starts[layer] + slot * batch * channels
    for b in range(batch):
        for c in range(0, channels, LANES):
            store(state.rings, ring + b * channels + c, load(state.running, b * step + c))
    state.slots[layer] = 0 if slot + 1 == slots else slot + 1


@inlined
def _gate(
    sizes: Sizes, weights: Weights, state: State, block: Block, layer: int, frame: int, phase: int, batch: int
) -> None:
    """Add bias and conditioning, and gate: ``tanh(a) sigmoid(b)`` into ``gated``."""
    width, gates, all_layers = sizes.conv_width, sizes.gates, sizes.layers * sizes.conv_width
    before, here, after = splat(block.weight[phase, 0]), splat(block.weight[phase, 1]), splat(block.weight[phase, 2])
    stride = batch * all_layers
    for b in range(batch):
        own = b * all_layers + layer * width
        for half in range(0, gates, LANES):
            i, j = half, gates + half  # filter, and gate
            a = _told(
                state, weights, block, b * width, layer * width, own, frame * stride, stride, i, before, here, after
            )
            c = _told(
                state, weights, block, b * width, layer * width, own, frame * stride, stride, j, before, here, after
            )
            store(state.gated, b * gates + half, gated(a, c))


@inlined
def _told(
    state: State,
    weights: Weights,
    block: Block,
    sums: int,
    scale: int,
    own: int,
    frame: int,
    stride: int,
    o: int,
    before: Lanes,
    here: Lanes,
    after: Lanes,
) -> Lanes:
    """Columns from ``o`` on of a convolution's sums, scaled, with bias and conditioning."""
    total = fma(load(state.sums, sums + o), load(weights.conv_scale, scale + o), load(block.bias, own + o))
    total = fma(before, load(block.frames, frame + own + o), total)
    total = fma(here, load(block.frames, frame + stride + own + o), total)
    return fma(after, load(block.frames, frame + 2 * stride + own + o), total)


@inlined
def _add_output(sizes: Sizes, weights: Weights, state: State, layer: int, batch: int) -> None:
    """A layer's output onto the residual path, which is scaled, and onto the skips."""
    width, gates, channels = sizes.out_width, sizes.gates, sizes.channels
    matrix = gates * width // sizes.packed
    multiply(weights.out, layer * matrix, width, gates, state.gated, 0, gates, state.outputs, width, batch)
    own = layer * width
    scale = splat(weights.residual_scale)
    for b in range(batch):
        for o in range(0, width, LANES):
            i = b * width + o
            made = fma(load(state.outputs, i), load(weights.out_scale, own + o), load(weights.out_bias, own + o))
            total = load(state.running, i) + made
            store(state.running, i, total * scale if o < channels else total)
            store(state.outputs, i, splat(_ZERO))


@inlined
def _head(sizes: Sizes, weights: Weights, state: State, t: int, batch: int) -> None:
    """From the sum of skips to what the law is given, in ``params``."""
    skips, channels, step = sizes.skips, sizes.channels, sizes.out_width
    hidden, end = sizes.hidden_width, sizes.end_width
    first, second = state.skips, state.hidden
    for b in range(batch):
        for o in range(0, skips, LANES):
            skip = load(state.running, b * step + channels + o) * splat(weights.skip_scale)
            store(first, b * skips + o, larger(skip, splat(_ZERO)))
        for o in range(0, hidden, LANES):
            store(second, b * hidden + o, load(weights.hidden_bias, o))
        for o in range(0, end, LANES):
            store(state.params, b * end + o, load(weights.end_bias, o))
    multiply(weights.hidden, 0, hidden, skips, first, 0, skips, second, hidden, batch)
    for i in range(0, batch * hidden, LANES):
        store(second, i, larger(load(second, i), splat(_ZERO)))
    multiply(weights.end, 0, end, hidden, second, 0, hidden, state.params, end, batch)
    if sizes.linear_taps:
        _see(sizes, weights.linear, end, sizes.linear_taps, state, t, state.params, end, batch)


@inlined
def multiply(
    weights: np.ndarray,
    at: int,
    width: int,
    rows: int,
    x: np.ndarray,
    x_at: int,
    x_step: int,
    sums: np.ndarray,
    sums_step: int,
    batch: int,
) -> None:
    """Add ``x @ weights`` to ``sums``, for each utterance.

    Args:
        weights: the matrix ``[rows, width]`` begins at ``at``; ``width`` divides by 64.
        at: see above.
        width: see above.
        rows: see above.
        x: utterance ``b`` has its ``rows`` numbers from ``x_at + b * x_step`` on.
        x_at: see above.
        x_step: see above.
        sums: utterance ``b`` has its ``width`` sums from ``b * sums_step`` on.
        sums_step: see above.
        batch: number of utterances.
    """
    fours = batch // 4 * 4
    for column in range(0, width, 64):
        for b in range(0, fours, 4):
            x_b, sums_b = x_at + b * x_step, b * sums_step + column
            product_4x4(weights, at + column, width, x, x_b, x_step, sums, sums_b, sums_step, rows)
    wide = width // 128 * 128
    for b in range(fours, batch):
        x_b, sums_b = x_at + b * x_step, b * sums_step
        for column in range(0, wide, 128):
            product_8x1(weights, at + column, width, x, x_b, x_step, sums, sums_b + column, sums_step, rows)
        for column in range(wide, width, 64):
            product_4x1(weights, at + column, width, x, x_b, x_step, sums, sums_b + column, sums_step, rows)
