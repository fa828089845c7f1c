"""What every output law offers: a density, and a sample as a function of standard normal noise."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional


class OutputLaw(ABC):
    """The law of one audio sample given the numbers that a network puts out for it.

    All likelihoods are **densities over amplitude**, in nats; a law on a grid spreads each of its masses evenly over
    its cell, so that the laws can be compared with each other.

    Attributes:
        parameter_channels: numbers ``P`` that the network gives for each sample.
        noise_channels: standard normal numbers ``N`` that one draw consumes.
        input_channels: channels of what a network that is fed back its own samples sees of one, see
            :meth:`network_input`.
        sample_channels: numbers of one draw: 1, or the samples of a group.
    """

    parameter_channels: int
    noise_channels: int
    input_channels: int = 1
    sample_channels: int = 1

    @abstractmethod
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-density of ``x [B, 1, T]`` under ``params [B, P, T]``: ``[B, T]``, in nats."""

    def smooth_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """A log-density like :meth:`log_prob` with gradients in ``x``, which need not lie on any grid: ``[B, T]``.

        Raises:
            NotImplementedError: the law has none.
        """
        return self.log_prob(params, x)

    @abstractmethod
    def sample(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        """The draw ``[B, 1, T]`` that standard normal ``noise [B, N, T]`` selects.

        A temperature below 1 narrows the law: scales are multiplied by it, logits divided; 0 takes the most likely.
        """

    @abstractmethod
    def at_level(self, outputs: Tensor, level: Tensor) -> Tensor:
        """Parameters from what a network put out for speech of standard deviation ``exp(level)``.

        Outputs of zero say "as wide as the speech is loud here", and outputs of the order of one say all that is worth
        saying, at any loudness: locations are in units of ``exp(level)``, log-scales relative to ``level``.

        Args:
            outputs: ``[B, P, T]``.
            level: ``[B, 1, T]``.
        """

    def moved(self, params: Tensor, shift: Tensor) -> Tensor:
        """Parameters of the law of ``x + shift``: all locations of ``params [B, P, T]`` moved by ``shift [B, 1, T]``.

        Raises:
            TypeError: the law has no locations.
        """
        raise TypeError(f"a {type(self).__name__} has no location that could be moved")

    def network_input(self, x: Tensor, level: Tensor) -> Tensor:
        """What a network that is fed back its own samples sees of ``x [B, 1, T]``: by default ``x exp(-level)``.

        Zeros mean what comes before the first sample.
        """
        return x * torch.exp(-level)

    def like(self, x: Tensor) -> "OutputLaw":
        """The same law with whatever tensors it has in the dtype of ``x``, on its device."""
        return self


def soft_floor(raw: Tensor, floor: float) -> Tensor:
    """Smooth ``max(raw, floor)``: ``floor + softplus(raw - floor)``; its gradient never vanishes abruptly."""
    return floor + functional.softplus(raw - floor)


def uniform(noise: Tensor) -> Tensor:
    """Standard normal numbers turned into uniform ones in (0, 1) by the normal distribution function."""
    tiny = torch.finfo(noise.dtype).eps / 2
    u: Tensor = torch.special.ndtr(noise)
    return u.clamp(tiny, 1 - tiny)


def choose(logits: Tensor, noise: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Draw a category by the inverse distribution function.

    Args:
        logits: ``[B, K, T]``.
        noise: standard normal, ``[B, 1, T]``.
        temperature: divides the logits; 0 takes the largest.

    Returns:
        The category ``[B, 1, T]`` and the position within its share of the unit interval, ``[B, 1, T]`` in (0, 1): what
        is left of the noise, uniform and independent of the category.
    """
    if temperature == 0:
        index = logits.argmax(dim=1, keepdim=True)
        return index, torch.full_like(noise, 0.5)
    mass = torch.softmax(logits / temperature, dim=1)
    above = mass.cumsum(dim=1)
    u = uniform(noise) * above[:, -1:]
    index = (above <= u).sum(dim=1, keepdim=True).clamp(max=logits.shape[1] - 1)
    share = mass.gather(1, index)
    position = (u - (above.gather(1, index) - share)) / share
    return index, position.clamp(0, 1)
