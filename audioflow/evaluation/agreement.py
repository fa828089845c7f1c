"""How far an engine's audio is from that of another engine, made of the same mel and the same noise.

A flow that makes all samples in one pass gives the same audio up to rounding, so the relative difference says it all.
An autoregressive model feeds its errors of rounding back: after a while two engines give two draws of one law, however
exact both are. What tells there is whether the model holds the one for less likely than the other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audioflow.evaluation.engines import is_autoregressive
from audioflow.vocoders import Vocoder


@dataclass(frozen=True)
class Agreement:
    """How far some audio is from the reference's.

    Attributes:
        relative_difference: norm of the difference over the norm of the reference.
        nats_difference: log-likelihood of the audio under the model, less that of the reference, in nats per sample;
            ``None`` where it was not asked for or is no finite number.
    """

    relative_difference: float
    nats_difference: float | None = None


class Reference:
    """Audio that is held for right, and the mel that it was made of.

    Args:
        vocoder: whose audio it is.
        mel: ``[B, M, F]``.
        wav: ``[B, F * hop_length]``, made by the engine that is trusted.
        speaker: numbers ``[B]``, for models that have speakers.
        scored: whether likelihoods are compared too; those of models that make all in one pass never are.
    """

    def __init__(
        self, vocoder: Vocoder, mel: Tensor, wav: Tensor, speaker: Tensor | None = None, *, scored: bool = True
    ) -> None:
        self.vocoder, self.mel, self.wav, self.speaker = vocoder, mel, wav, speaker
        self.nats = self._nats(wav) if scored and is_autoregressive(vocoder) else None

    def agreement(self, wav: Tensor) -> Agreement:
        """Hold wav ``[B, F * hop_length]``, made of the same mel and noise, against the reference."""
        difference = relative_difference(wav, self.wav)
        if self.nats is None:
            return Agreement(difference)
        change = self._nats(wav) - self.nats
        return Agreement(difference, change if math.isfinite(change) else None)

    def _nats(self, wav: Tensor) -> float:
        return nats_per_sample(self.vocoder, wav, self.mel, self.speaker)


@torch.no_grad()
def engine_agreement(
    vocoder: Vocoder,
    mel: Tensor,
    reference: str,
    engines: Sequence[str],
    *,
    temperature: float = 1.0,
    seed: int = 0,
    speaker: Tensor | None = None,
    scored: bool = True,
) -> dict[str, Agreement]:
    """Make audio by several engines and say how far each is from the reference.

    Args:
        vocoder: on any device.
        mel: ``[B, M, F]``, of speech, short where the reference is slow.
        reference: the engine that is trusted, which need not be among ``engines``.
        engines: to be held against it.
        temperature: factor on the noise's scale.
        seed: of the noise.
        speaker: numbers ``[B]``, for models that have speakers.
        scored: whether autoregressive models' likelihoods are compared too.

    Returns:
        By engine.
    """

    def make(engine: str) -> Tensor:
        return vocoder.synthesize(mel, temperature=temperature, seed=seed, engine=engine, speaker=speaker)

    right = Reference(vocoder, mel, make(reference), speaker, scored=scored)
    return {name: right.agreement(right.wav if name == reference else make(name)) for name in engines}


def relative_difference(wav: Tensor, reference: Tensor) -> float:
    """Give the norm of a difference over the norm of the reference, whatever the shape; 0 where both are the same.

    >>> relative_difference(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0]))
    0.1
    """
    wav, reference = wav.detach().double().cpu(), reference.detach().double().cpu()
    difference, size = float((wav - reference).norm()), float(reference.norm())
    if size == 0:
        return math.inf if difference else 0.0
    return difference / size


@torch.no_grad()
def nats_per_sample(vocoder: Vocoder, wav: Tensor, mel: Tensor, speaker: Tensor | None = None) -> float:
    """Give the log-likelihood of wav ``[B, F * hop_length]``, as it is, without any noise added to it.

    Args:
        vocoder: on any device.
        wav: on the same device.
        mel: ``[B, M, F]`` that it was made of.
        speaker: numbers ``[B]``, for models that have speakers.
    """
    nats = float(vocoder.log_prob(wav, mel, speaker=speaker).sum())
    return nats / (mel.shape[0] * vocoder.scored_samples(mel.shape[-1]))
