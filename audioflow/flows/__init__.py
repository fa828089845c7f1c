"""The bijections, their combinators, and the densities made of them."""

from audioflow.flows.autoregressive import IAF, MAF
from audioflow.flows.base import Bijection, Chain, Invert
from audioflow.flows.bases import Base, DiagonalNormal, Logistic, MelNormal, StandardNormal
from audioflow.flows.causal import CausalAffine
from audioflow.flows.coupling import AdditiveCoupling, AffineCoupling, ChannelSplit, Checkerboard, Coupling
from audioflow.flows.flow import Flow
from audioflow.flows.front import Around, Front
from audioflow.flows.linear import InvertibleConv1x1, InvertibleConv1x1LU
from audioflow.flows.made_density import MADEDensity
from audioflow.flows.normalization import ActNorm, BatchNorm, fit_statistics
from audioflow.flows.preemphasis import Preemphasis
from audioflow.flows.reshape import FactorOut, Permutation, Squeezed, TimeReversal

__all__ = [
    "IAF",
    "MAF",
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "Around",
    "Base",
    "BatchNorm",
    "Bijection",
    "CausalAffine",
    "Chain",
    "ChannelSplit",
    "Checkerboard",
    "Coupling",
    "DiagonalNormal",
    "FactorOut",
    "Flow",
    "Front",
    "Invert",
    "InvertibleConv1x1",
    "InvertibleConv1x1LU",
    "Logistic",
    "MADEDensity",
    "MelNormal",
    "Permutation",
    "Preemphasis",
    "Squeezed",
    "StandardNormal",
    "TimeReversal",
    "fit_statistics",
]
