"""DistillMOS: a mean opinion score that a network predicts of a sound alone, where its package is installed.

It is no dependency, as it asks for torchaudio's compiled part, which this package does without:
``pip install --no-deps distillmos xls-r-sqa==0.1.0``.
"""

import contextlib
import importlib.util
import io
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from audioflow.audio import torchaudio

PACKAGES = ("distillmos", "xls_r_sqa")


def has_distillmos() -> bool:
    """Whether the score can be taken."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


def distillmos(wav: Tensor) -> float:
    """Score wav [T] at 16 kHz in [-1, 1]: 1 to 5, higher is better.

    References:
        B. Stahl, H. Gamper: Distillation and Pruning for Scalable Self-Supervised Representation-Based Speech Quality
        Assessment, 2025
    """
    with torch.inference_mode():
        return float(_judge()(wav[None].float()))


@lru_cache(maxsize=1)
def _judge() -> Callable[[Tensor], Tensor]:
    torchaudio()  # complete, also where its compiled part cannot load
    import distillmos  # noqa: PLC0415 - optional

    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its weights where figures are printed
        judge: torch.nn.Module = distillmos.ConvTransformerSQAModel()
    return judge.eval()
