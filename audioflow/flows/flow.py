"""A density: a base distribution seen through an invertible map."""

from torch import Tensor, nn

from audioflow.flows.base import Bijection
from audioflow.flows.bases import Base, StandardNormal


class Flow(nn.Module):
    r"""The law of ``x = f^{-1}(z)``, ``z`` drawn from a base.

    .. math:: \log p(x | c) = \log p_z(f(x; c) | c) + \log|\det \partial f / \partial x|

    All methods take ``x`` or ``noise [B, C, T]``, ``cond [B, M, T]`` and ``mask [B, 1, T]``, and give log-densities
    ``[B]`` in nats. Noise is standard normal and drawn by the caller, so that one seed is one sample.

    Args:
        base: law of the noise; the standard normal by default.
        bijection: from data to noise.

    >>> import torch
    >>> from audioflow.flows import MAF
    >>> from audioflow.nets.made import MADE
    >>> flow = Flow(StandardNormal(), MAF(MADE(channels=3, outputs=2, hidden=[8])))
    >>> x, log_prob = flow.sample_and_log_prob(torch.randn(5, 3, 1))
    >>> bool(torch.allclose(flow.log_prob(x), log_prob))
    True
    """

    def __init__(self, base: Base | None, bijection: Bijection) -> None:
        super().__init__()
        self.base = StandardNormal() if base is None else base
        self.bijection = bijection

    def log_prob(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Log-density of ``x``."""
        z, log_det = self.bijection.to_noise(x, cond, mask)
        return self.base.log_prob(z, cond, mask) + log_det

    def sample(
        self, noise: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        """The draw that the noise selects, with gradients; temperature 0 gives the image of the base's mode."""
        return self.bijection.to_data(self.base.sample(noise, cond, mask, temperature), cond, mask)[0]

    def rsample_and_log_prob(
        self, noise: Tensor, cond: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A draw and its log-density by one pass from noise to data, with gradients through both."""
        z = self.base.sample(noise, cond, mask)
        x, log_det = self.bijection.to_data(z, cond, mask)
        return x, self.base.log_prob(z, cond, mask) - log_det

    def sample_and_log_prob(
        self, noise: Tensor, cond: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same, detached: what an estimator that must not see the path through the sample needs."""
        x, log_prob = self.rsample_and_log_prob(noise, cond, mask)
        return x.detach(), log_prob.detach()
