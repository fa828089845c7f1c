"""Filters whose coefficients change from block to block, and the recursion that makes them, in compiled loops.

All arrays are float64. A signal ``x [B, p + T]`` begins with the ``p`` samples before it; coefficients ``a [B, N, p]``
hold the oldest sample's first, so that a sum runs over memory in order; block ``n`` has the samples ``t`` with
``(offset + t) // block == n``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


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
    for b in range(batch):
        for t in range(steps):
            n = (offset + t) // block
            total = 0.0
            for k in range(order):
                total += a[b, n, k] * x[b, t + k]
            x[b, order + t] += total


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

    Args:
        r: lag 0 first.
        a: ``[N, p]``, written; the coefficient of the oldest sample first.
        energy: of the prediction's error, ``[N]``, written.
    """
    rows, lags = r.shape
    order = lags - 1
    own, other = np.zeros(order), np.zeros(order)
    for row in range(rows):
        error = r[row, 0]
        for i in range(order):
            total = r[row, i + 1]
            for k in range(i):
                total -= own[k] * r[row, i - k]
            reflection = total / error
            for k in range(i):
                other[k] = own[k] - reflection * own[i - 1 - k]
            for k in range(i):
                own[k] = other[k]
            own[i] = reflection
            error *= 1.0 - reflection * reflection
        for k in range(order):
            a[row, k] = own[order - 1 - k]
        energy[row] = error
