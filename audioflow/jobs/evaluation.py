"""Checkpoints judged on the held-out speech of a prepared corpus."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from audioflow.corpora import PreparedCorpus
from audioflow.corpora.fetch import cache_directory, sha256_of
from audioflow.corpora.records import Entry
from audioflow.errors import CorpusError, OptionError
from audioflow.evaluation.contenders import Utterance, digest_of
from audioflow.evaluation.evaluation import Model, Plan, Progress, evaluate
from audioflow.evaluation.scores import Evaluation
from audioflow.evaluation.store import Store
from audioflow.jobs.side_by_side import load_labelled
from audioflow.jobs.synthesis import check_options
from audioflow.vocoders.checkpoint import locate

log = logging.getLogger(__name__)

HeldOutSplit = Literal["valid", "test"]
Protocol = Literal["audioflow", "nanoflow"]


@dataclass(frozen=True)
class Selection:
    """Which utterances of a prepared corpus are judged, and how much of them.

    Attributes:
        split: ``test`` for reports, ``valid`` for choosing settings.
        seconds: longest stretch of each, from its start; all of it for None.
        limit: utterances, in the order of their ids; all for None.
        protocol: ``audioflow``, or ``nanoflow``, under which likelihoods of WaveFlow and NanoFlow are published: the
            first tenth of the corpus by id (of LJSpeech 1,310 clips), whole, without dequantisation noise.
    """

    split: HeldOutSplit = "test"
    seconds: float | None = None
    limit: int | None = None
    protocol: Protocol = "audioflow"


def evaluate_checkpoints(
    checkpoints: Sequence[str | Path],
    prepared: str | Path,
    selection: Selection,
    plan: Plan,
    *,
    device: str | torch.device = "cpu",
    cache: str | Path | None = None,
    keep: bool = True,
    progress: Progress = lambda *_: None,
) -> Evaluation:
    """Load checkpoints and speech, and judge the one by the other.

    Args:
        checkpoints: files or run directories; none judges the baselines alone.
        prepared: directory of ``audioflow prepare``.
        selection: what of it.
        plan: what is to be found out.
        device: where the models run.
        cache: where audio and figures are kept; the user's own cache for None.
        keep: whether they are kept at all.
        progress: told how far it is.

    Raises:
        AudioflowError: a checkpoint, the corpus or an option is unfit.
    """
    corpus = PreparedCorpus(prepared)
    if plan.recognizer is not None and selection.seconds is not None:
        raise OptionError("A recogniser is asked about whole utterances, whose texts are known; leave out the seconds.")
    if selection.protocol == "nanoflow":
        if selection.seconds is not None:
            raise OptionError("The protocol nanoflow scores whole clips; leave out the seconds.")
        plan = replace(plan, noisy=False)
    vocoders = load_labelled(checkpoints, device)
    for label, vocoder in vocoders.items():
        for temperature in plan.settings.temperatures:
            noisy, voiced = temperature if isinstance(temperature, tuple) else (temperature, None)
            try:
                check_options(vocoder, "auto", noisy, plan.settings.speaker, voiced_temperature=voiced)
            except OptionError as error:
                raise OptionError(f"{label}: {error}") from error
    models = {
        label: Model(vocoder, sha256_of(locate(path)))
        for (label, vocoder), path in zip(vocoders.items(), checkpoints, strict=True)
    }
    utterances = read_utterances(corpus, selection)
    directory = None if not keep else cache_directory("evaluation") if cache is None else Path(cache)
    store = Store(directory, corpus.contract.sample_rate)
    what = f"{selection.split} split" if selection.protocol == "audioflow" else f"protocol {selection.protocol}"
    return evaluate(models, utterances, plan, store=store, title=f"{corpus.name}, {what}", progress=progress)


def read_utterances(corpus: PreparedCorpus, selection: Selection) -> list[Utterance]:
    """The recordings that are judged, each cut to whole frames.

    Raises:
        CorpusError: there is none, or a file is damaged.
    """
    entries = sorted(_entries(corpus, selection), key=lambda entry: entry.id)[: selection.limit]
    if not entries:
        raise CorpusError(f"{corpus.directory} has no utterance in its {selection.split} split.")
    hop, rate = corpus.contract.hop_length, corpus.contract.sample_rate
    found = []
    for index, entry in enumerate(entries):
        wav, mel = corpus.load(entry)
        if selection.seconds is not None:
            frames = max(1, int(selection.seconds * rate) // hop)
            wav, mel = wav[: frames * hop].clone(), mel[:, :frames].clone()
        speaker, digest = corpus.speaker_index(entry), digest_of(wav, mel)
        found.append(Utterance(entry.id, index, wav, mel, corpus.contract, entry.text, speaker, digest))
    return found


def _entries(corpus: PreparedCorpus, selection: Selection) -> list[Entry]:
    if selection.protocol == "audioflow":
        return corpus.entries(selection.split)
    everything = sorted(corpus.entries(), key=lambda entry: entry.id)
    first = everything[: max(1, len(everything) // 10)]
    trained = sum(entry.split == "train" for entry in first)
    if trained:
        log.warning(
            "%d of these %d utterances are in the train split of %s: the figures compare with published ones only for "
            "a model that was trained without them",
            trained,
            len(first),
            corpus.directory,
        )
    return first
