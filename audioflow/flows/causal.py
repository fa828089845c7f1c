"""The affine autoregressive map over time: what a WaveNet with a Gaussian head is, seen as a flow."""

import torch
from torch import Tensor
from typing_extensions import override

from audioflow.distributions import Gaussian
from audioflow.flows.base import Bijection, Direction
from audioflow.flows.kernels import affine_inverse
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.group_head import GroupLaw, grouped, ungrouped
from audioflow.nets.masks import full_precision, masked, wide
from audioflow.nets.wavenet import CausalWaveNet


class CausalAffine(Bijection):
    r"""Each sample is scaled and shifted by numbers that a causal network makes of the samples before it.

    .. math::
        z_t = (x_t - \mu_t)\,e^{-s_t} \qquad x_t = z_t\,e^{s_t} + \mu_t \qquad (\mu_t, s_t) = \text{net}(x_{<t}, c_t) \\
        \log|\det \partial z / \partial x| = -\textstyle\sum_t s_t

    Data to noise is one pass. Noise to data runs sample by sample (``sequential == "to_data"``), with rings of past
    activations, so that each step costs one column of the network.

    A network over groups of ``r`` samples has the law of a group. ``x`` stays ``[B, 1, T]``; ``cond`` and ``level``
    are at the rate of groups then, ``[B, M, T / r]``. What a sample's numbers depend on of its own group is a part of
    the law, so the map is triangular all the same.

    Args:
        network: one channel in, two out; or ``r`` in, and what the law of a group takes out.
        law: how the numbers become mean and log-scale.
        level: log standard deviation of the speech, ``[B, 1, T]``; the network sees ``x exp(-level)``. 0 by default.
        speaker: embeddings ``[B, S]``, where the network has speakers.

    References:
        Papamakarios, Pavlakou and Murray, "Masked Autoregressive Flow", 2017, https://arxiv.org/abs/1705.07057
    """

    level: Tensor
    speaker: Tensor | None

    def __init__(
        self,
        network: CausalWaveNet,
        law: Gaussian | GroupLaw,
        level: Tensor | None = None,
        speaker: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.law = law
        # Not a part of the weights, but they move with them.
        self.register_buffer("level", torch.zeros(1, 1, 1) if level is None else level, persistent=False)
        self.register_buffer("speaker", speaker, persistent=False)

    @override
    def to_noise(self, x: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        groups = grouped(masked(x, mask), self.samples)
        shares = self.network.shares(Conditioning.of_steps(cond), self.speaker)
        outputs = self.network(self.law.network_input(groups, self.level), shares, self._of_groups(mask))
        with full_precision(x):
            params = self.law.at_level(outputs, self.level)
            mean, log_scale = self._mean_and_log_scale(params, wide(groups))
            z, log_derivative = affine_inverse(wide(groups), mean, log_scale)
            return masked(ungrouped(z), mask), masked(ungrouped(log_derivative), mask).sum(dim=(1, 2))

    @override
    def to_data(self, z: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            noise, valid = grouped(masked(wide(z), mask), self.samples), self._of_groups(mask)
            steps = noise.shape[-1]
            level = self.level.expand(-1, -1, steps)
            projected = self.network.project(Conditioning.of_steps(cond), self.speaker)
            state = self.network.init_state(z.shape[0])
            previous = z.new_zeros(z.shape[0], self.samples)
            groups, log_derivatives = [], []
            for t in range(steps):
                share = None if projected is None else projected[..., min(t, projected.shape[-1] - 1)]
                here = level[..., t : t + 1]
                outputs, state = self.network.step(state, previous, share)
                x, log_derivative = self._drawn(self.law.at_level(outputs[..., None], here), noise[..., t : t + 1])
                # After its end an utterance stays silent: what it fed itself there might grow without bound.
                if valid is not None:
                    x, log_derivative = x * valid[..., t : t + 1], log_derivative * valid[..., t : t + 1]
                previous = self.law.network_input(x, here)[..., 0]
                groups.append(x)
                log_derivatives.append(log_derivative)
            return ungrouped(torch.cat(groups, dim=-1)), torch.cat(log_derivatives, dim=-1).sum(dim=(1, 2))

    @property
    def samples(self) -> int:
        """Samples of a group, ``r``."""
        return self.law.sample_channels

    def _drawn(self, params: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A group ``[B, r, 1]`` and the log-derivatives of its samples."""
        x = self.law.sample(params, noise)
        return x, self._mean_and_log_scale(params, x)[1].expand_as(x)

    def _mean_and_log_scale(self, params: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.law, Gaussian):
            return self.law.mean_and_log_scale(params)
        law = self.law.law
        assert isinstance(law, Gaussian)  # noqa: S101
        mean, log_scale = law.mean_and_log_scale(self.law.given_earlier(params, groups).flatten(2))
        return mean.unflatten(2, (self.samples, -1))[:, 0], log_scale.unflatten(2, (self.samples, -1))[:, 0]

    def _of_groups(self, mask: Tensor | None) -> Tensor | None:
        return None if mask is None else mask[..., :: self.samples]

    @property
    @override
    def time_multiple(self) -> int:
        return self.samples

    @property
    @override
    def sequential(self) -> Direction | None:
        return "to_data"

    @override
    def reach(self, direction: Direction) -> int | None:
        # A sample sees groups before its own, and the samples before it in its own.
        return (self.network.receptive_field + 1) * self.samples - 1 if direction == "to_noise" else None
