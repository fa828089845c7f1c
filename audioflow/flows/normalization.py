"""A scale and a bias for each channel, taken from data: once (ActNorm), or again and again (batch norm)."""

from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn
from typing_extensions import override

from audioflow.flows.base import Bijection, Direction
from audioflow.flows.kernels import affine, affine_inverse
from audioflow.nets.masks import full_precision, masked, valid_steps, wide

FLAT = 1e-6
"""Standard deviation below which a channel counts as one that does not move."""


class ActNorm(Bijection):
    r"""A scale and a bias for each channel, which start so that the first data come out with mean 0 and variance 1.

    .. math::
        z = x\,e^{s} + b \qquad x = (z - b)\,e^{-s} \qquad \log|\det \partial z / \partial x| = T \textstyle\sum_c s_c

    :meth:`initialize` takes the statistics, once; from then on (the flag ``initialized`` is a buffer) scale and bias
    are parameters like any other. Until then the map is the identity, which makes it the diagonal scaling of NICE too.
    A channel that does not move keeps its scale.

    Args:
        channels: ``C``.

    References:
        Kingma and Dhariwal, "Glow", 2018, https://arxiv.org/abs/1807.03039

    >>> flow = ActNorm(2)
    >>> z = flow.initialize(5 + 3 * torch.randn(4, 2, 100))
    >>> bool(z.mean().abs() < 1e-5), bool((z.var() - 1).abs() < 0.01), bool(flow.initialized)
    (True, True, True)
    """

    initialized: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1))
        self.register_buffer("initialized", torch.zeros((), dtype=torch.bool))

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            z, log_derivative = affine(wide(x), self.bias, self.log_scale)
            return masked(z, mask), log_derivative.sum() * valid_steps(x, mask)

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            x, log_derivative = affine_inverse(wide(z), self.bias, self.log_scale)
            return masked(x, mask), log_derivative.sum() * valid_steps(z, mask)

    @override
    @torch.no_grad()
    def initialize(
        self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None, direction: Direction = "to_noise"
    ) -> Tensor:
        if not bool(self.initialized):
            with full_precision(x):
                mean, variance = channel_statistics(wide(x), mask)
            spread = variance.sqrt()
            spread = torch.where(spread > FLAT, spread, torch.ones_like(spread))
            log_scale, bias = (-spread.log(), -mean / spread) if direction == "to_noise" else (spread.log(), mean)
            self.log_scale.copy_(log_scale)
            self.bias.copy_(bias)
            self.initialized.fill_(True)
        return super().initialize(x, cond, mask, direction)

    @property
    @override
    def constant_log_det(self) -> bool:
        return True


class BatchNorm(Bijection):
    r"""Batch normalisation as a flow: each channel is brought to mean 0, variance 1, then to a learned scale and bias.

    .. math::
        z = \frac{x - m}{\sqrt{v + \epsilon}}\,e^{\gamma} + \beta \qquad
        x = (z - \beta)\,e^{-\gamma}\sqrt{v + \epsilon} + m \\
        \log|\det \partial z / \partial x| = T \textstyle\sum_c \gamma_c - \tfrac12 \log(v_c + \epsilon)

    **In evaluation mode** ``m`` and ``v`` are running statistics and all of this is exact. **In training mode**
    :meth:`to_noise` takes them from the valid steps of the batch, of all processes, and moves the running ones towards
    them. Every value of the batch then depends on every other, and the log-determinant is a convention: it takes the
    statistics for constants (gradients do flow through them). :meth:`to_data` uses the running statistics in either
    mode, so it undoes :meth:`to_noise` in evaluation mode only.

    Args:
        channels: ``C``.
        momentum: how far a batch moves the running statistics.
        eps: added to the variance.

    References:
        Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2016, https://arxiv.org/abs/1605.08803
        Papamakarios, Pavlakou and Murray, "Masked Autoregressive Flow", 2017, https://arxiv.org/abs/1705.07057
        (statistics of all the training data in evaluation: :func:`fit_statistics`)

    >>> flow = BatchNorm(2)
    >>> z, _ = flow.to_noise(5 + 3 * torch.randn(4, 2, 100))
    >>> bool(z.mean().abs() < 1e-5), bool((z.var() - 1).abs() < 0.01)
    (True, True)
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.log_gamma = nn.Parameter(torch.zeros(channels, 1))
        self.beta = nn.Parameter(torch.zeros(channels, 1))
        self.register_buffer("running_mean", torch.zeros(channels, 1))
        self.register_buffer("running_var", torch.ones(channels, 1))

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            mean, variance = self._batch_statistics(wide(x), mask) if self.training else self._running_statistics()
            log_scale = self._log_scale(variance)
            z = (wide(x) - mean) * torch.exp(log_scale) + self.beta
            return masked(z, mask), log_scale.sum() * valid_steps(x, mask)

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            mean, variance = self._running_statistics()
            log_scale = self._log_scale(variance)
            x = (wide(z) - self.beta) * torch.exp(-log_scale) + mean
            return masked(x, mask), -log_scale.sum() * valid_steps(z, mask)

    def _log_scale(self, variance: Tensor) -> Tensor:
        return self.log_gamma - 0.5 * torch.log(variance + self.eps)

    def _running_statistics(self) -> tuple[Tensor, Tensor]:
        return self.running_mean, self.running_var

    def _batch_statistics(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, variance = channel_statistics(x, mask)
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)
        return mean, variance

    @property
    @override
    def constant_log_det(self) -> bool:
        return not self.training


@torch.no_grad()
def fit_statistics(bijection: Bijection, batches: Iterable[tuple[Tensor, Tensor | None, Tensor | None]]) -> None:
    """Set the running statistics of every batch norm in a map to the averages over these batches.

    For a density, MAF's authors evaluate with the statistics of all the training data: give them as one batch, or as
    some of equal size.

    Args:
        bijection: what holds the batch norms.
        batches: ``x [B, C, T]``, ``cond`` and ``mask`` of each.
    """
    layers = [layer for layer in bijection.modules() if isinstance(layer, BatchNorm)]
    momenta, training = [layer.momentum for layer in layers], bijection.training
    bijection.train()
    try:
        for number, batch in enumerate(batches):
            for layer in layers:
                layer.momentum = 1 / (number + 1)
            bijection.to_noise(*batch)
    finally:
        bijection.train(training)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def channel_statistics(x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of ``x [B, C, T]`` over the valid steps of all processes, ``[C, 1]`` each."""
    weight = torch.ones_like(x[:, :1]) if mask is None else mask.to(x.dtype)
    count = _summed(weight.sum()).clamp(min=1)
    mean = _summed((x * weight).sum(dim=(0, 2))[:, None]) / count
    variance = _summed(((x - mean).square() * weight).sum(dim=(0, 2))[:, None]) / count
    return mean, variance


def _summed(values: Tensor) -> Tensor:
    """The sum over all processes, where there are several; gradients flow back to all of them."""
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        # Builds of torch that know no processes lack it.
        from torch.distributed.nn.functional import all_reduce  # noqa: PLC0415

        total: Tensor = all_reduce(values)
        return total
    return values
