"""Mel spectrograms from one front-end to another, where the two differ in framing alone."""

from typing import Literal

import torch
from torch import Tensor

from audioflow.audio.contract import MelContract
from audioflow.errors import MelError

_NEGLIGIBLE_EPSILON = 1e-8


def compatibility(have: MelContract, want: MelContract) -> Literal["equal", "convertible", "incompatible"]:
    """Say whether a spectrogram made under ``have`` can serve where ``want`` is needed, see `convert_mel`."""
    if have == want:
        return "equal"
    return "incompatible" if _obstacles(have, want) else "convertible"


def convert_mel(mel: Tensor, have: MelContract, want: MelContract) -> Tensor:
    """Convert between centred and half-hop framing (NVIDIA's and HiFi-GAN's families).

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
    if have.framing == want.framing:
        return mel
    return _half_a_hop(mel, later=want.framing == "half_hop")


def _obstacles(have: MelContract, want: MelContract) -> list[str]:
    """Differences other than framing and an epsilon too small to be seen."""
    epsilons = max(have.magnitude_epsilon, want.magnitude_epsilon)
    same: dict[str, object] = {"framing": want.framing}
    if epsilons <= _NEGLIGIBLE_EPSILON:
        same["magnitude_epsilon"] = want.magnitude_epsilon
    return have.model_copy(update=same).differences(want)


def _half_a_hop(mel: Tensor, later: bool) -> Tensor:
    """Values half a frame later, or earlier, than the frames of ``mel``; the frame beyond the end is its neighbour."""
    beyond = torch.cat([mel[..., 1:], mel[..., -1:]], -1) if later else torch.cat([mel[..., :1], mel[..., :-1]], -1)
    return (mel + beyond) / 2
