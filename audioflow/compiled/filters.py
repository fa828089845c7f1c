"""Filters whose coefficients change from block to block, and the recursion that makes them, in compiled loops.

All arrays are float64. A signal ``x [B, p + T]`` begins with the ``p`` samples before it; coefficients ``a [B, N, p]``
hold the oldest sample's first, so that a sum runs over memory in order; block ``n`` has the samples ``t`` with
``(offset + t) // block == n``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

_NEWEST = 8
"""Samples that a recursion keeps in registers."""

_ROWS = 64
"""Rows of autocorrelations that go through the recursion side by side."""


def _loop(function: Callable[..., Any]) -> Any:
    """Compile a loop whose sums may be added up in any order."""
    return njit(cache=True, nogil=True, fastmath=True, error_model="numpy")(function)


@_loop
def predicted(x: np.ndarray, a: np.ndarray, block: int, offset: int, result: np.ndarray) -> None:
    """``result[b, t] = sum_i a_i x_{t - i}``: what each sample is expected to be, given those before it."""
    batch, steps = result.shape
    order = a.shape[2]
    for b in range(batch):
        for t in range(steps):
            n = (offset + t) // block
            # One number, not an array that might overlap: so the sum is taken several terms at a time.
            total = 0.0
            for k in range(order):
                total += a[b, n, k] * x[b, t + k]
            result[b, t] = total


@_loop
def resonated(x: np.ndarray, a: np.ndarray, block: int, offset: int) -> None:
    """Add to each sample of ``x`` what is predicted of it, one after another: ``x_t += sum_i a_i x_{t - i}``."""
    order = a.shape[2]
    batch, steps = x.shape[0], x.shape[1] - order
    older = max(0, order - _NEWEST)
    for b in range(batch):
        if older == 0:
            _resonated_of_low_order(x[b], a[b], block, offset)
            continue
        # The newest samples stay in registers: what was just written to memory is slow to be read as a vector.
        first = x[b, older : older + _NEWEST]
        x8, x7, x6, x5, x4, x3, x2, x1 = first[0], first[1], first[2], first[3], first[4], first[5], first[6], first[7]
        n, left = offset // block, block - offset % block
        for t in range(steps):
            total = x[b, order + t]
            for k in range(older):
                total += a[b, n, k] * x[b, t + k]
            total += a[b, n, older] * x8 + a[b, n, older + 1] * x7 + a[b, n, older + 2] * x6 + a[b, n, older + 3] * x5
            total += a[b, n, older + 4] * x4 + a[b, n, older + 5] * x3 + a[b, n, older + 6] * x2
            x8, x7, x6, x5, x4, x3, x2 = x7, x6, x5, x4, x3, x2, x1
            x1 = total + a[b, n, older + 7] * x1
            x[b, order + t] = x1
            left -= 1
            if left == 0:  # dividing for each sample would take a fifth of the time
                n, left = n + 1, block


@_loop
def _resonated_of_low_order(x: np.ndarray, a: np.ndarray, block: int, offset: int) -> None:
    order = a.shape[1]
    for t in range(len(x) - order):
        n = (offset + t) // block
        total = x[order + t]
        for k in range(order):
            total += a[n, k] * x[t + k]
        x[order + t] = total


@_loop
def resonated_backwards(g: np.ndarray, a: np.ndarray, block: int, offset: int) -> None:
    """The adjoint of :func:`resonated`, in place: ``g_{t - i} += a_i(t) g_t``, the last sample first."""
    order = a.shape[2]
    batch, steps = g.shape[0], g.shape[1] - order
    for b in range(batch):
        for t in range(steps - 1, -1, -1):
            n = (offset + t) // block
            here = g[b, order + t]
            for k in range(order):
                g[b, t + k] += a[b, n, k] * here


@_loop
def predicted_backwards(g: np.ndarray, a: np.ndarray, block: int, offset: int, result: np.ndarray) -> None:
    """The adjoint of :func:`predicted`: adds ``a_i(t) g_t`` to ``result_{t - i}``, ``result [B, p + T]``."""
    order = a.shape[2]
    batch, steps = g.shape
    for b in range(batch):
        t = 0
        while t < steps:
            n = (offset + t) // block
            stop = min(steps, (n + 1) * block - offset)
            for k in range(order):
                factor = a[b, n, k]
                for s in range(t, stop):
                    result[b, s + k] += factor * g[b, s]
            t = stop


@_loop
def correlated(g: np.ndarray, x: np.ndarray, block: int, offset: int, result: np.ndarray) -> None:
    """Gradient of the coefficients: ``result[b, n, i] += sum_t g_t x_{t - i}`` over the samples of block ``n``."""
    batch, steps = g.shape
    order = result.shape[2]
    for b in range(batch):
        t = 0
        while t < steps:
            n = (offset + t) // block
            stop = min(steps, (n + 1) * block - offset)
            for k in range(order):
                total = 0.0
                for s in range(t, stop):
                    total += g[b, s] * x[b, s + k]
                result[b, n, k] += total
            t = stop


@_loop
def levinson(r: np.ndarray, a: np.ndarray, energy: np.ndarray) -> None:
    """Predictors of least error from autocorrelations ``r [N, p + 1]``, by the Levinson-Durbin recursion.

    Rows go through it many at a time, side by side, so that short loops do not begin too often.

    Args:
        r: lag 0 first.
        a: ``[N, p]``, written; the coefficient of the oldest sample first.
        energy: of the prediction's error, ``[N]``, written.
    """
    rows, lags = r.shape
    order = lags - 1
    lag, own = np.ones((lags, _ROWS)), np.zeros((order, _ROWS))
    error, reflection = np.ones(_ROWS), np.zeros(_ROWS)
    for start in range(0, rows, _ROWS):
        count = min(_ROWS, rows - start)
        lag[:, :count] = r[start : start + count].T
        error[:] = lag[0]
        for i in range(order):
            _reflect(lag, own, error, reflection, i)
        for j in range(count):
            for k in range(order):
                a[start + j, k] = own[order - 1 - k, j]
            energy[start + j] = error[j]


@_loop
def _reflect(lag: np.ndarray, own: np.ndarray, error: np.ndarray, reflection: np.ndarray, i: int) -> None:
    """From predictors of order ``i`` to those of order ``i + 1``: ``own [p, rows]``, the newest sample's first."""
    width = _ROWS  # a constant, so that loops over it are unrolled
    for j in range(width):
        reflection[j] = lag[i + 1, j]
    for k in range(i):
        for j in range(width):
            reflection[j] -= own[k, j] * lag[i - k, j]
    for j in range(width):
        reflection[j] /= error[j]
        error[j] *= 1.0 - reflection[j] * reflection[j]
    # Coefficients k and i - 1 - k become each other's; where both are one, it is met once.
    for k in range((i + 1) // 2):
        for j in range(width):
            first, second = own[k, j], own[i - 1 - k, j]
            own[k, j] = first - reflection[j] * second
            own[i - 1 - k, j] = second - reflection[j] * first
    for j in range(width):
        own[i, j] = reflection[j]


@_loop
def interpolated_powers(
    start: np.ndarray, ratio: np.ndarray, first: np.ndarray, length: np.ndarray, result: np.ndarray
) -> None:
    """Powers ``result [B, K, F]`` that are geometric series between points.

    The logarithm of a spectrum that is linear between the bands' centres is a geometric series there: one product for
    each bin instead of an exponential.

    Args:
        start: the first bin's power of each stretch between two points, ``[B, S, F]``.
        ratio: from bin to bin, ``[B, S, F]``.
        first: number of its first bin, ``[S]``.
        length: bins of each stretch, ``[S]``.
        result: written.
    """
    batch, stretches, frames = start.shape
    for b in range(batch):
        for s in range(stretches):
            for n in range(length[s]):
                k = first[s] + n
                for f in range(frames):
                    result[b, k, f] = start[b, s, f] if n == 0 else result[b, k - 1, f] * ratio[b, s, f]
