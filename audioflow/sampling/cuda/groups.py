"""The draw of a group of samples inside the kernel, as :class:`audioflow.nets.group_head.GroupLaw` does it.

What the network puts out for a group waits in device memory, since registers have no room for all of it. Without a MADE
earlier samples move the laws of later ones and change nothing else, so all are drawn at once as if none told of
another. Then one after another is known, and what it adds to the later ones, its column of the triangle, goes there::

    e_0    e_1               e_2                         drawn
    x_0    e_1 + L_10 x_0    e_2 + L_20 x_0              x_0 is known
    x_0    x_1               e_2 + L_20 x_0 + L_21 x_1   x_1 is known

With a MADE each sample is drawn when those before it are known, and goes to the hidden units as well.
"""

import triton
import triton.language as tl

from audioflow.nets import group_head
from audioflow.sampling.cuda.laws import GAUSSIAN, at_column, draw
from audioflow.sampling.cuda.products import in_two, product

SEEN = tl.constexpr(group_head.SEEN)

AT_ONCE = tl.constexpr(1024)
"""Numbers of a group's laws, at most, that registers have room for."""


@triton.jit
def tell(
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
    C: tl.constexpr,
    P: tl.constexpr,
    WIDTH: tl.constexpr,
    WINDOW: tl.constexpr,
    LINEAR_TAPS: tl.constexpr,
):
    """What the network puts out for each row's group into ``room [batch, WIDTH]``, ``P`` columns at a time.

    Args:
        room: written.
        high: the hidden layer, ``[rows, C]``; ``low`` is its second part.
        low: see above.
        window_high: the past inputs, ``[rows, WINDOW]``, likewise.
        window_low: see above.
        end: see :func:`audioflow.sampling.cuda.kernel.sample`, as all that follow.
        end_bias: see there.
        linear: see there.
        own: utterance of each row.
        writes: whether a row is written.
        C: see there.
        P: see there.
        WIDTH: see there.
        WINDOW: see there.
        LINEAR_TAPS: see there.
    """
    c, w = tl.arange(0, C)[:, None], tl.arange(0, WINDOW)[:, None]
    for column in tl.range(0, WIDTH, P, num_stages=2):
        p = column + tl.arange(0, P)[None, :]
        params = tl.zeros([window_high.shape[0], P], tl.float32) + tl.load(end_bias + p)
        params = product(high, low, end + c * WIDTH + p, C * WIDTH, params, 2)
        if LINEAR_TAPS > 0:
            params = product(window_high, window_low, linear + w * WIDTH + p, WINDOW * WIDTH, params, 2)
        tl.store(room + own[:, None] * WIDTH + p, params, mask=writes[:, None])


@triton.jit
def draw_group(
    room,
    own,
    chance,
    other,
    made_in,
    made_out,
    edges,
    temperature,
    floor,
    LAW: tl.constexpr,
    COMPONENTS: tl.constexpr,
    R: tl.constexpr,
    S: tl.constexpr,
    K: tl.constexpr,
    H: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """A group of samples for each row, ``[rows, S]``; those after the first ``R`` mean nothing.

    Args:
        room: from :func:`tell`, ``theta [P, R]``, the triangle row by row, what the MADE's first layer is told ``[H]``.
        own: utterance of each row.
        chance: noise, ``[rows, S]``, see :func:`audioflow.sampling.law_numbers.prepared_noise`; ``other`` likewise.
        other: see above.
        made_in: see :func:`audioflow.sampling.cuda.kernel.sample`, as all that follow.
        made_out: see there.
        edges: see there.
        temperature: see there.
        floor: see there.
        LAW: see there.
        COMPONENTS: see there.
        R: see there.
        S: see there.
        K: see there.
        H: see there.
        WIDTH: see there.
    """
    rows: tl.constexpr = chance.shape[0]
    numbers: tl.constexpr = 2 if LAW == GAUSSIAN else 3 * COMPONENTS
    at_once: tl.constexpr = H == 0 and S * K <= AT_ONCE
    s, k = tl.arange(0, S)[None, :], tl.arange(0, K)[None, :]
    group = room + own[:, None] * WIDTH
    # Row i of the triangle begins after 0 + 1 + ... + (i - 1) numbers.
    triangle = group + numbers * R + s * (s - 1) // 2
    if at_once:
        # A thread has all numbers of a sample: no sum waits for another thread.
        at = tl.reshape(group + tl.minimum(s, R - 1), (1, rows * S)) + tl.trans(k) * R
        params = tl.trans(tl.load(at, mask=tl.trans(k) < numbers, other=0.0))
        chance, other = tl.reshape(chance, (rows * S,)), tl.reshape(other, (rows * S,))
        level = tl.zeros([rows * S], tl.float32)
        e = draw(params, level, chance, other, edges, temperature, floor, LAW, COMPONENTS, K)
        x = tl.reshape(e, (rows, S))
    else:
        x = tl.zeros([rows, S], tl.float32)
    if H > 0:
        u = tl.arange(0, H)
        units = tl.load(group + numbers * R + R * (R - 1) // 2 + u[None, :])

    # The next column is under way while a sample is drawn.
    after = tl.load(triangle, mask=(s > 0) & (s < R), other=0.0)
    for j in tl.range(0, R, num_stages=2 if H > 0 else 1):
        column = after
        after = tl.load(triangle + j + 1, mask=(s > j + 1) & (s < R), other=0.0)
        if not at_once:
            params = tl.load(group + k * R + j, mask=k < numbers, other=0.0)
            if H > 0:
                high, low = in_two(tl.maximum(units, 0.0))
                params = product(high, low, made_out + (j * H + u[:, None]) * K + k, R * H * K, params, 2)
            level = tl.zeros([rows], tl.float32)
            luck, more = at_column(chance, s, j), at_column(other, s, j)
            e = draw(params, level, luck, more, edges, temperature, floor, LAW, COMPONENTS, K)
            x += tl.where(s == j, e[:, None], 0.0)
        sample = at_column(x, s, j)[:, None]
        x += column * sample
        if H > 0:
            units += tl.minimum(tl.maximum(sample, -SEEN), SEEN) * tl.load(made_in + j * H + u)[None, :]
    return x
