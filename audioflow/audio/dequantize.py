"""Between the 16-bit grid of recordings and the continuum on which densities live."""

import torch
from torch import Tensor

AMPLITUDE_STEP = 2.0**-15
"""Distance of neighbouring 16-bit amplitudes."""


def dequantize(wav: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Spread each 16-bit sample evenly over its step: ``x + u * 2^-15`` with ``u`` uniform in [-1/2, 1/2).

    A model's density over the result is a lower bound of the likelihood of the grid values.

    Args:
        wav: any shape, in [-1, 1], on the 16-bit grid.
        generator: source of the noise, on any device; ``None`` takes torch's global one for the CPU.

    Returns:
        shape, dtype and device of ``wav``. Use float32 or wider: narrower types cannot hold the noise.

    References:
        B. Uria, I. Murray, H. Larochelle, "RNADE: The real-valued neural autoregressive density-estimator", 2013,
        https://arxiv.org/abs/1306.0186
    """
    device = torch.device("cpu") if generator is None else generator.device
    noise = torch.rand(wav.shape, dtype=wav.dtype, device=device, generator=generator) - 0.5
    return wav + noise.to(wav.device) * AMPLITUDE_STEP


def quantize(wav: Tensor) -> Tensor:
    """Move each sample to the nearest value ``k * 2^-15`` with ``k`` in -32768..32767; any shape, dtype kept."""
    return (wav / AMPLITUDE_STEP).round().clamp(-32768, 32767) * AMPLITUDE_STEP
