"""MADE as a density by itself: an output law for each channel, one mask or an average over several."""

import math

import torch
from torch import Tensor, nn

from audioflow.distributions import OutputLaw
from audioflow.nets.made import MADE
from audioflow.nets.masks import full_precision, masked, wide


class MADEDensity(nn.Module):
    r"""An autoregressive density over channels whose conditionals are output laws: Gaussians, mixtures, ...

    .. math:: \log p(x) = \log \tfrac1K \sum_{k=1}^{K} \prod_i p(x_i\,|\,\theta_i), \qquad
        \theta_i = \text{net}_k(x_{<_k i}, c)

    With several masks in the network (order-agnostic training) a training step takes one of them at random, and the
    density in evaluation mode is the average of all: an ensemble that costs no weights.

    Args:
        network: gives ``law.parameter_channels`` numbers for each channel.
        law: of one value.

    References:
        Germain, Gregor, Murray and Larochelle, "MADE", 2015, https://arxiv.org/abs/1502.03509
        Papamakarios, Pavlakou and Murray, "Masked Autoregressive Flow", 2017, https://arxiv.org/abs/1705.07057

    >>> from audioflow.distributions import GaussianMixture
    >>> law = GaussianMixture(components=3, min_log_scale=-5.0)
    >>> density = MADEDensity(MADE(4, law.parameter_channels, [16]), law)
    >>> density.log_prob(torch.randn(2, 4, 1)).shape
    torch.Size([2])
    """

    def __init__(self, network: MADE, law: OutputLaw) -> None:
        super().__init__()
        if network.outputs != law.parameter_channels:
            needed = law.parameter_channels
            raise ValueError(f"the law takes {needed} numbers a value, but the network gives {network.outputs}")
        self.network = network
        self.law = law

    def log_prob(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Log-density ``[B]`` of ``x [B, C, T]`` in nats: of one mask at random in training, of all otherwise."""
        masks = self.network.masks
        if self.training and masks > 1:
            return self.log_prob_under(int(torch.randint(masks, ())), x, cond, mask)
        each = torch.stack([self.log_prob_under(which, x, cond, mask) for which in range(masks)])
        return torch.logsumexp(each, dim=0) - math.log(masks)

    def log_prob_under(self, which: int, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Log-density ``[B]`` under mask number ``which``."""
        x = masked(wide(x), mask)
        params = self.network(x, cond, mask, which)
        with full_precision(x):
            batch, channels, steps = x.shape
            # The laws know values in a row: channels are laid one behind the other.
            in_rows = params.reshape(batch, self.network.outputs, channels * steps)
            each = self.law.log_prob(in_rows, x.reshape(batch, 1, -1)).reshape(x.shape)
            return masked(each, mask).sum(dim=(1, 2))

    @torch.no_grad()
    def sample(
        self,
        noise: Tensor,
        cond: Tensor | None = None,
        mask: Tensor | None = None,
        temperature: float = 1.0,
        which: int = 0,
    ) -> Tensor:
        """A draw ``[B, C, T]`` of the density under one mask, channel by channel.

        Args:
            noise: standard normal, ``[B, N * C, T]``, with ``N = law.noise_channels``: ``N`` groups of ``C``.
            cond: ``[B, M, T]``.
            mask: ``[B, 1, T]``.
            temperature: of the law.
            which: number of the mask; a draw of the average takes each as often as the others.
        """
        network = self.network.under(which)
        noise = wide(noise).unflatten(1, (self.law.noise_channels, -1))
        state = network.init_state(noise[:, 0], cond, mask)
        previous: Tensor | None = None
        values = []
        for channels, steps in network.slots(noise.shape[-1]):
            params, state = network.step(state, previous)
            drawn = self.law.sample(params, noise[:, :, channels.start, steps], temperature)
            previous = masked(drawn, mask)
            values.append(previous)
        return network.joined(values)
