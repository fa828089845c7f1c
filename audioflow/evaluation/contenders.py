"""What an evaluation holds against each other: models under their settings, and baselines that learn nothing."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audioflow.audio import MelContract
from audioflow.audio.matching import MOMENTUM, MelMatcher
from audioflow.evaluation.baselines import griffin_lim
from audioflow.evaluation.likelihood import device_of
from audioflow.evaluation.pulses import ROUNDS, pulses
from audioflow.evaluation.store import Key
from audioflow.evaluation.world import has_world, world
from audioflow.vocoders import Vocoder

RECORDING = "recording"


@dataclass(frozen=True)
class Utterance:
    """One held-out recording.

    Attributes:
        id: its name.
        index: its place in the split; the seed of all noise that is drawn for it.
        wav: ``[T]`` in [-1, 1], whole frames.
        mel: ``[M, F]``.
        contract: that the mel was made by.
        text: what is said, or empty.
        speaker: number of the speaker in the corpus.
        digest: of samples and mel.
    """

    id: str
    index: int
    wav: Tensor
    mel: Tensor
    contract: MelContract
    text: str
    speaker: int
    digest: str


@dataclass(frozen=True)
class Contender:
    """Something that makes audio of an utterance.

    Attributes:
        label: the model's name in this evaluation, or the baseline's.
        settings: how it is run, such as ``T 0.7, matched 8``; empty for a baseline as it is.
        key: what decides its audio, besides the utterance.
        make: wav ``[T]`` or longer on the CPU, of an utterance.
        matched: rounds in which its audio was moved to its mel.
        timed: whether it makes audio from a mel, so that its speed says something.
    """

    label: str
    settings: str
    key: Key
    make: Callable[[Utterance], Tensor]
    matched: int = 0
    timed: bool = True

    @property
    def name(self) -> str:
        """Label and settings together."""
        return f"{self.label}, {self.settings}" if self.settings else self.label


Temperature = float | tuple[float, float]
"""One for all speech, or that of noise and that of speech that is periodic."""


@dataclass(frozen=True)
class Settings:
    """How each model is run: once for each engine, temperature and number of matching rounds.

    Attributes:
        temperatures: factors on the noise's scale; of a pair the second is that of periodic speech.
        match_mel: rounds of mel matching; None stands for what each model recommends.
        speaker: number of the voice for models of several; None for that of the utterance.
        seed: of the first utterance's noise.
    """

    temperatures: Sequence[Temperature] = (1.0,)
    match_mel: Sequence[int | None] = (None,)
    speaker: int | None = None
    seed: int = 0


def digest_of(wav: Tensor, mel: Tensor) -> str:
    """Digest of an utterance's samples and mel."""
    digest = hashlib.sha256(wav.numpy().tobytes())
    digest.update(mel.contiguous().numpy().tobytes())
    return digest.hexdigest()


def model_contenders(
    label: str, vocoder: Vocoder, weights: str, engines: Sequence[str], settings: Settings
) -> list[Contender]:
    """One for each engine, temperature and number of rounds.

    Args:
        label: of the model.
        vocoder: the model.
        weights: digest of its file.
        engines: of the vocoder.
        settings: how it is run.
    """
    rounds = [vocoder.recommended_match_mel if one is None else one for one in settings.match_mel]
    return [
        _model(label, vocoder, weights, engine, temperature, matched, settings, named=len(engines) > 1)
        for engine in engines
        for temperature in settings.temperatures
        for matched in dict.fromkeys(rounds)
    ]


def _model(
    label: str,
    vocoder: Vocoder,
    weights: str,
    engine: str,
    temperature: Temperature,
    matched: int,
    settings: Settings,
    *,
    named: bool,
) -> Contender:
    noisy, voiced = temperature if isinstance(temperature, tuple) else (temperature, None)
    device, several = device_of(vocoder), int(vocoder.config.get("speakers", 0)) > 0

    def make(utterance: Utterance) -> Tensor:
        voice = utterance.speaker if settings.speaker is None else settings.speaker
        made = vocoder.synthesize(
            mel_for(vocoder, utterance),
            seed=settings.seed + utterance.index,
            temperature=noisy,
            voiced_temperature=voiced,
            engine=engine,
            match_mel=matched,
            speaker=torch.tensor([voice], device=device) if several else None,
        )
        return made[0].detach().float().cpu()

    said = [
        f"T {noisy:g}" if voiced is None else f"T {noisy:g}/{voiced:g}",
        *([engine] if named else []),
        *([f"matched {matched}"] if matched else []),
    ]
    key: Key = {
        "weights": weights,
        "engine": engine,
        "temperature": noisy,
        **({} if voiced is None else {"voiced_temperature": voiced}),
        **_matching_key(matched),
        "speaker": settings.speaker,
        "seed": settings.seed,
        "device": device.type,
    }
    return Contender(label, ", ".join(said), key, make, matched)


def mel_for(vocoder: Vocoder, utterance: Utterance) -> Tensor:
    """The mel ``[1, M, F]`` of an utterance on the vocoder's device: the corpus' own where contracts agree."""
    device = device_of(vocoder)
    if utterance.contract == vocoder.contract:
        return utterance.mel[None].to(device)
    return vocoder.mel(utterance.wav[None].to(device))


def baseline_contenders(contract: MelContract, seed: int, *, matched: bool) -> list[Contender]:
    """The recording itself, Griffin-Lim, the training-free pulses, and WORLD where it is installed.

    Args:
        contract: of the corpus.
        seed: of the first utterance's noise.
        matched: whether pulses are moved to their mel, and Griffin-Lim once more as well.
    """
    rounds = ROUNDS if matched else 0
    matcher = MelMatcher(contract, 8)

    def whole(utterance: Utterance) -> Tensor:
        return utterance.wav

    def from_magnitudes(utterance: Utterance) -> Tensor:
        return griffin_lim(utterance.mel, contract, seed=seed + utterance.index)

    def moved(utterance: Utterance) -> Tensor:
        return matcher(from_magnitudes(utterance)[None], utterance.mel[None])[0]

    def from_pulses(utterance: Utterance) -> Tensor:
        return pulses(utterance.mel, contract, rounds, seed + utterance.index)

    def from_features(utterance: Utterance) -> Tensor:
        return world(utterance.wav, contract.sample_rate)

    found = [Contender(RECORDING, "", _baseline_key(RECORDING, seed), whole, timed=False)]
    found.append(Contender("Griffin-Lim", "", _baseline_key("Griffin-Lim", seed), from_magnitudes))
    if matched:
        key = _baseline_key("Griffin-Lim", seed, 8)
        found.append(Contender("Griffin-Lim", "matched 8", key, moved, 8))
    key = _baseline_key("pulses", seed, rounds)
    found.append(Contender("pulses", f"matched {rounds}" if rounds else "", key, from_pulses, rounds))
    if has_world():
        found.append(Contender("WORLD", "", _baseline_key("WORLD", seed), from_features, timed=False))
    return found


def _baseline_key(name: str, seed: int, matched: int = 0) -> Key:
    return {"baseline": name, **_matching_key(matched), "seed": seed}


def _matching_key(rounds: int) -> Key:
    return {"match_mel": rounds, "momentum": MOMENTUM} if rounds else {"match_mel": 0}
