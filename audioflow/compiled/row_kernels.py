r"""The passes over rows that :mod:`audioflow.compiled.cpu_stack` has between its matrix products.

All arrays are flat float32 views. Rows are ordered by time, then by utterance: row ``t * B + b``. Frame ``f`` has the
``hop`` steps from ``f * hop`` on, as far as there are ``steps``. Channels and gates ``G`` are multiples of 16.

What is added to the sums of a row at place ``p`` of frame ``f`` stands in rows of ``width`` numbers, those of the layer
first:

.. math:: v_b + \sum_{j=0}^{2} w_{p,j}\, a_{f+j,b}

with ``v`` in ``steady [B, width]``, ``a`` in ``told [F + 2, B, width]``, whose outermost frames are neighbours only,
and ``w`` in ``weight [hop, 3]``.
"""

import numpy as np

from audioflow.compiled.lanes import LANES, Lanes, compiled, exp, fma, inlined, load, pick_at_most, splat, store

_ZERO, _ONE, _MINUS_TWO = np.float32(0), np.float32(1), np.float32(-2)


@inlined
def _unless_no_number(x: Lanes, y: Lanes) -> Lanes:
    """``y``, but ``x`` where that is no number: ``exp`` takes it for one."""
    return pick_at_most(x, x, y, x)


@compiled
def gate(
    first: int,
    last: int,
    steps: int,
    batch: int,
    gates: int,
    hop: int,
    width: int,
    between: bool,
    kept: bool,
    steady: np.ndarray,
    told: np.ndarray,
    weight: np.ndarray,
    sums: np.ndarray,
    result: np.ndarray,
) -> None:
    """The gates of the frames from ``first`` on and before ``last``: ``sums [T, B, 2 * G]`` -> ``result [T, B, G]``.

    Where they are ``kept``, ``tanh`` and ``sigmoid`` take the places of the sums. ``told`` and ``weight`` are looked at
    if something changes ``between`` frames.
    """
    one = splat(_ONE)
    for f in range(first, last):
        for p in range(min(hop, steps - f * hop)):
            for b in range(batch):
                row, voice = (f * hop + p) * batch + b, b * width
                before = (f * batch + b) * width
                here, after = before + batch * width, before + 2 * batch * width
                for c in range(0, gates, LANES):
                    d = gates + c
                    i = row * 2 * gates
                    x, y = load(sums, i + c) + load(steady, voice + c), load(sums, i + d) + load(steady, voice + d)
                    if between:
                        w = splat(weight[3 * p])
                        x, y = fma(w, load(told, before + c), x), fma(w, load(told, before + d), y)
                        w = splat(weight[3 * p + 1])
                        x, y = fma(w, load(told, here + c), x), fma(w, load(told, here + d), y)
                        w = splat(weight[3 * p + 2])
                        x, y = fma(w, load(told, after + c), x), fma(w, load(told, after + d), y)
                    # tanh x = (2 - u) / u and sigmoid y = 1 / v, by one division.
                    u, v = one + exp(x * splat(_MINUS_TWO)), one + exp(splat(_ZERO) - y)
                    once = one / (u * v)
                    filter_, open_ = _unless_no_number(x, (one + one - u) * v * once), _unless_no_number(y, u * once)
                    if kept:
                        store(sums, i + c, filter_)
                        store(sums, i + d, open_)
                    store(result, row * gates + c, filter_ * open_)


