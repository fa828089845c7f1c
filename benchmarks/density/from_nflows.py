"""The models as nflows builds them, with its feed-forward blocks in place of the residual ones it has by default."""

from functools import partial

from nflows import transforms
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.nn.nets import MLP
from nflows.utils import create_alternating_binary_mask
from torch import Tensor, nn

from .candidate import Architecture, Candidate, Density


class NFlows(Density):
    """A flow of nflows, of layers in the order from data to noise."""

    def __init__(self, layers: list[nn.Module], features: int) -> None:
        super().__init__()
        self.flow = Flow(transforms.CompositeTransform(layers), StandardNormal([features]))

    def log_prob(self, x: Tensor) -> Tensor:
        nats: Tensor = self.flow.log_prob(x)
        return nats

    def sample(self, count: int) -> Tensor:
        vectors: Tensor = self.flow.sample(count)
        return vectors


class Conditioner(nn.Module):
    """Its MLP as its couplings call it.

    Where a network says how wide it is, as the residual one of nflows does and the MLP does not, they divide what goes
    into a softmax by the square root of that.
    """

    def __init__(self, inputs: int, outputs: int, sizes: list[int], *, divided: bool) -> None:
        super().__init__()
        self.net = MLP([inputs], [outputs], sizes)
        if divided:
            self.hidden_features = sizes[-1]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        params: Tensor = self.net(x)
        return params


def autoregressive(architecture: Architecture, *, spline: bool) -> Density:
    # One block after the first hidden layer makes two hidden layers.
    net = {"hidden_features": architecture.hidden, "num_blocks": 1, "use_residual_blocks": False}
    layers: list[nn.Module] = []
    for index in range(architecture.layers):
        if index > 0:
            layers.append(transforms.ReversePermutation(architecture.features))
        if spline:
            layers.append(
                transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                    architecture.features, **net, **_spline(architecture)
                )
            )
        else:
            layers.append(transforms.MaskedAffineAutoregressiveTransform(architecture.features, **net))
    return NFlows(layers, architecture.features)


def coupling(architecture: Architecture, *, spline: bool, act_norm: bool = False, divided: bool = False) -> Density:
    conditioner = partial(Conditioner, sizes=architecture.sizes, divided=divided)
    layers: list[nn.Module] = []
    for index in range(architecture.layers):
        transformed = create_alternating_binary_mask(architecture.features, even=index % 2 == 1)
        if act_norm:
            layers.append(transforms.ActNorm(architecture.features))
        if spline:
            layers.append(
                transforms.PiecewiseRationalQuadraticCouplingTransform(
                    transformed, conditioner, **_spline(architecture)
                )
            )
        else:
            layers.append(transforms.AffineCouplingTransform(transformed, conditioner))
    return NFlows(layers, architecture.features)


def _spline(architecture: Architecture) -> dict[str, object]:
    return {"num_bins": architecture.bins, "tails": "linear", "tail_bound": architecture.bound}


SOFTPLUS = "z = x softplus(s) + b, with 0.001 added to the scale"
SIGMOID = "z = x sigmoid(s + 2) + b, with 0.001 added to the scale, so that no layer stretches"
SPLINES = "widths, heights and slopes at least 0.001"
CANDIDATES = [
    Candidate("maf", "nflows", partial(autoregressive, spline=False), SOFTPLUS),
    Candidate("realnvp", "nflows", partial(coupling, spline=False), SIGMOID),
    Candidate(
        "realnvp",
        "nflows + ActNorm",
        partial(coupling, spline=False, act_norm=True),
        "as nflows, with its ActNorm before each layer, by which it can stretch",
    ),
    Candidate("nsf", "nflows", partial(coupling, spline=True), SPLINES),
    Candidate(
        "nsf",
        "nflows, divided",
        partial(coupling, spline=True, divided=True),
        "as nflows, what goes into a softmax divided by the square root of the units, as it does with its residual "
        "network (normflows has the same code)",
    ),
    Candidate("nsf-ar", "nflows", partial(autoregressive, spline=True), SPLINES),
]
