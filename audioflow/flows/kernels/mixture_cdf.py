"""The distribution function of a mixture of logistics as a map: the kernel of Flow++."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from typing_extensions import override

from audioflow.flows.kernels.affine import affine, affine_inverse, soft_clip
from audioflow.flows.kernels.base import Kernel

HALVINGS = 24
NEWTON_STEPS = 4
"""Rounds of the search for a quantile: each halving gains a bit, Newton the rest."""

FLATTEST = -30.0
"""Log-derivative below which the gradient of a quantile, which is its inverse, grows no more."""


def logistic_mixture_logit(x: Tensor, log_weights: Tensor, mean: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    r"""``logit F(x)`` of a mixture of logistics, and the logarithm of its derivative in ``x``.

    With :math:`t_k = (x - \mu_k) e^{-s_k}`, :math:`q_k = \pi_k \sigma(t_k) / F` and
    :math:`r_k = \pi_k \sigma(-t_k) / (1 - F)`,

    .. math::
        \text{logit} F = \log F - \log(1 - F) \qquad
        \frac{d}{dx}\,\text{logit} F = \sum_k e^{-s_k} [q_k \sigma(-t_k) + r_k \sigma(t_k)]

    in the log domain throughout; the sum has no term that cancels, so the tails keep their digits.

    Args:
        x: ``[B, C, T]``.
        log_weights: ``[B, K, C, T]``, as the other two; their exponentials sum to one.
        mean: locations.
        log_scale: log-scales.
    """
    t = (x[:, None] - mean) * torch.exp(-log_scale)
    log_below, log_above = logsigmoid(t), logsigmoid(-t)
    below, above = log_weights + log_below, log_weights + log_above
    log_cdf, log_survival = below.logsumexp(dim=1, keepdim=True), above.logsumexp(dim=1, keepdim=True)
    slopes = torch.logaddexp(below - log_cdf + log_above, above - log_survival + log_below) - log_scale
    return (log_cdf - log_survival).squeeze(1), slopes.logsumexp(dim=1)


def logistic_mixture_quantile(logit: Tensor, log_weights: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    r"""The ``x`` at which ``logit F(x)`` is ``logit [B, C, T]``; the other arguments are as before.

    The search keeps no graph. Gradients, in the first order, are those of the implicit function theorem:
    ``x`` is returned as one Newton step from itself, whose denominator is a constant. Where the map is flatter than
    ``exp(FLATTEST)`` they stay at the size they have there.
    """
    found = _search(logit, log_weights, mean, log_scale)
    reached, log_derivative = logistic_mixture_logit(found, log_weights, mean, log_scale)
    missing = logit - reached
    # Its value is zero: a step that is not safeguarded could only add what rounding left.
    return found + (missing - missing.detach()) * torch.exp(-log_derivative.detach().clamp(min=FLATTEST))


@torch.no_grad()
def _search(logit: Tensor, log_weights: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Halve the bounds some times, which cannot fail; then Newton's steps, which do the rest, kept between them.

    The quantile of a mixture lies between the least and the greatest of the quantiles of its components. Below the
    median all is mirrored, so that what is compared is always the logarithm of the smaller tail.
    """
    side = torch.where(logit < 0, -1.0, 1.0).to(logit.dtype)
    mean, rate = side[:, None] * mean, torch.exp(-log_scale)
    target = logsigmoid(-logit.abs())
    quantiles = mean + torch.exp(log_scale) * logit.abs()[:, None]
    low, width = quantiles.amin(dim=1), quantiles.amax(dim=1) - quantiles.amin(dim=1)
    relative = log_weights - target[:, None]
    for _ in range(HALVINGS):
        width = width / 2
        middle = low + width
        # An overflow here is as good as any number above one.
        before = torch.exp(relative + logsigmoid((mean - middle[:, None]) * rate)).sum(dim=1) > 1
        low = torch.where(before, middle, low)
    x, high = low + width / 2, low + width
    for _ in range(NEWTON_STEPS):
        t = (x[:, None] - mean) * rate
        above = relative + logsigmoid(-t)
        missing = above.logsumexp(dim=1)
        log_hazard = (above + logsigmoid(t) - log_scale).logsumexp(dim=1) - missing
        x = (x + missing * torch.exp(-log_hazard.clamp(min=FLATTEST))).clamp(low, high)
    return side * x


