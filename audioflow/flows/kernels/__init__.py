"""Elementwise maps: pure functions of tensors, and the kernels that layers are made with."""

from audioflow.flows.kernels.affine import Additive, Affine, affine, affine_inverse, soft_clip
from audioflow.flows.kernels.base import Inverted, Kernel

__all__ = ["Additive", "Affine", "Inverted", "Kernel", "affine", "affine_inverse", "soft_clip"]