@compiled
def gate_backwards(
    first: int,
    last: int,
    steps: int,
    batch: int,
    gates: int,
    hop: int,
    width: int,
    between: bool,
    told: np.ndarray,
    weight: np.ndarray,
    kept: np.ndarray,
    grad: np.ndarray,
    result: np.ndarray,
    grad_sums: np.ndarray,
    shares: np.ndarray,
    grad_weight: np.ndarray,
) -> None:
    """The gates once more, and from their gradient that of the sums and of what is added to these.

    Args:
        first: frame.
        last: the frame after the last one.
        steps: ``T``.
        batch: ``B``.
        gates: ``G``.
        hop: steps of a frame.
        width: of the rows of ``told`` and ``shares``.
        between: see :func:`gate`.
        told: see :func:`gate`.
        weight: see :func:`gate`.
        kept: what :func:`gate` kept, ``[T, B, 2 * G]``.
        grad: ``[T, B, G]``.
        result: the gates, ``[T, B, G]``.
        grad_sums: ``[T, B, 2 * G]``.
        shares: of each frame in the gradient of ``v``, and of the three ``a`` it is told: ``[F, 1 or 4, B, width]``.
        grad_weight: is added to; the gradient of ``w`` in sixteen parts, ``[hop, 3, 16]``.
    """
    one, nothing = splat(_ONE), splat(_ZERO)
    count = 4 if between else 1
    each = batch * width
    for f in range(first, last):
        for row in range(f * count * batch, (f + 1) * count * batch):
            for c in range(0, 2 * gates, LANES):
                store(shares, row * width + c, nothing)
        for p in range(min(hop, steps - f * hop)):
            w0 = w1 = w2 = s0 = s1 = s2 = nothing
            k = 3 * LANES * p
            if between:
                w0, w1, w2 = splat(weight[3 * p]), splat(weight[3 * p + 1]), splat(weight[3 * p + 2])
                s0, s1, s2 = load(grad_weight, k), load(grad_weight, k + LANES), load(grad_weight, k + 2 * LANES)
            for b in range(batch):
                before, out = (f * batch + b) * width, (f * count * batch + b) * width
                here, after = before + each, before + 2 * each
                row = (f * hop + p) * batch + b
                for c in range(0, gates, LANES):
                    d = gates + c
                    i = row * 2 * gates
                    filter_, open_, g = load(kept, i + c), load(kept, i + d), load(grad, row * gates + c)
                    store(result, row * gates + c, filter_ * open_)
                    g = g * open_
                    x, y = g - g * filter_ * filter_, g * filter_ * (one - open_)
                    store(grad_sums, i + c, x)
                    store(grad_sums, i + d, y)
                    store(shares, out + c, load(shares, out + c) + x)
                    store(shares, out + d, load(shares, out + d) + y)
                    if between:
                        o = out + each
                        store(shares, o + c, fma(w0, x, load(shares, o + c)))
                        store(shares, o + d, fma(w0, y, load(shares, o + d)))
                        o += each
                        store(shares, o + c, fma(w1, x, load(shares, o + c)))
                        store(shares, o + d, fma(w1, y, load(shares, o + d)))
                        o += each
                        store(shares, o + c, fma(w2, x, load(shares, o + c)))
                        store(shares, o + d, fma(w2, y, load(shares, o + d)))
                        s0 = fma(x, load(told, before + c), fma(y, load(told, before + d), s0))
                        s1 = fma(x, load(told, here + c), fma(y, load(told, here + d), s1))
                        s2 = fma(x, load(told, after + c), fma(y, load(told, after + d), s2))
            if between:
                store(grad_weight, k, s0)
                store(grad_weight, k + LANES, s1)
                store(grad_weight, k + 2 * LANES, s2)


@compiled
def residual(
    first: int,
    last: int,
    channels: int,
    masked: bool,
    scale: float,
    bias: np.ndarray,
    mask: np.ndarray,
    h: np.ndarray,
    result: np.ndarray,
) -> None:
    """``(h + result + bias) scale mask`` in place of ``result [N, C]``, rows from ``first`` on and before ``last``."""
    for row in range(first, last):
        factor = splat(np.float32(scale * mask[row]) if masked else np.float32(scale))
        for c in range(0, channels, LANES):
            i = row * channels + c
            store(result, i, (load(h, i) + load(result, i) + load(bias, c)) * factor)
