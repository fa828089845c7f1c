"""Convolutions of one tap."""

import platform
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional


def conv1x1(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution of one tap: ``x [B, in, T]``, ``weight [out, in, 1]`` -> ``[B, out, T]``.

    With one thread torch leaves it to its library for products, MKL, and with several to the one for convolutions,
    oneDNN. On processors of AMD MKL keeps to older instructions, at half the rate, so there oneDNN is asked for in
    synthesis: it gets whatever has a dilation, which for one tap means nothing.
    """
    return functional.conv1d(x, weight, bias, dilation=2 if _asks_for_onednn(x) else 1)


def _asks_for_onednn(x: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    return x.device.type == "cpu" and x.dtype == torch.float32 and torch.get_num_threads() == 1 and made_by_amd()


@cache
def made_by_amd() -> bool:
    """Whether the processor is AMD's."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return "AMD" in platform.processor()
