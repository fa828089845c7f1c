"""An output law as numbers, and its noise, as compiled loops read them."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from audioflow.distributions import (
    DiscretizedLogisticMixture,
    Gaussian,
    GaussianMixture,
    LogisticMixture,
    MuLawCategorical,
    OutputLaw,
)
from audioflow.distributions.base import uniform
from audioflow.nets.group_head import GroupLaw

GAUSSIAN, GAUSSIAN_MIXTURE, LOGISTIC_MIXTURE, DISCRETIZED_LOGISTIC_MIXTURE, MU_LAW = range(5)


class LawNumbers(NamedTuple):
    """An output law as numbers.

    Attributes:
        kind: one of the constants of this module.
        components: of a mixture, or classes.
        min_log_scale: floor of log-scales.
        temperature: see :meth:`audioflow.distributions.OutputLaw.sample`.
        edges: borders of the mu-law classes.
        one_hot: whether the network sees classes.
    """

    kind: int
    components: int
    min_log_scale: float
    temperature: float
    edges: np.ndarray
    one_hot: bool


def law_numbers(law: OutputLaw, temperature: float) -> LawNumbers:
    """A law as a compiled loop reads it; of a group of samples that of each.

    Raises:
        TypeError: the loops do not know the law.
    """
    grouped = isinstance(law, GroupLaw)
    law = law.law if isinstance(law, GroupLaw) else law
    kinds = {
        Gaussian: GAUSSIAN,
        GaussianMixture: GAUSSIAN_MIXTURE,
        LogisticMixture: LOGISTIC_MIXTURE,
        DiscretizedLogisticMixture: DISCRETIZED_LOGISTIC_MIXTURE,
        MuLawCategorical: MU_LAW,
    }
    if type(law) not in kinds or (grouped and type(law) in (DiscretizedLogisticMixture, MuLawCategorical)):
        raise TypeError(f"the compiled loops do not know the law {type(law).__name__}{' of groups' if grouped else ''}")
    edges, components, one_hot = np.zeros(2), getattr(law, "components", 1), False
    if isinstance(law, MuLawCategorical):
        edges, components, one_hot = law.edges.double().cpu().numpy(), law.parameter_channels, law.one_hot
    floor = float(getattr(law, "min_log_scale", 0.0))
    return LawNumbers(kinds[type(law)], components, floor, float(temperature), edges, one_hot)


def prepared_noise(law: OutputLaw, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Standard normal noise ``[B, N, T]`` as a compiled loop takes it: two numbers for each sample, ``[B, T, r]``.

    The first number is standard normal for a Gaussian, and uniform for the other laws, of which it chooses a component
    or a class; the second is what the location and scale of a mixture's component are applied to.
    """
    single = law.law if isinstance(law, GroupLaw) else law
    # The numbers of a sample follow each other.
    each = noise.unflatten(1, (law.sample_channels, single.noise_channels))
    first, other = each[:, :, 0].transpose(1, 2), each[:, :, -1].transpose(1, 2)
    if isinstance(single, Gaussian):
        normal = first.float().contiguous()
        return normal, normal
    if isinstance(single, (DiscretizedLogisticMixture, LogisticMixture)):
        other = torch.logit(uniform(other))
    return uniform(first).float().contiguous(), other.float().contiguous()
