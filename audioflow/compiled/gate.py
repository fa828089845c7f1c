"""The gate of a WaveNet's layer in one pass over memory, for synthesis on a CPU.

``tanh(a + c) * sigmoid(b + d)`` takes torch five passes, and in a narrow network as long as the convolution before it.
"""

import numpy as np
import torch
from torch import Tensor

from audioflow.compiled.lanes import LANES, compiled, gated, load, load_half, store, store_half


def gate_in_one_pass(sums: Tensor, share: Tensor | None) -> Tensor:
    """``tanh(filter) sigmoid(gate)`` of ``sums + share``, both ``[B, 2 * G, T]`` -> ``[B, G, T]``.

    Args:
        sums: float32 or bfloat16, contiguous, on the CPU, at least 16 steps long.
        share: of the same kind, or with ``T = 1``; ``None`` for none.
    """
    batch, twice, steps = sums.shape
    result = torch.empty(batch, twice // 2, steps, dtype=sums.dtype)
    added = (sums.new_zeros(()) if share is None else share).expand_as(sums).contiguous()
    loop = _gate_halves if sums.dtype == torch.bfloat16 else _gate_floats
    loop(_numbers(sums), _numbers(added), _numbers(result), twice // 2, steps)
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
def _gate_floats(sums: np.ndarray, added: np.ndarray, result: np.ndarray, gates: int, steps: int) -> None:
    for row in range(len(result) // steps):
        a, y = ((row // gates) * 2 * gates + row % gates) * steps, row * steps
        for start in range(0, steps, LANES):
            # The last vector overlaps the one before: it makes the same numbers again.
            i = a + min(start, steps - LANES)
            j = i + gates * steps
            filter_, gate = load(sums, i) + load(added, i), load(sums, j) + load(added, j)
            store(result, y + i - a, gated(filter_, gate))


@compiled
def _gate_halves(sums: np.ndarray, added: np.ndarray, result: np.ndarray, gates: int, steps: int) -> None:
    for row in range(len(result) // steps):
        a, y = ((row // gates) * 2 * gates + row % gates) * steps, row * steps
        for start in range(0, steps, LANES):
            i = a + min(start, steps - LANES)
            j = i + gates * steps
            filter_, gate = load_half(sums, i) + load_half(added, i), load_half(sums, j) + load_half(added, j)
            store_half(result, y + i - a, gated(filter_, gate))
