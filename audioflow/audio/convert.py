"""Mel spectrograms from one front-end to another, where the two differ in framing alone."""

from typing import Literal

from torch import Tensor
from torch.nn import functional

from audioflow.audio.contract import MelContract
from audioflow.errors import MelError

_NEGLIGIBLE_EPSILON = 1e-8

_HALFWAY = tuple(tap / 256 for tap in (3, -25, 150, 150, -25, 3))
"""Lagrange's interpolation half-way between the third and the fourth of six equally spaced values."""


def compatibility(have: MelContract, want: MelContract) -> Literal["equal", "convertible", "incompatible"]:
    """Say whether a spectrogram made under ``have`` can serve where ``want`` is needed, see `convert_mel`."""
    if have == want:
        return "equal"
    return "incompatible" if _obstacles(have, want) else "convertible"


def convert_mel(mel: Tensor, have: MelContract, want: MelContract) -> Tensor:
    """Convert between centred and half-hop framing (NVIDIA's and HiFi-GAN's families).

    The frames of one lie half-way between those of the other, so each new frame is interpolated from three on either
    side, in the log domain; the first and the last frame are repeated beyond the ends. What lies between two frames is
    not in the mel spectrogram, so this is close, not exact. On 16 kHz read speech, ``nvidia-22k`` to or from
    ``hifigan-22k``, in units of the natural logarithm, mean and root mean square over all bands and frames:
    0.072 and 0.120, no bias. For comparison: frames taken over unchanged 0.231 and 0.339; the mean of two neighbours
    0.093 and 0.143, of their magnitudes 0.098 and 0.177; the best linear filter over eight frames 0.071 and 0.119.

    Args:
        mel: ``[..., M, F]``, F at least 1.
        have: what it was made under.
        want: what is needed.

    Returns:
        same shape and dtype.

    Raises:
        MelError: the contracts differ in more than framing; the differing fields are named.
    """
    if have == want:
        return mel
    obstacles = _obstacles(have, want)
    if obstacles:
        raise MelError(
            f"The mel spectrogram fits another front-end and cannot be converted: {', '.join(obstacles)}; "
            "make it again from the audio."
        )
    if have.framing != want.framing:
        mel = _half_a_frame(mel, later=want.framing == "half_hop")
    return mel.clamp(min=want.silence, max=want.ceiling)


def _obstacles(have: MelContract, want: MelContract) -> list[str]:
    """Differences other than framing and an epsilon too small to be seen."""
    epsilons = max(have.magnitude_epsilon, want.magnitude_epsilon)
    same: dict[str, object] = {"framing": want.framing}
    if epsilons <= _NEGLIGIBLE_EPSILON:
        same["magnitude_epsilon"] = want.magnitude_epsilon
    return have.model_copy(update=same).differences(want)


def _half_a_frame(mel: Tensor, later: bool) -> Tensor:
    """Interpolate between the frames: ``k + 1/2`` becomes the new frame ``k`` (later) or ``k + 1`` (earlier)."""
    reach = len(_HALFWAY) // 2
    margins = (reach - 1, reach) if later else (reach, reach - 1)
    padded = functional.pad(mel.reshape(-1, *mel.shape[-2:]), margins, mode="replicate")
    neighbours = padded.unfold(-1, len(_HALFWAY), 1)
    return (neighbours * mel.new_tensor(_HALFWAY)).sum(-1).reshape(mel.shape)
