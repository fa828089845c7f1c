"""What a machine can do at most: the rate of products that keep its arithmetic busy, and of copying."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch.nn import functional

from audioflow.evaluation.engines import precision

ROUNDS = 5


@dataclass(frozen=True)
class Ceiling:
    """The most that was reached on a device in this run.

    Attributes:
        multiply_accumulates: in a second, by the better of a convolution and a matrix product, in each precision.
        copied_bytes: read, and as many written, in a second.
    """

    multiply_accumulates: dict[torch.dtype, float]
    copied_bytes: float

    def share(self, engine: str, samples_per_second: float, multiply_accumulates: float) -> float:
        """Give the part of the best arithmetic, in the engine's precision or in float32, that is reached.

        Args:
            engine: of a vocoder.
            samples_per_second: that it makes.
            multiply_accumulates: of each sample.
        """
        # Some layers of every engine stay in float32, which is the faster one where the hardware knows no other.
        best = max(self.multiply_accumulates[dtype] for dtype in (precision(engine), torch.float32))
        return samples_per_second * multiply_accumulates / best

    def facts(self) -> dict[str, str]:
        """Say it in words, ready to print."""
        rates = {
            f"Ceiling, {str(dtype).removeprefix('torch.')}": f"{rate / 1e9:,.0f} G multiply-accumulates/s"
            for dtype, rate in self.multiply_accumulates.items()
        }
        return {**rates, "Ceiling, copying": f"{self.copied_bytes / 1e9:,.1f} GB/s"}


def measure_ceiling(device: torch.device | str, engines: Iterable[str]) -> Ceiling:
    """Measure what a device can do in the precisions of some engines; that takes about a second.

    Args:
        device: of torch.
        engines: names, of which the precision counts.
    """
    device = torch.device(device)
    dtypes = sorted({torch.float32, *(precision(engine) for engine in engines)}, key=str, reverse=True)
    with torch.inference_mode():
        rates = {dtype: max(_convolution(device, dtype), _product(device, dtype)) for dtype in dtypes}
        return Ceiling(rates, _copying(device))


def _convolution(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply-accumulates in a second of a convolution that is as wide as those of large vocoders."""
    batch = 64 if device.type == "cuda" else 1
    x = torch.randn(batch, 256, 4096, device=device).to(dtype)
    weight = torch.randn(512, 256, 3, device=device).to(dtype)
    least = _least_seconds(lambda: functional.conv1d(x, weight, padding=4, dilation=4), device)
    return batch * 512 * 256 * 3 * 4096 / least


def _product(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply-accumulates in a second of a product of two square matrices."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return size**3 / _least_seconds(lambda: a @ b, device)


def _copying(device: torch.device) -> float:
    """Bytes in a second that are copied from one place to another, more of them than caches hold."""
    source = torch.zeros(2**28 if device.type == "cuda" else 2**25, device=device)
    target = torch.ones_like(source)
    return source.nbytes / _least_seconds(lambda: target.copy_(source), device)


def _least_seconds(function: Callable[[], object], device: torch.device) -> float:
    taken = []
    for _ in range(ROUNDS):
        start = _now(device)
        function()
        taken.append(_now(device) - start)
    return min(taken)


def _now(device: torch.device) -> float:
    """Seconds, when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
