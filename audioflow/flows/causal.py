"""The affine autoregressive map over time: what a WaveNet with a Gaussian head is, seen as a flow."""

import torch
from torch import Tensor
from typing_extensions import override

from audioflow.distributions import Gaussian
from audioflow.flows.base import Bijection, Direction
from audioflow.flows.kernels import affine, affine_inverse
from audioflow.nets.masks import full_precision, masked, wide
from audioflow.nets.wavenet import CausalWaveNet


class CausalAffine(Bijection):
    r"""Each sample is scaled and shifted by numbers that a causal network makes of the samples before it.

    .. math::
        z_t = (x_t - \mu_t)\,e^{-s_t} \qquad x_t = z_t\,e^{s_t} + \mu_t \qquad (\mu_t, s_t) = \text{net}(x_{<t}, c_t) \\
        \log|\det \partial z / \partial x| = -\textstyle\sum_t s_t

    Data to noise is one pass. Noise to data runs sample by sample (``sequential == "to_data"``), with rings of past
    activations, so that each step costs one column of the network.

    Args:
        network: one channel in, two out.
        law: how the two numbers become mean and log-scale.
        level: log standard deviation of the speech, ``[B, 1, T]``; the network sees ``x exp(-level)``. 0 by default.
        speaker: embeddings ``[B, S]``, where the network has speakers.

    References:
        Papamakarios, Pavlakou and Murray, "Masked Autoregressive Flow", 2017, https://arxiv.org/abs/1705.07057
    """

    level: Tensor
    speaker: Tensor | None

    def __init__(
        self, network: CausalWaveNet, law: Gaussian, level: Tensor | None = None, speaker: Tensor | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.law = law
        # Not a part of the weights, but they move with them.
        self.register_buffer("level", torch.zeros(1, 1, 1) if level is None else level, persistent=False)
        self.register_buffer("speaker", speaker, persistent=False)

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = masked(x, mask)
        shares = self.network.shares(cond, self.speaker)
        outputs = self.network(self.law.network_input(x, self.level), shares, mask)
        with full_precision(x):
            mean, log_scale = self.law.mean_and_log_scale(self.law.at_level(outputs, self.level))
            z, log_derivative = affine_inverse(wide(x), mean, log_scale)
            return masked(z, mask), masked(log_derivative, mask).sum(dim=(1, 2))

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            z = masked(wide(z), mask)
            level = self.level.expand(-1, -1, z.shape[-1])
            projected = self.network.project(cond, self.speaker)
            state = self.network.init_state(z.shape[0])
            previous = z.new_zeros(z.shape[0], 1)
            steps, log_derivatives = [], []
            for t in range(z.shape[-1]):
                share = None if projected is None else projected[..., min(t, projected.shape[-1] - 1)]
                here = level[..., t : t + 1]
                outputs, state = self.network.step(state, previous, share)
                params = self.law.at_level(outputs[..., None], here)
                x, log_derivative = affine(z[..., t : t + 1], *self.law.mean_and_log_scale(params))
                # After its end an utterance stays silent: what it fed itself there might grow without bound.
                if mask is not None:
                    x, log_derivative = x * mask[..., t : t + 1], log_derivative * mask[..., t : t + 1]
                previous = self.law.network_input(x, here)[..., 0]
                steps.append(x)
                log_derivatives.append(log_derivative)
            return torch.cat(steps, dim=-1), torch.cat(log_derivatives, dim=-1).sum(dim=(1, 2))

    @property
    @override
    def sequential(self) -> Direction | None:
        return "to_data"

    @override
    def reach(self, direction: Direction) -> int | None:
        return self.network.receptive_field if direction == "to_noise" else None
