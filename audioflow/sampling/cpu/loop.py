"""The compiled loop: every step, layer and utterance in one function that allocates nothing.

All arrays are flat, so that a product of :mod:`audioflow.sampling.cpu.vectors` may begin anywhere in them. Widths of
matrices and numbers of channels are multiples of 16; what is padded is zero. After the end of each array there is room
for sixteen more numbers, so that a last vector may be read, or written, whole.
"""

from typing import NamedTuple

import numpy as np

from audioflow.compiled.lanes import LANES, Lanes, fma, gated, inlined, larger, load, splat, store, uncounted
from audioflow.sampling.cpu.groups import Made, draw_group
from audioflow.sampling.cpu.laws import draw, seen
from audioflow.sampling.cpu.vectors import multiply
from audioflow.sampling.law_numbers import LawNumbers

_ZERO, _ONE = np.float32(0), np.float32(1)


class Sizes(NamedTuple):
    """Numbers of channels, each padded to 16, and of taps.

    Attributes:
        layers: gated layers.
        samples: of a step, ``r``.
        channels: residual channels ``C``.
        gates: channels ``G`` of each gate.
        skips: skip channels ``S``.
        taps: of the dilated convolutions.
        front_taps: of the first convolution.
        linear_taps: of the linear prediction, may be 0.
        conv_width: of a convolution's result, ``2 G``.
        out_width: of a layer's output, ``C + S``.
        end_width: of what the law is given.
        classes: of one-hot inputs; 0 where the network sees amplitudes.
        packed: weights of ``conv`` and ``out`` in one number: 1, or 2 where they are pairs of 16 bits.
    """

    layers: int
    samples: int
    channels: int
    gates: int
    skips: int
    taps: int
    front_taps: int
    linear_taps: int
    conv_width: int
    out_width: int
    end_width: int
    classes: int
    packed: int

    @property
    def longest(self) -> int:
        """Past inputs that are looked at."""
        return max(self.front_taps, self.linear_taps)

    @property
    def end_rows(self) -> int:
        """What the last layer sees: the hidden layer, the inputs of the linear prediction, and a one for the bias."""
        return self.skips + (0 if self.classes else self.linear_taps * self.samples) + 1


