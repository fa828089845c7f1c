"""The models as audioflow builds them; a vector is a signal ``[B, D, 1]`` of one step."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from audioflow.flows import MAF, Bijection, Chain, ChannelSplit, Coupling, Flow, Permutation, StandardNormal
from audioflow.flows.kernels import Affine, Inverted, Kernel, RationalQuadratic
from audioflow.nets.made import MADE, MLP, Order

from .candidate import Architecture, Candidate, Density


class AudioFlow(Density):
    """A flow of audioflow, of layers in the order from data to noise."""

    def __init__(self, layers: Sequence[Bijection], features: int) -> None:
        super().__init__()
        self.features = features
        self.flow = Flow(StandardNormal(), Chain(layers))

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x[:, :, None])

    def sample(self, count: int) -> Tensor:
        return self.flow.sample(torch.randn(count, self.features, 1))[:, :, 0]


def autoregressive(architecture: Architecture, *, spline: bool, zero_start: bool) -> Density:
    kernel = _spline(architecture) if spline else Inverted(Affine())
    orders: list[Order] = ["sequential", "reversed"]

    def network(order: Order) -> MADE:
        features, outputs = architecture.features, kernel.parameters
        return MADE(features, outputs, architecture.sizes, order=order, zero_start=zero_start)

    layers = [MAF(network(orders[index % 2]), kernel) for index in range(architecture.layers)]
    return AudioFlow(layers, architecture.features)


def coupling(architecture: Architecture, *, spline: bool, zero_start: bool) -> Density:
    kernel = _spline(architecture) if spline else Affine()
    half = architecture.features // 2
    # Even values first, then odd ones; the two halves take turns.
    layers: list[Bijection] = [Permutation([*range(0, 2 * half, 2), *range(1, 2 * half, 2)])]
    for index in range(architecture.layers):
        net = MLP(half, kernel.parameters * half, architecture.sizes, zero_start=zero_start)
        layers.append(Coupling(net, kernel, ChannelSplit(half, swapped=index % 2 == 1)))
    return AudioFlow(layers, architecture.features)


def _spline(architecture: Architecture) -> Kernel:
    return RationalQuadratic(architecture.bins, architecture.bound)


def _candidates(model: str, build: Callable[..., Density], note: str, *, spline: bool) -> list[Candidate]:
    """Both starts: a last layer at zero, or random as in the other libraries."""
    identity, random = (partial(build, spline=spline, zero_start=start) for start in (True, False))
    return [
        Candidate(model, "audioflow", identity, f"{note}starts as the identity"),
        Candidate(model, "audioflow, random start", random, f"{note}last layers made random as in the other libraries"),
    ]


SPLINES = "widths, heights and slopes at least 0.001; "
CANDIDATES = [
    *_candidates("maf", autoregressive, "z = (x - b) exp(-s), s within ±5 by tanh; ", spline=False),
    *_candidates("realnvp", coupling, "z = x exp(s) + b, s within ±5 by tanh; ", spline=False),
    *_candidates("nsf", coupling, SPLINES, spline=True),
    *_candidates("nsf-ar", autoregressive, SPLINES, spline=True),
]
