"""Temperature by voicing: noise that is quieter where the mel says that speech is periodic."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from audioflow.audio import MelContract
from audioflow.nets.masks import mask_of
from audioflow.nets.periodicity import CONTEXT
from audioflow.vocoders.pieces import MelWindow


class Noise(Protocol):
    """Standard normal noise of some utterances, cut in order of time: :class:`audioflow.sampling.NoiseWindow`."""

    dtype: torch.dtype

    def __len__(self) -> int:
        """Utterances."""
        ...

    def cut(self, start: int, stop: int) -> Tensor:
        """Steps ``start`` to ``stop - 1``, ``[B, N, stop - start]``; earlier ones are not asked for again."""
        ...


class VoicedNoise:
    r"""Noise times a temperature that follows the periodicity ``g`` of each frame.

    .. math:: \tau = \tau_{\text{noise}} + (\tau_{\text{voiced}} - \tau_{\text{noise}})\, g

    Where a law's temperature is a factor on its noise, as a Gaussian's is and that of most flows, this is temperature,
    step by step.

    Args:
        noise: of unit variance.
        source: the mel; a stretch needs three frames after its last one.
        read: periodicity ``[B, 1, F]`` of a mel ``[B, M, F]`` and its mask.
        lengths: frames of each utterance.
        temperatures: of speech without any periodicity, and of speech that is wholly periodic.
        contract: of the mel.
        steps_per_frame: of the noise.
    """

    def __init__(
        self,
        noise: Noise,
        source: MelWindow,
        read: Callable[[Tensor, Tensor | None], Tensor],
        lengths: Tensor | None,
        temperatures: tuple[float, float],
        contract: MelContract,
        steps_per_frame: int,
    ) -> None:
        self._noise, self._source, self._read, self._lengths = noise, source, read, lengths
        self._temperatures, self._steps_per_frame = temperatures, steps_per_frame
        # A step belongs to the frame whose centre is nearest.
        self._shift = 0.0 if contract.framing == "half_hop" else 0.5
        self.dtype = noise.dtype

    def __len__(self) -> int:
        """Utterances."""
        return len(self._noise)

    def cut(self, start: int, stop: int) -> Tensor:
        """See :class:`Noise`."""
        drawn = self._noise.cut(start, stop)
        return drawn * self._temperature(start, stop).to(drawn.dtype)

    def _temperature(self, start: int, stop: int) -> Tensor:
        """Of each of these steps, ``[B, 1, n]``; after an utterance's end that of its last frame."""
        frames = ((torch.arange(start, stop) + 0.5) / self._steps_per_frame + self._shift).floor().long()
        wanted = int(frames[-1]) + 1 + CONTEXT
        there = self._source.reach(wanted)
        first = max(0, min(int(frames[0]) - CONTEXT, there - 1))
        mel = self._source.cut(first, min(wanted, there))
        left = None if self._lengths is None else (self._lengths - first).clamp(min=1)
        periodicity = self._read(mel, mask_of(left, mel.shape[-1], mel.dtype))
        last = mel.new_full((1,), mel.shape[-1]).long() if left is None else left.clamp(max=mel.shape[-1])
        rows = torch.minimum((frames - first).to(mel.device).expand(len(mel), -1), last[:, None] - 1)
        noisy, voiced = self._temperatures
        return noisy + (voiced - noisy) * periodicity.gather(2, rows[:, None])
