"""The bijections, and their combinators."""

from audioflow.flows.autoregressive import CausalAffine
from audioflow.flows.base import Bijection, Chain, Invert
from audioflow.flows.coupling import AffineCoupling
from audioflow.flows.linear import InvertibleConv1x1
from audioflow.flows.reshape import FactorOut, Permutation, Squeezed

__all__ = [
    "AffineCoupling",
    "Bijection",
    "CausalAffine",
    "Chain",
    "FactorOut",
    "Invert",
    "InvertibleConv1x1",
    "Permutation",
    "Squeezed",
]
