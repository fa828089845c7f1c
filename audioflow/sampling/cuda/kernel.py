"""The kernel: one program draws all samples of a block for up to 16 utterances, without waiting for any other.

A step is a chain of products of small matrices with 16 columns, each waiting for the one before. Weights stream through
the multiprocessor's own memory, a layer or more ahead of their use; the residual path and the sum of skips stay in
registers; what was computed for earlier steps lies in rings in device memory.
"""

import triton
import triton.language as tl

from audioflow.sampling.cuda.groups import draw_group, tell
from audioflow.sampling.cuda.laws import draw, seen_of
from audioflow.sampling.cuda.products import in_two, product

ROWS = tl.constexpr(16)
"""Utterances of a program at most: the fewest rows that a matrix unit takes."""


@triton.jit(do_not_specialize=["first", "steps", "batch", "each", "layers", "share_time", "share_layer", "share_row"])
def sample(
    seen,
    audio,
    share,
    level,
    noise,
    rings,
    conv,
    out,
    residual_bias,
    skip_bias,
    front,
    front_bias,
    hidden,
    hidden_bias,
    end,
    end_bias,
    linear,
    made_in,
    made_out,
    room,
    edges,
    first,
    steps,
    batch,
    each,
    layers,
    share_time,
    share_layer,
    share_row,
    residual_scale,
    skip_scale,
    preemphasis,
    limit,
    temperature,
    floor,
    CYCLE: tl.constexpr,
    TAPS: tl.constexpr,
    C: tl.constexpr,
    G: tl.constexpr,
    P: tl.constexpr,
    R: tl.constexpr,
    S: tl.constexpr,
    K: tl.constexpr,
    H: tl.constexpr,
    WIDTH: tl.constexpr,
    WINDOW: tl.constexpr,
    FRONT_TAPS: tl.constexpr,
    LINEAR_TAPS: tl.constexpr,
    FRONT_RELU: tl.constexpr,
    LAW: tl.constexpr,
    COMPONENTS: tl.constexpr,
    ONE_HOT: tl.constexpr,
    PARTS: tl.constexpr,
    STAGES: tl.constexpr,
    QUICK: tl.constexpr,
):
    """Draw the samples of a block one after another.

    Matrices are float16, and where a number is to be kept to float32's precision a sum of two, of which the second
    array follows the first. Program ``p`` draws the utterances ``p * each`` to ``p * each + each - 1``.

    Args:
        seen: what the network saw, ``[WINDOW + steps * R, batch]``, in order of time; the first ``WINDOW`` rows are
            given, the rest written.
        audio: ``[1 + steps * R, batch]``, likewise.
        share: what is added in each layer, for filter and gate in turns, ``2 G`` numbers at
            ``t * share_time + l * share_layer + b * share_row``.
        level: log standard deviation of the speech, ``[steps, batch]``.
        noise: see :func:`audioflow.sampling.law_numbers.prepared_noise`, ``[2, steps * R, batch]``.
        rings: inputs of the dilated convolutions, ``[slots of all layers, batch, PARTS, C]``.
        conv: ``[2, layers, TAPS, C, 2 G]``, the oldest tap first, columns of filter and gate in turns.
        out: ``[2, layers, 2, G, C]``, residual, which is zero in the last layer, and skip.
        residual_bias: ``[layers, C]``.
        skip_bias: of all layers together, ``[C]``.
        front: ``[WINDOW, C]`` in two parts, or for one-hot inputs ``[FRONT_TAPS, COMPONENTS, C]`` in float32.
        front_bias: ``[C]``.
        hidden: ``[2, C, C]``.
        hidden_bias: ``[C]``.
        end: ``[2, C, WIDTH]``.
        end_bias: ``[WIDTH]``.
        linear: like ``front``, to ``WIDTH`` channels.
        made_in: what each sample of a group adds to the hidden units of its MADE, ``[R, H]`` in float32.
        made_out: what these add to the numbers of each sample's law, ``[2, R, H, K]``.
        room: where what the network puts out for groups waits, ``[batch, WIDTH]``.
        edges: borders of mu-law classes.
        first: number of the first step, for the rings.
        steps: of the block.
        batch: utterances in all.
        each: utterances of a program, up to 16.
        layers: gated layers.
        share_time: see ``share``.
        share_layer: see ``share``.
        share_row: see ``share``.
        residual_scale: what a layer's output is multiplied by.
        skip_scale: what the sum of the skips is multiplied by.
        preemphasis: coefficient.
        limit: what samples are clamped to.
        temperature: of the law.
        floor: of log-scales.
        CYCLE: layers after which the dilations start again at 1.
        TAPS: of the dilated convolutions.
        C: residual channels, and skip channels, a power of two.
        G: channels of each gate, likewise.
        P: numbers that the law is given, likewise; of a group as many as are made at a time.
        R: samples of a step.
        S: the same or more, likewise.
        K: numbers that the law of one sample of a group is given, likewise.
        H: hidden units of a group's MADE, likewise; 0 for none.
        WIDTH: numbers that the law is given in all, a multiple of ``P``.
        WINDOW: past inputs that are looked at, likewise.
        FRONT_TAPS: of the first convolution.
        LINEAR_TAPS: of the linear prediction.
        FRONT_RELU: whether a ReLU follows the front.
        LAW: kind of the law.
        COMPONENTS: of a mixture, or classes.
        ONE_HOT: whether the network sees classes.
        PARTS: float16 numbers for each weight of the gated layers: 1, or 2 for float32's precision.
        STAGES: layers whose weights are under way at a time, and one.
        QUICK: whether the GPU's own approximations will do: of a tanh, to 11 bits, for ``PARTS = 1``; of a quotient.
    """
    rows = tl.arange(0, ROWS)
    # Rows beyond the utterances repeat the last one, and write nothing.
    own = tl.minimum(tl.program_id(0) * each + tl.minimum(rows, each - 1), batch - 1)
    writes = (rows < each) & (tl.program_id(0) * each + rows < batch)
    c, g, p, w = tl.arange(0, C), tl.arange(0, G), tl.arange(0, P), tl.arange(0, WINDOW)
    s, gates = tl.arange(0, S), tl.arange(0, 2 * G)
    own_share = own[:, None] * share_row + gates[None, :]
    own_ring = own[:, None] * (PARTS * C) + c[None, :]
    slots_of_cycle = 2**CYCLE - 1

    newest = tl.load(seen + (WINDOW - 1) * batch + own)
    before = tl.load(audio + own)
    told = tl.load(share + own_share)
    for t in range(steps):
        # What other threads wrote in the step before is to be seen.
        tl.debug_barrier()
        loudness = tl.load(level + t * batch + own)
        if R == 1:
            chance = tl.load(noise + t * batch + own)
            other = tl.load(noise + (steps + t) * batch + own)
        else:
            places = (t * R + tl.minimum(s, R - 1)[None, :]) * batch + own[:, None]
            chance = tl.load(noise + places)
            other = tl.load(noise + steps * R * batch + places)
        window = tl.load(seen + (t * R + w[None, :]) * batch + own[:, None])
        window_high, window_low = in_two(window)

        x = tl.zeros([ROWS, C], tl.float32) + tl.load(front_bias + c)[None, :]
        if ONE_HOT:
            x = add_classes(x, seen, front, own, c, t, batch, FRONT_TAPS, WINDOW, COMPONENTS, C)
        elif FRONT_TAPS == 1 and R == 1:
            row = tl.load(front + (WINDOW - 1) * C + c).to(tl.float32)
            row += tl.load(front + (2 * WINDOW - 1) * C + c).to(tl.float32)
            x += newest[:, None] * row[None, :]
        else:
            x = product(window_high, window_low, front + w[:, None] * C + c[None, :], WINDOW * C, x, 2)
        if FRONT_RELU:
            x = tl.maximum(x, 0.0)

        skips = tl.zeros([ROWS, C], tl.float32)
        for layer in tl.range(0, layers, num_stages=STAGES):
            sums = told
            follows = layer + 1 < layers
            after = tl.minimum(tl.where(follows, t, t + 1), steps - 1).to(tl.int64) * share_time
            told = tl.load(share + after + tl.where(follows, layer + 1, 0) * share_layer + own_share)

            in_cycle = layer % CYCLE
            dilation = 1 << in_cycle
            # A power of two, for one or two taps of the past.
            slots = dilation * (TAPS - 1)
            ring = rings + ((layer // CYCLE) * slots_of_cycle + dilation - 1) * (TAPS - 1) * batch * (PARTS * C)
            matrix = conv + layer * (TAPS * 2 * C * G) + c[:, None] * (2 * G) + gates[None, :]
            lower = layers * (TAPS * 2 * C * G)
            for tap in tl.static_range(TAPS - 1):
                slot = (first + t + tap * dilation) & (slots - 1)
                past = ring + slot * batch * (PARTS * C) + own_ring
                high = tl.load(past)
                low = high
                if PARTS == 2:
                    low = tl.load(past + C)
                sums = product(high, low, matrix + tap * (2 * C * G), lower, sums, PARTS)
            high, low = in_two(x)
            sums = product(high, low, matrix + (TAPS - 1) * (2 * C * G), lower, sums, PARTS)
            oldest = ring + ((first + t) & (slots - 1)) * batch * (PARTS * C) + own_ring
            tl.store(oldest, high, mask=writes[:, None])
            if PARTS == 2:
                tl.store(oldest + C, low, mask=writes[:, None])

            filter_, gate = tl.split(tl.reshape(sums, (ROWS, G, 2)))
            high, low = in_two(gated(filter_, gate, QUICK, PARTS))
            matrix = out + layer * (2 * G * C) + g[:, None] * C + c[None, :]
            skips = product(high, low, matrix + G * C, layers * (2 * G * C), skips, PARTS)
            x = product(high, low, matrix, layers * (2 * G * C), x, PARTS)
            x = (x + tl.load(residual_bias + layer * C + c)[None, :]) * residual_scale

        h = tl.maximum((skips + tl.load(skip_bias + c)[None, :]) * skip_scale, 0.0)
        high, low = in_two(h)
        h = tl.zeros([ROWS, C], tl.float32) + tl.load(hidden_bias + c)[None, :]
        h = product(high, low, hidden + c[:, None] * C + c[None, :], C * C, h, 2)
        high, low = in_two(tl.maximum(h, 0.0))
        if R == 1:
            params = tl.zeros([ROWS, P], tl.float32) + tl.load(end_bias + p)[None, :]
            params = product(high, low, end + c[:, None] * P + p[None, :], C * P, params, 2)
            if LINEAR_TAPS > 0 and ONE_HOT:
                params = add_classes(params, seen, linear, own, p, t, batch, LINEAR_TAPS, WINDOW, COMPONENTS, P)
            elif LINEAR_TAPS > 0:
                params = product(window_high, window_low, linear + w[:, None] * P + p[None, :], WINDOW * P, params, 2)

            predicted = preemphasis * before
            drawn = draw(params, loudness, chance, other, edges, temperature, floor, LAW, COMPONENTS, P)
            before = tl.minimum(tl.maximum(drawn + predicted, -limit), limit)
            newest = seen_of(before - predicted, loudness, edges, LAW, COMPONENTS, ONE_HOT, P)
            tl.store(audio + (t + 1) * batch + own, before, mask=writes)
            tl.store(seen + (WINDOW + t) * batch + own, newest, mask=writes)
        else:
            tell(
                room,
                high,
                low,
                window_high,
                window_low,
                end,
                end_bias,
                linear,
                own,
                writes,
                C,
                P,
                WIDTH,
                WINDOW,
                LINEAR_TAPS,
            )
            # And here what they wrote in this one.
            tl.debug_barrier()
            group = draw_group(
                room,
                own,
                chance,
                other,
                made_in,
                made_out,
                edges,
                temperature,
                floor,
                LAW,
                COMPONENTS,
                R,
                S,
                K,
                H,
                WIDTH,
            )
            group = tl.minimum(tl.maximum(group, -limit), limit)
            inside = writes[:, None] & (s < R)[None, :]
            tl.store(audio + batch + places, group, mask=inside)
            tl.store(seen + WINDOW * batch + places, group * tl.exp(-loudness)[:, None], mask=inside)


@triton.jit
def gated(filter_, gate, QUICK: tl.constexpr, PARTS: tl.constexpr):
    """``tanh(filter) * sigmoid(gate)``."""
    if QUICK and PARTS == 1:
        y = quick_tanh(filter_) * (0.5 * quick_tanh(0.5 * gate) + 0.5)
    else:
        # Two exponentials and one quotient, without overflow.
        a, b = -2.8853900817779268 * tl.maximum(filter_, -15.0), -1.4426950408889634 * tl.maximum(gate, -40.0)
        if QUICK:
            a, b = quick_exp2(a), quick_exp2(b)
            y = (1.0 - a) * quick_inverse((1.0 + a) * (1.0 + b))
        else:
            a, b = tl.exp2(a), tl.exp2(b)
            y = (1.0 - a) / ((1.0 + a) * (1.0 + b))
    return y


@triton.jit
def quick_tanh(x):
    """The GPU's own: right to 11 bits."""
    return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)


@triton.jit
def quick_exp2(x):
    """``2 ** x`` to 22 bits; zero for what float32 has too few bits for."""
    return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)


