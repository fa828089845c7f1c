"""The models as normflows builds them, from its layers (its ready-made spline layers have residual conditioners)."""

from functools import partial

import normflows as nf
from normflows.flows.affine.autoregressive import Autoregressive
from normflows.flows.base import Reverse
from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling
from normflows.utils.masks import create_alternating_binary_mask
from torch import Tensor, nn

from .candidate import Architecture, Candidate, Density


class NormFlows(Density):
    """A flow of normflows; its lists go from noise to data, ``layers`` here from data to noise."""

    def __init__(self, layers: list[nn.Module], features: int) -> None:
        super().__init__()
        self.flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(features, trainable=False), layers[::-1])

    def log_prob(self, x: Tensor) -> Tensor:
        nats: Tensor = self.flow.log_prob(x)
        return nats

    def sample(self, count: int) -> Tensor:
        vectors: Tensor = self.flow.sample(count)[0]
        return vectors


class Conditioner(nn.Module):
    """Its MLP as its splines call it."""

    def __init__(self, inputs: int, outputs: int, sizes: list[int]) -> None:
        super().__init__()
        self.net = nf.nets.MLP([inputs, *sizes, outputs])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        params: Tensor = self.net(x)
        return params


class Reversal(nf.flows.Flow):  # its Permute has modes "shuffle" and "swap" only
    """The values in reverse order."""

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z.flip(1), z.new_zeros(len(z))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward(z)


def autoregressive(architecture: Architecture, *, spline: bool, act_norm: bool = False) -> Density:
    # One block after the first hidden layer makes two hidden layers.
    net = {"hidden_features": architecture.hidden, "num_blocks": 1, "use_residual_blocks": False}
    layers: list[nn.Module] = []
    for index in range(architecture.layers):
        if index > 0:
            layers.append(Reversal())
        if act_norm:
            layers.append(nf.flows.ActNorm(architecture.features))
        if spline:
            layer = MaskedPiecewiseRationalQuadraticAutoregressive(
                architecture.features, **net, **_spline(architecture)
            )
        else:
            layer = nf.flows.MaskedAffineAutoregressive(architecture.features, **net)
        layers.append(Reverse(_with_first_relu(layer)))
    return NormFlows(layers, architecture.features)


def affine_coupling(architecture: Architecture) -> Density:
    half = architecture.features // 2
    layers = [
        nf.flows.AffineCouplingBlock(
            nf.nets.MLP([half, *architecture.sizes, 2 * half]),
            # "checkerboard" lets the odd values pass.
            split_mode="checkerboard" if index % 2 == 1 else "checkerboard_inv",
        )
        for index in range(architecture.layers)
    ]
    return NormFlows(layers, architecture.features)


def spline_coupling(architecture: Architecture) -> Density:
    layers = [
        Reverse(
            PiecewiseRationalQuadraticCoupling(
                create_alternating_binary_mask(architecture.features, even=index % 2 == 1),
                partial(Conditioner, sizes=architecture.sizes),
                **_spline(architecture),
            )
        )
        for index in range(architecture.layers)
    ]
    return NormFlows(layers, architecture.features)


def _with_first_relu(layer: Autoregressive) -> Autoregressive:
    """Its feed-forward MADE has no activation after the first hidden layer: add it."""
    net = layer.autoregressive_net
    net.initial_layer = nn.Sequential(net.initial_layer, nn.ReLU())
    return layer


def _spline(architecture: Architecture) -> dict[str, object]:
    return {"num_bins": architecture.bins, "tails": "linear", "tail_bound": architecture.bound}


RELU = "a ReLU added after the first layer of its MADE"
SIGMOID = (
    "in Reverse, for one pass from data to noise; z = x sigmoid(s + 2) + b, with 0.001 added to the scale, so that no "
    f"layer stretches; {RELU}"
)
CANDIDATES = [
    Candidate("maf", "normflows", partial(autoregressive, spline=False), SIGMOID),
    Candidate(
        "maf",
        "normflows + ActNorm",
        partial(autoregressive, spline=False, act_norm=True),
        "as normflows, with its ActNorm before each layer, by which it can stretch",
    ),
    Candidate("realnvp", "normflows", affine_coupling, "z = (x - b) exp(-s), s unbounded"),
    Candidate("nsf", "normflows", spline_coupling, "widths, heights and slopes at least 0.001"),
    Candidate(
        "nsf-ar",
        "normflows",
        partial(autoregressive, spline=True),
        f"widths, heights and slopes at least 0.001; {RELU}; starts with slopes and bins all equal",
    ),
]
