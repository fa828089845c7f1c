"""Output laws: what a network's numbers say about the next audio sample."""

from audioflow.distributions.base import OutputLaw
from audioflow.distributions.gaussian import Gaussian, GaussianMixture
from audioflow.distributions.logistic import DiscretizedLogisticMixture, LogisticMixture
from audioflow.distributions.mu_law import MuLawCategorical

__all__ = [
    "DiscretizedLogisticMixture",
    "Gaussian",
    "GaussianMixture",
    "LogisticMixture",
    "MuLawCategorical",
    "OutputLaw",
]
