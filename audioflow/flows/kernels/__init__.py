"""Elementwise maps: pure functions of tensors, and the kernels that layers are made with."""

from audioflow.flows.kernels.affine import Additive, Affine, affine, affine_inverse, soft_clip
from audioflow.flows.kernels.base import Inverted, Kernel
from audioflow.flows.kernels.named import KernelName, kernel_named

__all__ = ["Additive", "Affine", "Inverted", "Kernel", "KernelName", "affine", "affine_inverse", "kernel_named", "soft_clip"]
