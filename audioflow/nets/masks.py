"""Masks for batches of utterances of unequal length.

A mask is ``[B, 1, T]`` of 0 and 1, or ``None`` where every utterance fills the batch. Utterances of 3 and 2 frames::

    lengths = [3, 2]  ->  mask = [[[1, 1, 1]], [[1, 1, 0]]]
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor


def mask_of(lengths: Tensor | None, steps: int, dtype: torch.dtype = torch.float32) -> Tensor | None:
    """Mask ``[B, 1, steps]`` of the first ``lengths [B]`` steps of each utterance; ``None`` for ``None``."""
    if lengths is None:
        return None
    positions = torch.arange(steps, device=lengths.device)
    return (positions < lengths[:, None]).to(dtype)[:, None]


def repeat_mask(mask: Tensor | None, factor: int) -> Tensor | None:
    """The same mask at a rate ``factor`` times higher: ``[B, 1, T] -> [B, 1, T * factor]``."""
    return None if mask is None else mask.repeat_interleave(factor, dim=-1)


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """``x [B, C, T]`` with the steps outside the mask set to zero."""
    return x if mask is None else x * mask.to(x.dtype)


def valid_steps(x: Tensor, mask: Tensor | None) -> Tensor:
    """Number of valid time steps of each utterance, ``[B]``, in the dtype of log-determinants."""
    dtype = wide(x).dtype
    if mask is None:
        return torch.full((x.shape[0],), x.shape[-1], dtype=dtype, device=x.device)
    return mask.to(dtype).sum(dim=(1, 2))


def wide(x: Tensor) -> Tensor:
    """``x`` in float32 if it is in half precision, unchanged otherwise (float64 stays float64)."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def full_precision(x: Tensor) -> AbstractContextManager[None]:
    """Context for the parts that carry 16-bit audio: autocast is off on the device of ``x``, and so is TF32.

    By default cuDNN rounds the factors of float32 convolutions to 10 bits on GPUs that can (TF32).
    """
    kind = x.device.type
    if kind != "cuda" and not torch.is_autocast_enabled(kind):
        return nullcontext()  # entering a context takes as long as a small layer
    return _full_precision(kind)


@contextmanager
def _full_precision(kind: str) -> Iterator[None]:
    cudnn = torch.backends.cudnn
    exact: AbstractContextManager[None] = nullcontext()
    if kind == "cuda":
        kept = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
        exact = cudnn.flags(**kept, allow_tf32=False)
    with torch.autocast(kind, enabled=False), exact:
        yield
