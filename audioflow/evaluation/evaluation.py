"""Held-out speech through any number of models and baselines: likelihood, sound, and how sure the figures are."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from audioflow import __version__
from audioflow.audio import MelContract, dequantize, quantize
from audioflow.errors import AudioError, MelError
from audioflow.evaluation.baselines import (
    constant_gaussian_log_prob,
    energy_gaussian_log_prob,
    envelope_gaussian_log_prob,
)
from audioflow.evaluation.contenders import (
    Contender,
    Settings,
    Utterance,
    baseline_contenders,
    model_contenders,
)
from audioflow.evaluation.engines import choose_engines
from audioflow.evaluation.environment import describe_machine
from audioflow.evaluation.hearing import require_packages
from audioflow.evaluation.judging import Court, judges
from audioflow.evaluation.likelihood import LogLikelihood, device_of, score_many
from audioflow.evaluation.pitch import contour
from audioflow.evaluation.recognition import Recognizer
from audioflow.evaluation.scores import Evaluation, Scored, Sounded
from audioflow.evaluation.store import Key, Record, Store
from audioflow.vocoders import Vocoder

log = logging.getLogger(__name__)

GAUSSIANS = ("one variance", "frame energies", "the mel's envelope")
"""What Gaussians know that nothing is learned for."""

Progress = Callable[[str, int, int], object]
"""Told what is done next, how many steps are done, and how many there are."""


@dataclass(frozen=True)
class Model:
    """A vocoder to be judged.

    Attributes:
        vocoder: on whatever device it is.
        weights: digest of the file that it was loaded from.
    """

    vocoder: Vocoder
    weights: str


@dataclass(frozen=True)
class Plan:
    """What is to be found out.

    Attributes:
        engines: ``auto`` for each model's fastest, ``all``, or names.
        settings: how the models are run.
        baselines: whether what learns nothing is judged too.
        scored: whether likelihoods are taken.
        sounded: whether audio is made and judged.
        noisy: whether likelihoods are taken with uniform noise of one 16-bit step.
        recognizer: reads the audio, for error rates; None leaves them out.
        without: opinion scores to leave out.
        workers: processes that judge.
    """

    engines: str | Sequence[str] = "auto"
    settings: Settings = field(default_factory=Settings)
    baselines: bool = True
    scored: bool = True
    sounded: bool = True
    noisy: bool = True
    recognizer: Recognizer | None = None
    without: Sequence[str] = ()
    workers: int = 1


def evaluate(
    models: Mapping[str, Model],
    utterances: Sequence[Utterance],
    plan: Plan,
    *,
    store: Store,
    title: str = "",
    progress: Progress = lambda *_: None,
) -> Evaluation:
    """Score the utterances under each model, make audio of them by each contender, and judge it.

    Args:
        models: by the label under which they shall appear.
        utterances: held out; all of one contract.
        plan: what is to be found out.
        store: of what was found before.
        title: what the utterances are.
        progress: told how far it is.

    Raises:
        AudioError: there is no utterance.
        MelError: a model works at another rate than the utterances.
        OptionError: a package is missing, or no model has an engine that is named.
    """
    if not utterances:
        raise AudioError("There is no utterance to evaluate on; choose another split or a larger limit.")
    contract = utterances[0].contract
    _check_rates(models, contract)
    if plan.sounded:
        require_packages()
    contenders = _contenders(models, contract, plan) if plan.sounded else []
    scores = len(models) if plan.scored else 0
    bar = _Bar(progress, scores + len(contenders) * len(utterances))
    scored = _likelihoods(models, utterances, plan, store, bar) if plan.scored else []
    with Court(plan.workers, plan.without) as court:
        sounded = _sounds(contenders, utterances, plan, store, court, bar)
    first = next(iter(models.values())).vocoder if models else None
    machine = describe_machine("cpu" if first is None else device_of(first))
    return Evaluation(title, list(utterances), scored, sounded, store, plan.settings.seed, plan.noisy, machine)


def sound_of(contender: Contender, utterance: Utterance, store: Store) -> tuple[Tensor, float]:
    """What a contender makes of an utterance, on the 16-bit grid and as long as it, and the seconds that it took."""
    key = _key(contender, utterance)
    known = store.read(key, sounding=True)
    if known is not None and known.audio is not None:
        return known.audio, known.seconds
    begun = time.perf_counter()
    made = contender.make(utterance)[: len(utterance.wav)]
    seconds = time.perf_counter() - begun if contender.timed else math.nan
    if not bool(torch.isfinite(made).all()):
        log.warning("%s made audio of %s that is not finite; it is silent there", contender.name, utterance.id)
        made = made.nan_to_num(0.0, 0.0, 0.0)
    audio = quantize(torch.nn.functional.pad(made, (0, len(utterance.wav) - len(made))).clamp(-1, 1))
    store.write(key, Record(seconds=seconds, audio=audio))
    return audio, seconds


class _Bar:
    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.done, self.total = progress, 0, total

    def step(self, what: str) -> None:
        self.progress(what, self.done, self.total)
        self.done += 1


def _check_rates(models: Mapping[str, Model], contract: MelContract) -> None:
    for label, model in models.items():
        rate = model.vocoder.contract.sample_rate
        if rate != contract.sample_rate:
            raise MelError(
                f"{label} makes audio at {rate} Hz, but this speech is at {contract.sample_rate} Hz; prepare the "
                "corpus at the model's rate."
            )


def _contenders(models: Mapping[str, Model], contract: MelContract, plan: Plan) -> list[Contender]:
    engines = choose_engines({label: model.vocoder for label, model in models.items()}, plan.engines)
    found: list[Contender] = []
    for label, model in models.items():
        found += model_contenders(label, model.vocoder, model.weights, engines[label], plan.settings)
    if not plan.baselines:
        return found
    matched = any(contender.matched for contender in found) or not found
    return [*baseline_contenders(contract, plan.settings.seed, matched=matched), *found]


def _key(contender: Contender, utterance: Utterance) -> Key:
    # The noise is that of its place.
    return {**contender.key, "utterance": utterance.digest, "index": utterance.index, "audioflow": __version__}


# Likelihood


def _likelihoods(
    models: Mapping[str, Model], utterances: Sequence[Utterance], plan: Plan, store: Store, bar: _Bar
) -> list[Scored]:
    found = _gaussians(utterances, plan) if plan.baselines else []
    for label, model in models.items():
        bar.step(f"likelihood, {label}")
        nats = _nats(model, utterances, plan, store)
        parameters = sum(parameter.numel() for parameter in model.vocoder.parameters())
        found.append(Scored(label, nats, parameters))
    return found


def _nats(model: Model, utterances: Sequence[Utterance], plan: Plan, store: Store) -> list[LogLikelihood]:
    """Of each utterance; those of before, if all are known."""
    settings = plan.settings
    keys: list[Key] = [
        {
            "likelihood": model.weights,
            "utterance": one.digest,
            "seed": settings.seed + number,
            "noisy": plan.noisy,
            "speaker": settings.speaker,
            "audioflow": __version__,
        }
        for number, one in enumerate(utterances)
    ]
    known = [store.read(key, sounding=False) for key in keys]
    if all(known):
        return [_likelihood(one.figures, plan) for one in known if one is not None]
    voices: int | list[int] | None = None
    if int(model.vocoder.config.get("speakers", 0)):
        voices = [one.speaker for one in utterances] if settings.speaker is None else settings.speaker
    wavs = [one.wav for one in utterances]
    made = score_many(model.vocoder, wavs, dequantize=plan.noisy, seed=settings.seed, speaker=voices)
    for key, one in zip(keys, made, strict=True):
        store.write(key, Record({"nats_total": one.nats_total, "samples": float(one.samples)}))
    return made


def _likelihood(figures: Mapping[str, float], plan: Plan) -> LogLikelihood:
    return LogLikelihood(figures["nats_total"], int(figures["samples"]), plan.noisy)


def _gaussians(utterances: Sequence[Utterance], plan: Plan) -> list[Scored]:
    """Gaussians that learn nothing, of the variance that `GAUSSIANS` names."""
    found: dict[str, list[LogLikelihood]] = {f"Gaussian, {name}": [] for name in GAUSSIANS}
    for number, one in enumerate(utterances):
        # The same noise as the models' scores have.
        generator = torch.Generator().manual_seed(plan.settings.seed + number)
        wav = dequantize(one.wav, generator) if plan.noisy else one.wav
        densities = (
            constant_gaussian_log_prob(wav),
            energy_gaussian_log_prob(wav, one.contract.hop_length),
            envelope_gaussian_log_prob(wav, one.mel, one.contract),
        )
        for scores, nats in zip(found.values(), densities, strict=True):
            scores.append(LogLikelihood(nats * len(wav), len(wav), plan.noisy))
    return [Scored(label, scores, 0) for label, scores in found.items()]


# Sound


def _sounds(
    contenders: Sequence[Contender],
    utterances: Sequence[Utterance],
    plan: Plan,
    store: Store,
    court: Court,
    bar: _Bar,
) -> list[Sounded]:
    contours = _Contours()
    asked = []
    for contender in contenders:
        waiting = []
        for utterance in utterances:
            bar.step(f"{contender.name}, {utterance.id}")
            waiting.append(_judged(contender, utterance, plan.without, store, court, contours))
        asked.append(waiting)
    found = []
    for contender, waiting in zip(contenders, asked, strict=True):
        each = [one() for one in waiting]
        if plan.recognizer is not None:
            each = [
                Record({**record.figures, **_read(contender, one, plan.recognizer, store)}, record.seconds)
                for record, one in zip(each, utterances, strict=True)
            ]
        found.append(Sounded(contender, each))
    return found


def _judged(
    contender: Contender,
    utterance: Utterance,
    without: Sequence[str],
    store: Store,
    court: Court,
    contours: "_Contours",
) -> Callable[[], Record]:
    """Ask for an utterance's figures; they are known already, or wait for the court."""
    key = _key(contender, utterance)
    judged: Key = {**key, "judges": judges(), "without": ",".join(sorted(without))}
    made, known = store.read(key, sounding=False), store.read(judged, sounding=False)
    if made is not None and known is not None:
        record = Record(known.figures, made.seconds)
        return lambda: record
    audio, seconds = sound_of(contender, utterance, store)
    figures = court(utterance.wav, audio, utterance.contract, contours.of(utterance))

    def collected() -> Record:
        record = Record(figures(), seconds)
        store.write(judged, Record(record.figures))
        return record

    return collected


def _read(contender: Contender, utterance: Utterance, recognizer: Recognizer, store: Store) -> dict[str, float]:
    """Error rates of what a recogniser hears."""
    key: Key = {**_key(contender, utterance), "recognizer": recognizer.name, "text": utterance.text}
    known = store.read(key, sounding=False)
    if known is None:
        audio, _ = sound_of(contender, utterance, store)
        known = Record(recognizer.errors(utterance.text, audio, utterance.contract.sample_rate))
        store.write(key, known)
    return known.figures


class _Contours:
    """Pitch of the recordings, found once each."""

    def __init__(self) -> None:
        self._found: dict[str, np.ndarray] = {}

    def of(self, utterance: Utterance) -> np.ndarray:
        if utterance.id not in self._found:
            self._found[utterance.id] = contour(utterance.wav, utterance.contract.sample_rate)
        return self._found[utterance.id]
