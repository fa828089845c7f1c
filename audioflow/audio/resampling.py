"""Changing the sample rate."""

import soxr
import torch
from torch import Tensor

from audioflow.errors import AudioError


def resample(wav: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Resample with soxr at high quality (band-limited; no gradient).

    Args:
        wav: ``[..., T]``; the last axis is time.
        from_rate: its rate in Hz.
        to_rate: the rate wanted in Hz.

    Returns:
        ``[..., T']`` with ``T' = T * to_rate / from_rate`` to the nearest sample; same dtype and device.

    Raises:
        AudioError: a rate is not positive, or there is no sample before or after.
    """
    if min(from_rate, to_rate) < 1:
        raise AudioError(f"Sample rates are positive, but resampling from {from_rate} to {to_rate} Hz was asked for.")
    if wav.shape[-1] == 0:
        raise AudioError("There are no samples to resample; check where the recording comes from.")
    if from_rate == to_rate:
        return wav
    wide = wav.detach().to("cpu", torch.float64 if wav.dtype == torch.float64 else torch.float32)
    channels = wide.reshape(-1, wide.shape[-1]).T.contiguous().numpy()
    resampled = torch.from_numpy(soxr.resample(channels, from_rate, to_rate, quality="HQ")).T
    if resampled.shape[-1] == 0:
        raise AudioError(
            f"{wav.shape[-1]} samples at {from_rate} Hz are less than one at {to_rate} Hz; leave them out."
        )
    return resampled.reshape(*wav.shape[:-1], -1).contiguous().to(wav.device, wav.dtype)
