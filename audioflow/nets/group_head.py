"""The law of a group of samples: one sample after another within the group, all of them from one step of a network."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from typing_extensions import override

from audioflow.distributions import OutputLaw
from audioflow.nets.made import MADE, MadeState, rows_of
from audioflow.nets.masks import wide
from audioflow.nets.slots import Units

SEEN = 3.0
"""What a MADE within a group sees of a sample at most: of excitation a hundredth is beyond."""


class GroupLaw(OutputLaw, nn.Module):
    r"""The law of ``r`` samples given what a network puts out for all of them: exact, by the chain rule.

    .. math::
        \log p(u_1 \ldots u_r) = \sum_i \log p_i(u_i | u_{<i}) \qquad
        p_i = \text{law}\bigl(\theta_i + m_i(\text{clip}(u_{<i}), h)\bigr) \text{, moved by} \sum_{j<i} L_{ij} u_j

    The network gives ``theta``, the parameters of a law for each sample; the strictly lower triangle ``L`` of their
    linear dependence on each other, with which a Gaussian law is the Gaussian of full covariance; and features ``h`` of
    a MADE ``m`` where there are hidden units. It sees samples within :data:`SEEN`: otherwise a large draw might say
    that the next one is larger, without end.

    Numbers of the network, in order: ``theta`` as ``[P, r]``, ``L`` row by row (``L_10, L_20, L_21, ...``), ``h``.

    Args:
        law: of one sample, ``P`` numbers each.
        samples: ``r``.
        hidden: units of each hidden layer of the MADE; none for a linear dependence alone.

    References:
        Germain, Gregor, Murray and Larochelle, "MADE", 2015, https://arxiv.org/abs/1502.03509

    >>> from audioflow.distributions import Gaussian
    >>> law = GroupLaw(Gaussian(), 4)
    >>> law.parameter_channels, law.input_channels, law.noise_channels
    (14, 4, 4)
    """

    rows: Tensor
    columns: Tensor
    _ready: tuple[MadeState, Tensor] | None = None

    def __init__(self, law: OutputLaw, samples: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        self.law = law
        self.samples = samples
        first, second = torch.tril_indices(samples, samples, -1)
        self.register_buffer("rows", first, persistent=False)
        self.register_buffer("columns", second, persistent=False)
        self.features = hidden[0] if hidden else 0
        self.made = MADE(samples, law.parameter_channels, list(hidden), self.features) if hidden else None
        self.parameter_channels = law.parameter_channels * samples + len(first) + self.features
        self.noise_channels = law.noise_channels * samples
        self.input_channels = self.sample_channels = samples

    def split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``params [B, P', T]`` -> ``theta [B, P, r, T]``, ``L [B, pairs, T]``, ``h [B, features, T]``."""
        own, pairs = self.law.parameter_channels * self.samples, len(self.rows)
        theta, lower, features = params.split([own, pairs, params.shape[1] - own - pairs], dim=1)
        return theta.unflatten(1, (self.law.parameter_channels, self.samples)), lower, features

    @override
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-density of the groups ``x [B, r, T]``: ``[B, T]``."""
        return self._log_prob_of_each(self.given_earlier(params, x), x).sum(dim=1)

    def given_earlier(self, params: Tensor, x: Tensor) -> Tensor:
        """Parameters ``[B, P, r, T]`` of each sample's law given the earlier ones of its group, ``x [B, r, T]``."""
        theta, lower, features = self.split(params)
        if self.made is not None:
            theta = theta + self.made(x.clamp(-SEEN, SEEN), features).unflatten(
                1, (self.law.parameter_channels, self.samples)
            )
        moved = torch.zeros_like(wide(x)).index_add(1, self.rows, lower * x[:, self.columns])
        given: Tensor = self.law.moved(theta.flatten(2), moved.flatten(1)[:, None]).unflatten(2, (self.samples, -1))
        return given

    def _log_prob_of_each(self, theta: Tensor, x: Tensor) -> Tensor:
        log_prob: Tensor = self.law.log_prob(theta.flatten(2), x.flatten(1)[:, None]).unflatten(1, (self.samples, -1))
        return log_prob

    @override
    def sample(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        """The groups ``[B, r, T]`` that ``noise [B, N r, T]`` selects; sample ``i`` takes those from ``N i`` on."""
        theta, lower, features = self.split(params)
        each = noise.unflatten(1, (self.samples, self.law.noise_channels))
        drawn: list[Tensor] = []
        state = self._begin(noise[:, : self.samples], features)
        pair = 0
        for i in range(self.samples):
            own = theta[:, :, i]
            if self.made is not None and state is not None:
                more, state = self.made.step(state, drawn[-1].clamp(-SEEN, SEEN) if drawn else None)
                own = own + more
            moved = torch.zeros_like(noise[:, :1])
            for j in range(i):
                moved = moved + lower[:, pair : pair + 1] * drawn[j]
                pair += 1
            drawn.append(self.law.sample(self.law.moved(own, moved), each[:, i], temperature))
        return torch.cat(drawn, dim=1)

    @override
    def at_level(self, outputs: Tensor, level: Tensor) -> Tensor:
        """The parameters of each law for excitation of unit variance; groups know of no other level."""
        theta, lower, features = self.split(outputs)
        unit = level.new_zeros(1, 1, 1)
        start = self.law.at_level(theta.flatten(2), unit).unflatten(2, (self.samples, -1)).flatten(1, 2)
        return torch.cat([start, lower.to(start.dtype), features.to(start.dtype)], dim=1)

    @override
    def like(self, x: Tensor) -> "GroupLaw":
        """The same law with its MADE's weights sorted for draws, which waits for the device and takes long."""
        law = copy.copy(self)
        law.law = self.law.like(x)
        if self.made is not None and self.made.condition is not None:
            state = self.made.init_state(x.new_zeros(1, self.samples, 1), x.new_zeros(1, self.features, 1))
            law._ready = state, self.made.condition.weight[torch.argsort(self.made.degrees()[1], stable=True)]
        return law

    def _begin(self, x: Tensor, features: Tensor) -> MadeState | None:
        """The MADE before the first sample of groups like ``x [B, r, T]``."""
        if self.made is None or self._ready is None:
            return None if self.made is None else self.made.init_state(x, features)
        state, matrix = self._ready
        told = matrix @ rows_of(wide(features)).t()
        units = [Units(told, weight.shape[1], axis=0) for weight in state.weights]
        values = [Units(told, weight.shape[0], axis=0) for weight in state.weights[:-1]]
        return replace(state, position=0, shape=x.shape, told=told, inputs=units[0], sums=units[1:], values=values)


def grouped(x: Tensor, samples: int) -> Tensor:
    """``[B, 1, T] -> [B, r, T / r]``: step ``t`` holds the samples ``r t`` to ``r t + r - 1``.

    >>> grouped(torch.arange(6.0)[None, None], 2).tolist()
    [[[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]]
    """
    return x if samples == 1 else x[:, 0].unflatten(1, (-1, samples)).transpose(1, 2)


def ungrouped(x: Tensor) -> Tensor:
    """Undo :func:`grouped`."""
    return x.transpose(1, 2).flatten(1)[:, None]
