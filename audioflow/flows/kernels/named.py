"""Kernels by name."""

from typing import Literal

from audioflow.flows.kernels.affine import Additive, Affine
from audioflow.flows.kernels.base import Kernel

KernelName = Literal["additive", "affine", "spline", "mixture"]


def kernel_named(
    name: KernelName, *, limit: float | None = 5.0, bins: int = 8, bound: float = 5.0, components: int = 4
) -> Kernel:
    """The kernel that a recipe names by ``kernel``."""
    if name == "additive":
        return Additive()
    if name == "affine":
        return Affine(limit)
    raise NotImplementedError
