"""The models as zuko builds them."""

from functools import partial

import zuko
from torch import Tensor

from .candidate import Architecture, Candidate, Density


class Zuko(Density):
    """A flow of zuko: called, it gives the distribution that its present weights mean."""

    def __init__(self, flow: zuko.lazy.Flow) -> None:
        super().__init__()
        self.flow = flow

    def log_prob(self, x: Tensor) -> Tensor:
        nats: Tensor = self.flow().log_prob(x)
        return nats

    def sample(self, count: int) -> Tensor:
        vectors: Tensor = self.flow().sample((count,))
        return vectors


def affine(architecture: Architecture, flow: type[zuko.lazy.Flow]) -> Density:
    return Zuko(flow(architecture.features, transforms=architecture.layers, hidden_features=architecture.sizes))


def spline(architecture: Architecture, flow: type[zuko.lazy.Flow]) -> Density:
    bins = architecture.bins
    return Zuko(
        flow(
            architecture.features,
            transforms=architecture.layers,
            hidden_features=architecture.sizes,
            univariate=partial(zuko.transforms.MonotonicRQSTransform, bound=architecture.bound),
            shapes=[(bins,), (bins,), (bins - 1,)],
        )
    )


SCALES = "z = x exp(s) + b, s soft-clipped to ±6.9"
SPLINES = "softmax inputs and log-slopes soft-clipped"
CANDIDATES = [
    Candidate("maf", "zuko", partial(affine, flow=zuko.flows.MAF), SCALES),
    Candidate("realnvp", "zuko", partial(affine, flow=zuko.flows.RealNVP), SCALES),
    Candidate("nsf", "zuko", partial(spline, flow=zuko.flows.NICE), SPLINES),
    Candidate("nsf-ar", "zuko", partial(spline, flow=zuko.flows.MAF), SPLINES),
]
