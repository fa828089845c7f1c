"""The gate of a WaveNet's layer in one pass over memory, for synthesis on a GPU, as :mod:`audioflow.compiled.gate`."""

import torch
import triton
from torch import Tensor

from audioflow.compiled.cuda_kernels import gate_kernel

BLOCK = 1024
"""Numbers of a program."""


def gate_in_one_pass(sums: Tensor, share: Tensor | None) -> Tensor:
    """``tanh(filter) sigmoid(gate)`` of ``sums + share``, both ``[B, 2 * G, T]`` -> ``[B, G, T]``.

    Args:
        sums: float32 or bfloat16, contiguous, on a GPU.
        share: of the same kind, each utterance in one piece, or with ``T = 1``; ``None`` for none.
    """
    batch, twice, steps = sums.shape
    result = torch.empty(batch, twice // 2, steps, dtype=sums.dtype, device=sums.device)
    count = twice // 2 * steps
    # One step for all is little to copy.
    added = sums if share is None else share.contiguous() if share.shape[-1] == 1 else share
    of_share = 0 if share is None else added.stride(0)
    per_number = 1 if share is None or share.shape[-1] == steps else steps
    options = {"SHARED": share is not None, "BLOCK": BLOCK, "num_warps": 4}
    grid = (triton.cdiv(count, BLOCK), batch)
    gate_kernel[grid](sums, added, result, count, of_share, per_number, **options)
    return result


def fits(sums: Tensor, share: Tensor | None) -> bool:
    """Whether :func:`gate_in_one_pass` can be used, and no gradient is wanted."""
    if torch.is_grad_enabled() or torch.version.cuda is None:
        return False
    if not sums.is_cuda or sums.dtype not in (torch.float32, torch.bfloat16) or not sums.is_contiguous():
        return False
    return share is None or _lies_well(sums, share)


def _lies_well(sums: Tensor, share: Tensor) -> bool:
    if share.dtype != sums.dtype or share.shape[:2] != sums.shape[:2] or share.shape[-1] not in (1, sums.shape[-1]):
        return False
    return share.shape[-1] == 1 or share[0].is_contiguous()
