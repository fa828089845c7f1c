"""Masked and inverse autoregressive flows, over channels or over time, with any kernel."""

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from audioflow.flows.base import Bijection, Direction, Invert
from audioflow.flows.kernels import Affine, Inverted, Kernel
from audioflow.nets.masks import full_precision, masked, wide
from audioflow.nets.slots import AutoregressiveNet


class MAF(Bijection):
    r"""Masked autoregressive flow: each slot of ``x`` is mapped by a kernel whose parameters see the slots before it.

    .. math::
        z_i = k(x_i;\, \theta_i) \qquad x_i = k^{-1}(z_i;\, \theta_i) \qquad \theta_i = \text{net}(x_{<i}, c) \\
        \log|\det \partial z / \partial x| = \textstyle\sum_i \log|\partial k(x_i; \theta_i) / \partial x_i|

    **Fast: data to noise**, one pass of the network (likelihood, training). **Slow: noise to data**, slot by slot
    (``sequential == "to_data"``); each hidden unit of the network is computed once for the whole signal.

    What a slot is, the network says: a channel (:class:`audioflow.nets.made.MADE` and its convolutional forms) or a
    step of time (:class:`audioflow.nets.causal.CausalConditioner`).

    Args:
        network: gives ``kernel.parameters`` numbers for each value.
        kernel: ``x = z exp(log_scale) + shift`` by default, as in the paper, with a bounded log-scale.

    References:
        Papamakarios, Pavlakou and Murray, "Masked Autoregressive Flow for Density Estimation", 2017,
        https://arxiv.org/abs/1705.07057

    >>> from audioflow.nets.made import MADE
    >>> flow = MAF(MADE(channels=3, outputs=2, hidden=[8]))
    >>> z, log_det = flow.to_noise(torch.randn(5, 3, 1))
    >>> z.shape, log_det.shape, flow.sequential
    (torch.Size([5, 3, 1]), torch.Size([5]), 'to_data')
    """

    def __init__(self, network: AutoregressiveNet[Any], kernel: Kernel | None = None) -> None:
        super().__init__()
        self.network = network
        self.kernel = Inverted(Affine()) if kernel is None else kernel

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = masked(wide(x), mask)
        params = self.network(x, cond, mask)
        with full_precision(x):
            z, log_derivative = self.kernel.to_noise(x, wide(params))
            return masked(z, mask), masked(log_derivative, mask).sum(dim=(1, 2))

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = masked(wide(z), mask)
        state = self.network.init_state(z, cond, mask)
        previous: Tensor | None = None
        values, log_derivatives = [], []
        for channels, steps in self.network.slots(z.shape[-1]):
            params, state = self.network.step(state, previous)
            here = None if mask is None else mask[..., steps]
            with full_precision(z):
                # After its end an utterance stays silent: what it fed itself there might grow without bound.
                params = masked(wide(params), here)
                previous, log_derivative = self.kernel.to_data(z[:, channels, steps], params)
                previous = masked(previous, here)
            values.append(previous)
            log_derivatives.append(masked(log_derivative, here).sum(dim=(1, 2)))
        return self.network.joined(values), torch.stack(log_derivatives).sum(dim=0)

    @property
    @override
    def sequential(self) -> Direction | None:
        return "to_data"

    @property
    @override
    def constant_log_det(self) -> bool:
        return self.kernel.constant_log_det

    @override
    def reach(self, direction: Direction) -> int | None:
        return self.network.context_steps if direction == "to_noise" else self.network.context_of_data


class IAF(Invert):
    r"""Inverse autoregressive flow: the parameters of each slot see the *noise* of the slots before it.

    .. math::
        x_i = k(z_i;\, \theta_i) \qquad z_i = k^{-1}(x_i;\, \theta_i) \qquad \theta_i = \text{net}(z_{<i}, c)

    **Fast: noise to data**, one pass of the network (sampling; a sample's own likelihood comes with it, see
    :meth:`audioflow.flows.flow.Flow.rsample_and_log_prob`). **Slow: data to noise**, slot by slot
    (``sequential == "to_noise"``). In mathematics it is an inverted :class:`MAF`.

    Args:
        network: gives ``kernel.parameters`` numbers for each value.
        kernel: ``x = z exp(log_scale) + shift`` by default, with a bounded log-scale. Its ``to_noise`` leads from the
            noise to the data here: the map of the pass that is fast.

    References:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling, "Improving Variational Inference with Inverse
        Autoregressive Flow", 2016, https://arxiv.org/abs/1606.04934

    >>> from audioflow.nets.made import MADE
    >>> IAF(MADE(channels=3, outputs=2, hidden=[8])).sequential
    'to_noise'
    """

    def __init__(self, network: AutoregressiveNet[Any], kernel: Kernel | None = None) -> None:
        super().__init__(MAF(network, Affine() if kernel is None else kernel))
