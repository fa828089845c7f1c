"""How much memory something needs while it runs, over what was taken before."""

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# What Linux is told to forget the highest amount of resident memory so far.
FORGET_PEAK = "5"


def peak_memory(function: Callable[[], Result], device: torch.device | str = "cpu") -> tuple[int | None, Result]:
    """Run ``function`` and give the bytes that it took at its peak, over those taken before, with what it returned.

    On a GPU that is memory of tensors there; elsewhere it is resident memory of the process. What the function returns
    counts; what was there before, like a model's weights, does not. Memory that was freed before is handed back first,
    where the C library can do so: otherwise it would be used again unseen.

    Args:
        function: is run once.
        device: on which it works.

    Returns:
        Bytes, and the result. ``None`` for the bytes where the system tells only the highest amount since the process
        began, and that was not exceeded.
    """
    if torch.device(device).type == "cuda":
        return _peak_on_gpu(function, torch.device(device))
    _hand_back()
    if _forget_peak():
        before = _kilobytes("VmRSS")
        result = function()
        return 1024 * max(0, _kilobytes("VmHWM") - before), result
    highest = _highest_since_start()
    result = function()
    now = _highest_since_start()
    return (None if highest is None or now is None or now <= highest else now - highest), result


def _peak_on_gpu(function: Callable[[], Result], device: torch.device) -> tuple[int, Result]:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = function()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before, result


def _hand_back() -> None:
    """Give memory that nothing uses any more back to the system, as far as that can be done."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others need not
        if trim is not None:
            trim(0)


def _forget_peak() -> bool:
    """Let the system's record of the highest resident memory begin anew; whether it did."""
    try:
        CLEAR_REFS.write_text(FORGET_PEAK)
        _kilobytes("VmHWM")
    except (OSError, LookupError):
        return False
    return True


def _kilobytes(name: str) -> int:
    """Give a figure of the process's own memory as Linux tells it."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(f"{STATUS} says nothing of {name}")


def _highest_since_start() -> int | None:
    """Give the most bytes that were ever resident; ``None`` where the system does not say."""
    try:
        import resource  # noqa: PLC0415 - Windows has no such module
    except ImportError:
        return None
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else 1024 * highest
