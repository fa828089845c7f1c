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


def autoregressive(architecture: Architecture, *, kernel: Kernel, zero_start: bool) -> Density:
    orders: list[Order] = ["sequential", "reversed"]

    def network(order: Order) -> MADE:
        features, outputs = architecture.features, kernel.parameters
        return MADE(features, outputs, architecture.sizes, order=order, zero_start=zero_start)

    layers = [MAF(network(orders[index % 2]), kernel) for index in range(architecture.layers)]
    return AudioFlow(layers, architecture.features)


def coupling(architecture: Architecture, *, kernel: Kernel, zero_start: bool) -> Density:
    half = architecture.features // 2
    # Even values first, then odd ones; the two halves take turns.
    layers: list[Bijection] = [Permutation([*range(0, 2 * half, 2), *range(1, 2 * half, 2)])]
    for index in range(architecture.layers):
        net = MLP(half, kernel.parameters * half, architecture.sizes, zero_start=zero_start)
        layers.append(Coupling(net, kernel, ChannelSplit(half, swapped=index % 2 == 1)))
    return AudioFlow(layers, architecture.features)


Build = Callable[..., Density]
IDENTITY, RANDOM = "starts as the identity", "last layers made random as in the other libraries"


def affine(model: str, build: Build) -> list[Candidate]:
    """Both ways that the library has of writing an affine map, each with the start that suits it.

    The inverse one, the maps of MAF's paper, divides by any scale from the first step on; the direct one starts as the
    identity and changes a scale by two thirds at most, which keeps it from learning a small set by heart.
    """
    inverse = partial(build, kernel=Inverted(Affine()), zero_start=False)
    gentle = partial(build, kernel=Affine(0.5), zero_start=True)
    return [
        Candidate(model, "audioflow", inverse, f"z = (x - b) exp(-s), s within ±5 by tanh; {RANDOM}"),
        Candidate(model, "audioflow, gentle", gentle, f"z = x exp(s) + b, s within ±0.5 by tanh; {IDENTITY}"),
    ]


def spline(model: str, build: Build) -> list[Candidate]:
    """Both starts."""

    def started(architecture: Architecture, *, zero_start: bool) -> Density:
        kernel = RationalQuadratic(architecture.bins, architecture.bound)
        return build(architecture, kernel=kernel, zero_start=zero_start)

    bounds = "widths, heights and slopes at least 0.001"
    return [
        Candidate(model, "audioflow", partial(started, zero_start=True), f"{bounds}; {IDENTITY}"),
        Candidate(model, "audioflow, random start", partial(started, zero_start=False), f"{bounds}; {RANDOM}"),
    ]


CANDIDATES = [
    *affine("maf", autoregressive),
    *affine("realnvp", coupling),
    *spline("nsf", coupling),
    *spline("nsf-ar", autoregressive),
]
