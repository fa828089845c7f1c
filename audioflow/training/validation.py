"""The likelihood of held-out speech, always with the same utterances and the same noise."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric

from audioflow.audio import dequantize
from audioflow.corpora.prepared import PreparedCorpus
from audioflow.corpora.records import Entry
from audioflow.training.batches import Batch
from audioflow.training.processes import summed
from audioflow.training.recipe import DataConfig
from audioflow.training.seeds import generator_for
from audioflow.vocoders import Vocoder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldOut:
    """Utterances that training never sees, each whole or its first seconds.

    Args:
        batches: one utterance each.
    """

    batches: tuple[Batch, ...]

    @classmethod
    def read(cls, prepared: PreparedCorpus, data: DataConfig, *, voiced: bool = False) -> "HeldOut":
        """Read the first utterances of the split ``valid``, in the order of their ids.

        Args:
            prepared: the speech.
            data: how many utterances, and how much of each.
            voiced: whether the model is told who speaks.
        """
        entries = sorted(prepared.entries("valid"), key=lambda entry: entry.id)[: data.valid_utterances]
        contract = prepared.contract
        frames = max(1, int(data.valid_seconds * contract.sample_rate / contract.hop_length))
        if not entries:
            log.warning("%s has no held-out utterance, so nothing is validated", prepared.directory)
        return cls(tuple(_read(prepared, entries, frames, voiced)))

    def nats_per_sample(self, vocoder: Vocoder, fabric: Fabric, *, noisy: bool) -> float:
        """Measure the mean log-likelihood over all samples that the model scores, split over the processes.

        Args:
            vocoder: the model to measure.
            fabric: device and processes.
            noisy: whether noise of one 16-bit step is added, the same each time.
        """
        totals = torch.zeros(2, dtype=torch.float64)
        with torch.no_grad():
            for batch in self.batches[fabric.global_rank :: fabric.world_size]:
                wav = dequantize(batch.wav, generator_for("valid", batch.ids[0])) if noisy else batch.wav
                here = Batch(wav, batch.mel, batch.ids, batch.speaker).to(fabric.device)
                log_prob = vocoder.log_prob(here.wav, here.mel, None, here.speaker)
                samples = vocoder.scored_samples(here.mel.shape[-1]) * len(batch.ids)
                totals += torch.tensor([float(log_prob.double().sum()), samples], dtype=torch.float64)
        nats, count = summed(fabric, totals)
        return nats / count if count else math.nan


def _read(prepared: PreparedCorpus, entries: Sequence[Entry], frames: int, voiced: bool) -> Iterator[Batch]:
    for entry in entries:
        wav, mel = prepared.load_segment(entry, 0, min(frames, entry.frames))
        speaker = torch.tensor([prepared.speaker_index(entry)]) if voiced else None
        yield Batch(wav[None], mel[None], (entry.id,), speaker)
