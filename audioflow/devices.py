"""Where a model runs."""

from typing import Literal

import torch

from audioflow.errors import DeviceError

DeviceName = Literal["auto", "cpu", "cuda"]


def pick_device(name: DeviceName = "auto") -> torch.device:
    """The device that is meant: ``auto`` takes a GPU when there is one.

    Raises:
        DeviceError: ``cuda`` was asked for, but torch sees none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("No CUDA device is visible to torch; use --device cpu, or install a CUDA build of torch.")
    return torch.device(name)