@triton.jit
def quick_inverse(x):
    """``1 / x`` to 23 bits."""
    return tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)


@triton.jit
def add_classes(
    total,
    seen,
    matrix,
    own,
    columns,
    t,
    batch,
    TAPS: tl.constexpr,
    WINDOW: tl.constexpr,
    CLASSES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Add a convolution over the last ``TAPS`` classes that were seen before step ``t``."""
    for tap in range(TAPS):
        number = tl.load(seen + (t + WINDOW - TAPS + tap) * batch + own).to(tl.int32)
        total += tl.load(matrix + ((tap * CLASSES + number) * WIDTH)[:, None] + columns[None, :])
    return total


@triton.jit(do_not_specialize=["hop", "batch"])
def interpolate(frames, weight, bias, shares, hop, batch, width, COLUMNS: tl.constexpr):
    r"""Samples between frames, some columns of one frame of one utterance.

    .. math:: s_{f h + p} = b + \sum_{j=-1}^{1} w_{p,j}\, a_{f+j}

    Args:
        frames: ``a``, with the frame before the first and the one after the last, ``[F + 2, batch, width]``.
        weight: ``w``, ``[hop, 3]``.
        bias: ``b``, ``[batch, width]``.
        shares: ``s``, ``[F * hop, batch, width]``, written.
        hop: ``h``.
        batch: utterances.
        width: columns in all.
        COLUMNS: of this program.
    """
    frame, own = tl.program_id(0).to(tl.int64), tl.program_id(1)
    columns = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < width
    frames += (frame * batch + own) * width + columns
    shares += (frame * hop * batch + own) * width + columns
    step = tl.cast(batch, tl.int64) * width
    before = tl.load(frames, mask=inside)
    here = tl.load(frames + step, mask=inside)
    after = tl.load(frames + 2 * step, mask=inside)
    always = tl.load(bias + own * width + columns, mask=inside)
    for phase in range(hop):
        at = weight + 3 * phase
        x = always + tl.load(at) * before + tl.load(at + 1) * here + tl.load(at + 2) * after
        tl.store(shares + phase * step, x, mask=inside)
