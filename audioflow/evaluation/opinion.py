"""Mean opinion scores that networks predict of a sound alone: DistillMOS and DNSMOS.

Their packages, which hold the weights, come with ``audioflow[evaluate]``; without them there are no such scores.
"""

import contextlib
import importlib.util
import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audioflow.audio import torchaudio

RATE = 16_000
"""What both hear, in Hz."""


def _installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in packages)


def has_distillmos() -> bool:
    """Whether the score can be taken."""
    return _installed("distillmos", "xls_r_sqa")


def distillmos(wav: Tensor) -> float:
    """Score wav [T] at 16 kHz in [-1, 1]: 1 to 5, higher is better.

    References:
        B. Stahl, H. Gamper: Distillation and Pruning for Scalable Self-Supervised Representation-Based Speech Quality
        Assessment, 2025
    """
    with torch.inference_mode():
        return float(_distillmos()(wav[None].float()))


@lru_cache(maxsize=1)
def _distillmos() -> Callable[[Tensor], Tensor]:
    torchaudio()  # complete, also where its compiled part cannot load
    import distillmos  # noqa: PLC0415 - optional

    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its weights where figures are printed
        judge: torch.nn.Module = distillmos.ConvTransformerSQAModel()
    return judge.eval()


def has_dnsmos() -> bool:
    """Whether the score can be taken."""
    return _installed("speechmos", "onnxruntime")


def dnsmos(wav: Tensor) -> float:
    """Score wav [T] at 16 kHz in [-1, 1]: DNSMOS' overall quality (OVRL), 1 to 5, higher is better.

    The mean over windows of 9 s every second; what is shorter is said again, as the package does.

    References:
        C. K. A. Reddy, V. Gopal, R. Cutler: DNSMOS P.835: A non-intrusive perceptual objective speech quality metric to
        evaluate noise suppressors, 2022
    """
    return float(_dnsmos()(wav.numpy().astype(np.float32), RATE, False)["ovrl_mos"])


@lru_cache(maxsize=1)
def _dnsmos() -> Callable[[np.ndarray, int, bool], dict[str, float]]:
    import onnxruntime  # noqa: PLC0415 - optional, as what follows
    from speechmos import dnsmos as package  # noqa: PLC0415

    # The package's own constructor takes all cores, whatever threads others were given.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    models = Path(package.__file__).parent / "dnsmos_models"
    judge = package.DNSMOS.__new__(package.DNSMOS)
    judge.onnx_sess = onnxruntime.InferenceSession(models / "sig_bak_ovr.onnx", options)
    judge.p808_onnx_sess = onnxruntime.InferenceSession(models / "model_v8.onnx", options)
    scored: Callable[[np.ndarray, int, bool], dict[str, float]] = judge
    return scored
