"""Maximum likelihood: the negative log-likelihood of speech in nats per sample."""

from typing import Protocol

from torch import Tensor

from audioflow.training.batches import Batch


class HasLogProb(Protocol):
    """Anything that gives log-likelihoods: a vocoder, or a wrapper around it."""

    def log_prob(
        self, wav: Tensor, mel: Tensor, lengths: Tensor | None = None, speaker: Tensor | None = None
    ) -> Tensor:
        """Give nats per utterance ``[B]`` of ``wav [B, T]`` under ``mel [B, M, F]``."""


def negative_log_likelihood(vocoder: HasLogProb, batch: Batch, scored: int) -> Tensor:
    """Give the loss of a batch of whole segments, a scalar in nats per sample.

    Args:
        vocoder: the model.
        batch: waveforms, mels and speakers on the device of the model.
        scored: samples of each segment that the likelihood counts, see `Vocoder.scored_samples`.
    """
    log_prob = vocoder.log_prob(batch.wav, batch.mel, None, batch.speaker)
    return -log_prob.sum() / (scored * len(batch.ids))
