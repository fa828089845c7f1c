"""Kernels by name."""

from typing import Literal, get_args

from audioflow.flows.kernels.affine import Additive, Affine
from audioflow.flows.kernels.base import Kernel
from audioflow.flows.kernels.mixture_cdf import LogisticMixtureCDF
from audioflow.flows.kernels.spline import RationalQuadratic

KernelName = Literal["additive", "affine", "spline", "mixture"]


def kernel_named(
    name: KernelName, *, limit: float | None = 5.0, bins: int = 8, bound: float = 5.0, components: int = 4
) -> Kernel:
    """The kernel that a recipe names by ``kernel``.

    Args:
        name: ``additive``, ``affine``, ``spline`` or ``mixture``.
        limit: bound of the log-scales of ``affine``, and of the affine map after ``mixture``.
        bins: of ``spline``.
        bound: of ``spline``.
        components: of ``mixture``.

    Raises:
        ValueError: where there is no kernel of that name.

    >>> kernel_named("spline", bins=4).parameters
    11
    """
    if name == "additive":
        return Additive()
    if name == "affine":
        return Affine(limit)
    if name == "spline":
        return RationalQuadratic(bins, bound)
    if name == "mixture":
        return LogisticMixtureCDF(components, limit)
    raise ValueError(f"There is no kernel {name!r}; kernels are {', '.join(get_args(KernelName))}.")
