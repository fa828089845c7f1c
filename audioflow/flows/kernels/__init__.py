"""Elementwise maps: pure functions of tensors, and the kernels that layers are made with."""

from audioflow.flows.kernels.affine import Additive, Affine, affine, affine_inverse, soft_clip
from audioflow.flows.kernels.base import Inverted, Kernel
from audioflow.flows.kernels.mixture_cdf import (
    LogisticMixtureCDF,
    logistic_mixture_logit,
    logistic_mixture_quantile,
)
from audioflow.flows.kernels.named import KernelName, kernel_named
from audioflow.flows.kernels.spline import (
    RationalQuadratic,
    SplineLimits,
    rational_quadratic_spline,
    rational_quadratic_spline_inverse,
)

__all__ = [
    "Additive",
    "Affine",
    "Inverted",
    "Kernel",
    "KernelName",
    "LogisticMixtureCDF",
    "RationalQuadratic",
    "SplineLimits",
    "affine",
    "affine_inverse",
    "kernel_named",
    "logistic_mixture_logit",
    "logistic_mixture_quantile",
    "rational_quadratic_spline",
    "rational_quadratic_spline_inverse",
    "soft_clip",
]
