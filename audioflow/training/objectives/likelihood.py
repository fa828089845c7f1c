"""Maximum likelihood: the negative log-likelihood of speech in nats per sample."""

from typing import ClassVar, Protocol, cast

from lightning_fabric import Fabric
from torch import Tensor, nn
from typing_extensions import override

from audioflow.evaluation.likelihood import bits_per_sample
from audioflow.flows import Around
from audioflow.training.batches import Batch
from audioflow.training.objectives.base import Figures, Objective, Seeded
from audioflow.training.validation import HeldOut
from audioflow.vocoders import Vocoder


class HasLogProb(Protocol):
    """Anything that gives log-likelihoods: a vocoder, or a wrapper around it."""

    def log_prob(
        self,
        wav: Tensor,
        mel: Tensor,
        lengths: Tensor | None = None,
        speaker: Tensor | None = None,
        around: Around | None = None,
    ) -> Tensor:
        """Give nats per utterance ``[B]`` of ``wav [B, T]`` under ``mel [B, M, F]``."""


class Likelihood(Objective):
    """Maximum likelihood.

    Args:
        scored: samples of a segment that the likelihood counts, see `Vocoder.scored_samples`.
        noisy: whether held-out speech is dequantised as the training speech is.
    """

    forward_methods: ClassVar[tuple[str, ...]] = ("log_prob",)
    score: ClassVar[str] = "valid_nats_per_sample"

    def __init__(self, scored: int, *, noisy: bool) -> None:
        self.scored = scored
        self.noisy = noisy

    @override
    def loss(self, model: nn.Module, batch: Batch, seeded: Seeded) -> tuple[Tensor, Figures]:
        return negative_log_likelihood(cast(HasLogProb, model), batch, self.scored), {}

    @override
    def validate(self, vocoder: Vocoder, held_out: HeldOut, fabric: Fabric) -> Figures:
        nats = held_out.nats_per_sample(vocoder, fabric, noisy=self.noisy)
        return {self.score: nats, "valid_bits_per_sample": bits_per_sample(nats)}


def negative_log_likelihood(vocoder: HasLogProb, batch: Batch, scored: int) -> Tensor:
    """Give the loss of a batch of whole segments, a scalar in nats per sample.

    Args:
        vocoder: the model.
        batch: waveforms, mels and speakers on the device of the model.
        scored: samples of each segment that the likelihood counts, see `Vocoder.scored_samples`.
    """
    log_prob = vocoder.log_prob(batch.wav, batch.mel, None, batch.speaker, batch.around)
    return -log_prob.sum() / (scored * len(batch.ids))