class LogisticMixtureCDF(Kernel):
    r"""The distribution function of a mixture of ``K`` logistics, made unbounded by a logit, then an affine map.

    .. math::
        z = e^{a}\,\text{logit} F(x) + b \qquad F(x) = \sum_k \pi_k\, \sigma((x - \mu_k)\, e^{-s_k}) \\
        \log \frac{\partial z}{\partial x} = a + \log F'(x) - \log F(x) - \log(1 - F(x))

    ``x`` is found by a search with a fixed number of rounds.

    The parameters are ``K`` logits of :math:`\pi`, ``K`` locations, ``K`` raw log-scales, the shift ``b`` and the raw
    ``a``. The log-scales are bounded as in :class:`audioflow.flows.kernels.Affine`. Components start evenly spread over
    ``[-spread, spread]``, so that they differ from the beginning; hence parameters of zero are only near the identity:
    within ``log((1/K) sum_k exp(c_k))`` of ``x``, the ``c_k`` being the centres, which by default is 0.068 for four
    components, 0.12 for two, and nothing for one; and with a slope between 0.94 and 1.

    Against the paper: the affine map comes with the kernel and is always elementwise; log-scales are bounded.

    Args:
        components: ``K``.
        limit: bound of ``|a|``; ``None`` for no bound.
        component_limit: bound of ``|s_k|``.
        spread: where the outermost components start.

    Raises:
        ValueError: where there is no component.

    References:
        Ho, Chen, Srinivas, Duan and Abbeel, "Flow++", 2019, https://arxiv.org/abs/1902.00275

    >>> import torch
    >>> kernel = LogisticMixtureCDF(components=3)
    >>> x, params = torch.randn(2, 1, 5), torch.randn(2, kernel.parameters, 5)
    >>> z, _ = kernel.to_noise(x, params)
    >>> bool((kernel.to_data(z, params)[0] - x).abs().max() < 1e-3)
    True
    """

    def __init__(
        self, components: int = 4, limit: float | None = 5.0, component_limit: float = 5.0, spread: float = 0.5
    ) -> None:
        if components < 1:
            raise ValueError(f"A mixture has one component or more; components is {components}.")
        self.components = components
        self.limit = limit
        self.component_limit = component_limit
        self.spread = spread if components > 1 else 0.0

    @property
    @override
    def parameters(self) -> int:
        return 3 * self.components + 2

    @override
    def to_noise(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        mixture, shift, log_scale = self._law(params)
        logit, log_derivative = logistic_mixture_logit(x, *mixture)
        return affine(logit, shift, log_scale)[0], log_derivative + log_scale

    @override
    def to_data(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        mixture, shift, log_scale = self._law(params)
        x = logistic_mixture_quantile(affine_inverse(z, shift, log_scale)[0], *mixture)
        return x, -logistic_mixture_logit(x, *mixture)[1] - log_scale

    def _law(self, params: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor]:
        """Log-weights, locations and log-scales ``[B, K, C, T]``; shift and log-scale ``[B, C, T]``."""
        K = self.components
        logits, locations, raw, own = self.parts(params).split([K, K, K, 2], dim=1)
        centres = torch.linspace(-self.spread, self.spread, K, dtype=params.dtype, device=params.device)
        mixture = logits.log_softmax(dim=1), locations + centres[:, None, None], soft_clip(raw, self.component_limit)
        return mixture, own[:, 0], soft_clip(own[:, 1], self.limit)