class Weights(NamedTuple):
    """Matrices, one row for each input, and vectors; float32, but ``conv`` and ``out``, which may be pairs of 16 bits.

    Attributes:
        front: ``[front_taps * r, channels]``, the oldest tap first; a row for each class of a tap for one-hot inputs.
        front_bias: ``[channels]``.
        conv: ``[layers, taps, channels, conv_width]``, the oldest tap first.
        conv_scale: ``[layers, conv_width]``.
        out: ``[layers, gates, out_width]``: the residual's columns, then the skip's.
        out_scale: ``[layers, out_width]``.
        out_bias: ``[layers, out_width]``.
        hidden: ``[skips, skips]``.
        hidden_bias: ``[skips]``.
        end: ``[end_rows, end_width]``: the last layer, the linear prediction, the bias.
        linear: ``[linear_taps * classes, end_width]`` for one-hot inputs.
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
    linear: np.ndarray
    dilations: np.ndarray
    residual_scale: np.float32
    skip_scale: np.float32
    front_relu: bool


class State(NamedTuple):
    """What goes from block to block, and room to work in.

    Attributes:
        inputs: what the network has seen of each utterance, ``[B, (longest + steps of a block) * r]``, the newest
            ``longest`` steps of the block before in front; classes for one-hot inputs.
        before: the audio sample before, ``[B]``.
        rings: past inputs of each layer's convolution, ``[slots, B, channels]`` for each.
        ring_starts: where each layer's ring begins.
        slots: of each layer's ring, the oldest slot.
        running: residual path and sum of skips, ``[B, out_width]``.
        taps: what a convolution sees, ``[B, taps * channels]``.
        sums: of a convolution, ``[B, conv_width]``.
        gated: ``[B, gates]``.
        outputs: of a layer, ``[B, out_width]``.
        skips: what the head is given, ``[B, skips]``.
        last: what the last layer is given, ``[B, end_rows]``.
        params: ``[B, end_width]``.
        room: of one draw of a group, see :func:`audioflow.sampling.cpu.groups.draw_group`.
    """

    inputs: np.ndarray
    before: np.ndarray
    rings: np.ndarray
    ring_starts: np.ndarray
    slots: np.ndarray
    running: np.ndarray
    taps: np.ndarray
    sums: np.ndarray
    gated: np.ndarray
    outputs: np.ndarray
    skips: np.ndarray
    last: np.ndarray
    params: np.ndarray
    room: np.ndarray


class Block(NamedTuple):
    """What is given for some steps, and where their audio goes.

    Attributes:
        steps: how many.
        batch: utterances ``B``.
        hop: steps of a frame.
        frames: conditioning of all layers at the rate of frames, ``[frames + 2, B, layers, conv_width]``: the frame
            before the first, and the one after the last, too.
        weight: of the frame before, this one and the next, for each step of a frame, ``[hop, 3]``.
        bias: of the convolutions, and what the speaker adds, ``[B, layers, conv_width]``.
        level: log standard deviation of the speech, ``[B, steps]``.
        noise: what each sample's law is given first, see :func:`audioflow.sampling.law_numbers.prepared_noise`,
            ``[B, steps, r]``.
        other: and what second, likewise.
        audio: ``[B, steps, r]``, written.
    """

    steps: int
    batch: int
    hop: int
    frames: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    level: np.ndarray
    noise: np.ndarray
    other: np.ndarray
    audio: np.ndarray


@uncounted
def project(matrix: np.ndarray, rows: int, x: np.ndarray, count: int, result: np.ndarray) -> None:
    """``x [count, rows] @ matrix [rows, width]`` into ``result [count, width]``, all flat."""
    width = len(matrix) // rows
    multiply(matrix, 0, width, rows, x, 0, rows, result, 0, width, count)


@uncounted
def run(
    sizes: Sizes,
    weights: Weights,
    law: LawNumbers,
    made: Made,
    state: State,
    block: Block,
    preemphasis: float,
    limit: float,
) -> None:
    """Draw the samples of a block step by step, for all utterances."""
    batch, stride = block.batch, len(state.inputs) // block.batch
    longest = stride // sizes.samples - block.steps
    frame, phase = 0, 0
    for t in range(block.steps):
        front(sizes, weights, state, t + longest, stride, batch)
        for layer in range(sizes.layers):
            _convolve(sizes, weights, state, layer, batch)
            _gate(sizes, weights, state, block, layer, frame, phase, batch)
            _add_output(sizes, weights, state, layer, batch)
        head(sizes, weights, state, t + longest, stride, batch)
        for b in range(batch):
            draw_step(sizes, law, made, state, block, b, t, b * stride, t + longest, preemphasis, limit)
        phase += 1
        if phase == block.hop:
            frame, phase = frame + 1, 0


@inlined
def draw_step(
    sizes: Sizes,
    law: LawNumbers,
    made: Made,
    state: State,
    block: Block,
    b: int,
    t: int,
    own: int,
    step: int,
    preemphasis: float,
    limit: float,
) -> None:
    """What utterance ``b``, whose inputs begin at ``own``, draws at step ``t``; ``step`` counts its inputs."""
    if sizes.samples == 1:
        _draw_one(sizes, law, state, block, b, t, own + step, preemphasis, limit)
    else:
        _draw_many(sizes, law, made, state, block, b, t, own + step * sizes.samples, limit)


@inlined
def _draw_one(
    sizes: Sizes,
    law: LawNumbers,
    state: State,
    block: Block,
    b: int,
    t: int,
    own: int,
    preemphasis: float,
    limit: float,
) -> None:
    """A sample of utterance ``b`` at step ``t``, of which the network sees ``inputs[own]``."""
    at = b * block.steps + t
    level = block.level[at]
    predicted = preemphasis * state.before[b]
    sample = draw(law, state.params, b * sizes.end_width, 1, level, block.noise[at], block.other[at])
    audio = min(max(sample + predicted, -limit), limit)
    state.before[b] = audio
    block.audio[at] = audio
    state.inputs[own] = seen(law, audio - predicted, level)


@inlined
def _draw_many(
    sizes: Sizes, law: LawNumbers, made: Made, state: State, block: Block, b: int, t: int, own: int, limit: float
) -> None:
    """A group of samples."""
    at = b * block.steps + t
    count, to = sizes.samples, at * sizes.samples
    draw_group(law, made, count, state.params, b * sizes.end_width, block.noise, block.other, to, state.room)
    unit = np.float32(np.exp(-block.level[at]))
    for i in range(count):
        sample = np.float32(min(max(state.room[i], -limit), limit))
        block.audio[to + i] = sample
        state.inputs[own + i] = sample * unit


@inlined
def front(sizes: Sizes, weights: Weights, state: State, t: int, stride: int, batch: int) -> None:
    """The first convolution into ``running``, whose skips become zero."""
    channels, step, rows = sizes.channels, sizes.out_width, sizes.front_taps * sizes.samples
    running = state.running
    if sizes.classes == 0:
        first = t * sizes.samples - rows
        multiply(weights.front, 0, channels, rows, state.inputs, first, stride, running, 0, step, batch)
    for b in range(batch):
        if sizes.classes:
            for o in range(0, channels, LANES):
                store(running, b * step + o, splat(_ZERO))
            _see(weights.front, sizes.front_taps, sizes.classes, channels, state, b * stride + t, running, b * step)
        for o in range(0, channels, LANES):
            h = load(running, b * step + o) + load(weights.front_bias, o)
            store(running, b * step + o, larger(h, splat(_ZERO)) if weights.front_relu else h)
        for o in range(channels, step, LANES):
            store(running, b * step + o, splat(_ZERO))


@inlined
def _see(
    matrix: np.ndarray, taps: int, classes: int, width: int, state: State, t: int, sums: np.ndarray, sums_at: int
) -> None:
    """Add a convolution over the last ``taps`` classes before ``inputs[t]``."""
    for tap in range(taps):
        row = (tap * classes + int(state.inputs[t - taps + tap])) * width
        for o in range(0, width, LANES):
            store(sums, sums_at + o, load(sums, sums_at + o) + load(matrix, row + o))


@inlined
def _convolve(sizes: Sizes, weights: Weights, state: State, layer: int, batch: int) -> None:
    """A layer's dilated convolution into ``sums``; its input goes to the ring."""
    width, channels, step, taps = sizes.conv_width, sizes.channels, sizes.out_width, sizes.taps
    rows = taps * channels
    dilation, slot = weights.dilations[layer], state.slots[layer]
    slots, start = dilation * (taps - 1), state.ring_starts[layer]
    # All that it sees stands side by side: one product, whatever the number of taps.
    for tap in range(taps - 1):
        place = slot + tap * dilation
        if place >= slots:
            place -= slots
        past = start + place * batch * channels
        for b in range(batch):
            for c in range(0, channels, LANES):
                store(state.taps, b * rows + tap * channels + c, load(state.rings, past + b * channels + c))
    ring = start + slot * batch * channels
    for b in range(batch):
        for c in range(0, channels, LANES):
            h = load(state.running, b * step + c)
            store(state.taps, b * rows + rows - channels + c, h)
            store(state.rings, ring + b * channels + c, h)
    state.slots[layer] = 0 if slot + 1 == slots else slot + 1
    at = layer * (rows // sizes.packed) * width
    multiply(weights.conv, at, width, rows, state.taps, 0, rows, state.sums, 0, width, batch)


@inlined
def _gate(
    sizes: Sizes, weights: Weights, state: State, block: Block, layer: int, frame: int, phase: int, batch: int
) -> None:
    """Add bias and conditioning, and gate: ``tanh(a) sigmoid(b)`` into ``gated``."""
    width, gates, all_layers = sizes.conv_width, sizes.gates, sizes.layers * sizes.conv_width
    at = 3 * phase
    before, here, after = splat(block.weight[at]), splat(block.weight[at + 1]), splat(block.weight[at + 2])
    stride = batch * all_layers
    for b in range(batch):
        scale = layer * width
        own = b * all_layers + scale
        for i in range(0, gates, LANES):
            j = i + gates  # filter, and gate
            x = _told(
                weights, block, scale + i, own + i, frame * stride, stride, before, here, after, state, b * width + i
            )
            y = _told(
                weights, block, scale + j, own + j, frame * stride, stride, before, here, after, state, b * width + j
            )
            store(state.gated, b * gates + i, gated(x, y))


@inlined
def _told(
    weights: Weights,
    block: Block,
    scale: int,
    own: int,
    frame: int,
    stride: int,
    before: Lanes,
    here: Lanes,
    after: Lanes,
    state: State,
    sums: int,
) -> Lanes:
    """Sums of a convolution from ``sums`` on, scaled, with bias and conditioning."""
    told = fma(before, load(block.frames, frame + own), load(block.bias, own))
    told = fma(here, load(block.frames, frame + stride + own), told)
    told = fma(after, load(block.frames, frame + 2 * stride + own), told)
    return fma(load(state.sums, sums), load(weights.conv_scale, scale), told)


@inlined
def _add_output(sizes: Sizes, weights: Weights, state: State, layer: int, batch: int) -> None:
    """A layer's output onto the residual path, which is scaled, and onto the skips."""
    width, gates, channels = sizes.out_width, sizes.gates, sizes.channels
    at = layer * (gates // sizes.packed) * width
    multiply(weights.out, at, width, gates, state.gated, 0, gates, state.outputs, 0, width, batch)
    own = layer * width
    scale = splat(weights.residual_scale)
    for b in range(batch):
        for o in range(0, channels, LANES):
            i = b * width + o
            total = load(state.running, i) + load(weights.out_bias, own + o)
            total = fma(load(state.outputs, i), load(weights.out_scale, own + o), total)
            store(state.running, i, total * scale)
        for o in range(channels, width, LANES):
            i = b * width + o
            total = load(state.running, i) + load(weights.out_bias, own + o)
            store(state.running, i, fma(load(state.outputs, i), load(weights.out_scale, own + o), total))


@inlined
def head(sizes: Sizes, weights: Weights, state: State, t: int, stride: int, batch: int) -> None:
    """From the sum of skips to what the law is given, in ``params``."""
    skips, channels, step, end = sizes.skips, sizes.channels, sizes.out_width, sizes.end_width
    seen_rows = 0 if sizes.classes else sizes.linear_taps * sizes.samples
    rows, first = skips + seen_rows + 1, t * sizes.samples - seen_rows
    for b in range(batch):
        for o in range(0, skips, LANES):
            skip = load(state.running, b * step + channels + o) * splat(weights.skip_scale)
            store(state.skips, b * skips + o, larger(skip, splat(_ZERO)))
    multiply(weights.hidden, 0, skips, skips, state.skips, 0, skips, state.last, 0, rows, batch)
    for b in range(batch):
        own = b * rows
        for o in range(0, skips, LANES):
            store(state.last, own + o, larger(load(state.last, own + o) + load(weights.hidden_bias, o), splat(_ZERO)))
        for i in range(seen_rows):
            state.last[own + skips + i] = state.inputs[b * stride + first + i]
        state.last[own + rows - 1] = _ONE
    multiply(weights.end, 0, end, rows, state.last, 0, rows, state.params, 0, end, batch)
    if sizes.classes:
        for b in range(batch):
            _see(weights.linear, sizes.linear_taps, sizes.classes, end, state, b * stride + t, state.params, b * end)
