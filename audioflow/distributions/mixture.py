"""What mixtures of laws with a location and a scale have in common."""

import torch
from torch import Tensor
from typing_extensions import override

from audioflow.distributions.base import OutputLaw, choose, soft_floor


class Mixture(OutputLaw):
    """A mixture of ``K`` laws: ``params`` are ``K`` logits, ``K`` locations, ``K`` log-scales.

    Args:
        components: ``K``.
        min_log_scale: floor of the log-scales.
    """

    noise_channels = 2

    def __init__(self, components: int = 10, min_log_scale: float = -11.5) -> None:
        self.components = components
        self.parameter_channels = 3 * components
        self.min_log_scale = min_log_scale

    def parts(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, locations and log-scales of ``params [B, 3 K, T]``, each ``[B, K, T]``."""
        logits, location, raw = params.chunk(3, dim=1)
        return torch.log_softmax(logits, dim=1), location, soft_floor(raw, self.min_log_scale)

    def component(self, params: Tensor, noise: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Location and scale, each ``[B, 1, T]``, of the component that ``noise [B, 1, T]`` selects."""
        log_weights, location, log_scale = self.parts(params)
        index, _ = choose(log_weights, noise, temperature)
        return location.gather(1, index), temperature * log_scale.gather(1, index).exp()

    @override
    def at_level(self, outputs: Tensor, level: Tensor) -> Tensor:
        """Logits as they are; locations, spread over two standard deviations on either side; log-scales."""
        logits, location, raw = outputs.chunk(3, dim=1)
        # Made where it is needed: a copy from the CPU cannot be part of a CUDA graph.
        centres = location.new_zeros(1)
        if self.components > 1:
            centres = torch.linspace(-2, 2, self.components, dtype=location.dtype, device=location.device)
        return torch.cat([logits, (location + centres[:, None]) * torch.exp(level), raw + level], dim=1)

    @override
    def moved(self, params: Tensor, shift: Tensor) -> Tensor:
        logits, location, raw = params.chunk(3, dim=1)
        return torch.cat([logits, location + shift, raw], dim=1)
