"""Fitting what a vocoder reads off the mel about voicing, to pitch tracks of the corpus."""

import logging

import numpy as np
import torch

from audioflow.corpora.prepared import PreparedCorpus
from audioflow.evaluation.pitch import HOP_SECONDS
from audioflow.evaluation.tracking import pitch_track
from audioflow.training.seeds import seed_for
from audioflow.vocoders import Vocoder

log = logging.getLogger(__name__)

SECONDS = 300.0
"""Speech whose pitch is tracked: more makes the fit no better."""


@torch.no_grad()
def fit_periodicity(vocoder: Vocoder, prepared: PreparedCorpus, seed: int = 0) -> None:
    """Fit :attr:`Vocoder.periodicity` to some minutes of the training split; nothing for a vocoder without.

    Args:
        vocoder: initialized; its normaliser is used.
        prepared: the speech.
        seed: chooses the utterances.
    """
    if vocoder.periodicity is None:
        return
    contract, device = vocoder.contract, vocoder.normalizer.mean.device
    entries = prepared.entries("train")
    order = np.random.default_rng(seed_for(seed, "periodicity")).permutation(len(entries))
    mels, wanted, seconds = [], [], 0.0
    for index in order:
        if seconds >= SECONDS:
            break
        wav, mel = prepared.load(entries[index])
        track = pitch_track(wav, contract.sample_rate).periodicity
        offset = 0.5 if contract.framing == "half_hop" else 0.0
        centres = (torch.arange(mel.shape[1]) + offset) * contract.hop_length / contract.sample_rate
        nearest = (centres / HOP_SECONDS).round().long().clamp(max=len(track) - 1)
        mels.append(vocoder.normalizer(mel[None].to(device), None)[0])
        wanted.append(track[nearest].to(mel.dtype))
        seconds += len(wav) / contract.sample_rate
    loss = vocoder.periodicity.fit(mels, wanted)
    log.info("periodicity fitted to %.0f s of speech, cross-entropy %.3f", seconds, loss)
