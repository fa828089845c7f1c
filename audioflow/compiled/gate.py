"""The gate of a WaveNet's layer in one pass over memory, for synthesis on a CPU.

``tanh(a + c) * sigmoid(b + d)`` takes torch five passes, and in a narrow network as long as the convolution before it.
"""

import numpy as np
import torch
from torch import Tensor

from audioflow.compiled.lanes import LANES, compiled, gated, load, load_half, splat, store, store_half


def gate_in_one_pass(sums: Tensor, share: Tensor | None) -> Tensor:
    """``tanh(filter) sigmoid(gate)`` of ``sums + share``, both ``[B, 2 * G, T]`` -> ``[B, G, T]``.

    Args:
        sums: float32 or bfloat16, contiguous, on the CPU, at least 16 steps long.
        share: of the same kind, or with ``T = 1``; ``None`` for none.
    """
    batch, twice, steps = sums.shape
    result = torch.empty(batch, twice // 2, steps, dtype=sums.dtype)
    added = torch.zeros(batch, twice, 1, dtype=sums.dtype) if share is None else share.contiguous()
    constant = added.shape[-1] == 1
    half = sums.dtype == torch.bfloat16
    loop = _gate_halves if half else _gate_floats
    loop(_numbers(sums), _numbers(added), constant, _numbers(result), twice // 2, steps)
    return result


def fits(sums: Tensor, share: Tensor | None) -> bool:
    """Whether :func:`gate_in_one_pass` can be used, and no gradient is wanted."""
    if torch.is_grad_enabled():
        return False
    return (
        sums.device.type == "cpu"
        and sums.dtype in (torch.float32, torch.bfloat16)
        and sums.is_contiguous()
        and sums.shape[-1] >= LANES
        and (share is None or (share.dtype == sums.dtype and share.shape[-1] in (1, sums.shape[-1])))
    )


def _numbers(x: Tensor) -> np.ndarray:
    """A flat view; of bfloat16 as 16-bit whole numbers, for which numpy has a name."""
    flat = x.detach().view(-1)
    array: np.ndarray = (flat.view(torch.int16) if x.dtype == torch.bfloat16 else flat).numpy()
    return array


@compiled
def _gate_floats(
    sums: np.ndarray, added: np.ndarray, constant: bool, result: np.ndarray, gates: int, steps: int
) -> None:
    for row in range(len(result) // steps):
        first = (row // gates) * 2 * gates + row % gates
        a, b, y = first * steps, (first + gates) * steps, row * steps
        for start in range(0, steps, LANES):
            # The last vector overlaps the one before: it makes the same numbers again.
            t = min(start, steps - LANES)
            if constant:
                c, d = splat(added[first]), splat(added[first + gates])
            else:
                c, d = load(added, a + t), load(added, b + t)
            store(result, y + t, gated(load(sums, a + t) + c, load(sums, b + t) + d))


@compiled
def _gate_halves(
    sums: np.ndarray, added: np.ndarray, constant: bool, result: np.ndarray, gates: int, steps: int
) -> None:
    spread = np.empty(2 * LANES, np.int16)
    for row in range(len(result) // steps):
        first = (row // gates) * 2 * gates + row % gates
        a, b, y = first * steps, (first + gates) * steps, row * steps
        for i in range(LANES):
            spread[i], spread[LANES + i] = added[first if constant else 0], added[first + gates if constant else 0]
        for start in range(0, steps, LANES):
            t = min(start, steps - LANES)
            if constant:
                c, d = load_half(spread, 0), load_half(spread, LANES)
            else:
                c, d = load_half(added, a + t), load_half(added, b + t)
            store_half(result, y + t, gated(load_half(sums, a + t) + c, load_half(sums, b + t) + d))
