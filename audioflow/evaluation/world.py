"""WORLD: a vocoder of signal processing, which describes a recording by features of its own instead of a mel."""

import importlib.util

import numpy as np
import torch
from torch import Tensor

PACKAGE = "pyworld"


def has_world() -> bool:
    """Whether the package is installed; it comes with ``audioflow[metrics]``."""
    return importlib.util.find_spec(PACKAGE) is not None


def world(wav: Tensor, sample_rate: int) -> Tensor:
    """Take a recording apart and put it together again: pitch by Harvest, envelope by CheapTrick, aperiodicity by D4C.

    Args:
        wav: [T] in [-1, 1].
        sample_rate: in Hz.

    Returns:
        wav [T] in float32 on the CPU, clipped to [-1, 1].

    References:
        M. Morise, F. Yokomori, K. Ozawa: WORLD: a vocoder-based high-quality speech synthesis system for real-time
        applications, 2016
    """
    import pyworld  # noqa: PLC0415 - an extra

    speech = waveform_for_world(wav)
    pitch, places = pyworld.harvest(speech, sample_rate)
    envelope = pyworld.cheaptrick(speech, pitch, places, sample_rate)
    aperiodicity = pyworld.d4c(speech, pitch, places, sample_rate)
    made = torch.from_numpy(pyworld.synthesize(pitch, envelope, aperiodicity, sample_rate)).float()[: len(speech)]
    return torch.nn.functional.pad(made, (0, len(speech) - len(made))).clamp(-1, 1)


def waveform_for_world(wav: Tensor) -> np.ndarray:
    """Wav [T] as the package takes it."""
    return np.ascontiguousarray(wav.detach().double().cpu().numpy())
