"""Vocoders side by side: the same recordings through each model and each of its engines, with figures and sound."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor

from audioflow.audio import MelFrontEnd, dequantize, frames_of
from audioflow.errors import AudioError, MelError, OptionError
from audioflow.evaluation.arithmetic import multiply_accumulates
from audioflow.evaluation.baselines import energy_gaussian_log_prob, energy_gaussian_sample, griffin_lim
from audioflow.evaluation.environment import describe_machine
from audioflow.evaluation.hearing import hearing, require_packages
from audioflow.evaluation.likelihood import LogLikelihood, device_of, pooled, score_many
from audioflow.evaluation.metrics import distances
from audioflow.evaluation.results import Comparison, Row
from audioflow.evaluation.speed import Timing, measure, pooled_timing
from audioflow.vocoders import Vocoder

RECORDING = "recording"
# Engines that are specifications, not for use: they are run on a short stretch only.
SLOW_ENGINES = ("naive",)
# How many mel frames a warm-up makes.
WARM_UP_FRAMES = 2


def compare(
    vocoders: Mapping[str, Vocoder],
    recordings: Mapping[str, Tensor],
    *,
    seed: int = 0,
    temperature: float = 1.0,
    speaker: int | None = None,
    dequantize: bool = True,
    stretch_seconds: float = 0.25,
    engines: str | Sequence[str] = "all",
    runs: int = 3,
    heard: bool = False,
    scored: bool = True,
    progress: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Bring each recording through each vocoder, by each of its engines, and through the baselines.

    A vocoder's first engine is what the others are held against, with the same noise. The naive engine makes only
    the loudest stretch of the first recording; its speed and its difference are those of that stretch.

    Args:
        vocoders: by the label under which they shall appear; all of one sample rate.
        recordings: wav [T] in [-1, 1] at that rate, by name.
        seed: of all noise.
        temperature: factor on the noise's scale.
        speaker: number of the speaker, for vocoders that know several; the first where none is named.
        dequantize: whether likelihoods are taken with uniform noise of one 16-bit step.
        stretch_seconds: how much the naive engine makes.
        engines: ``all`` of each vocoder, ``auto`` for the fastest, or names; a vocoder that has none of these is run by
            its fastest.
        runs: how often a synthesis that is quick is timed; slow ones are timed once.
        heard: whether PESQ, STOI, pitch and voicing are taken too.
        scored: whether likelihoods are taken, which models that score sample by sample are slow at.
        progress: told what is done next.

    Raises:
        OptionError: ``heard`` needs a package that is not installed, or no vocoder has an engine that is named.
        MelError: the vocoders work at different rates.
        AudioError: there is no recording, or one is too short.
    """
    if not recordings:
        raise AudioError("There is no recording to compare the vocoders on; give at least one.")
    if heard:
        require_packages()
    rate = common_rate(vocoders)
    chosen = choose_engines(vocoders, engines)
    first = next(iter(vocoders.values()))
    recordings = {name: wav.detach().float().cpu() for name, wav in recordings.items()}
    front_end = MelFrontEnd(first.contract)
    bench = _Bench(
        recordings, front_end, seed, temperature, speaker, dequantize, stretch_seconds, runs, heard, scored, progress
    )
    rows = [Row(RECORDING, "-", recordings)]
    for label, vocoder in vocoders.items():
        rows += _vocoder_rows(bench, label, vocoder, chosen[label])
    progress("baselines")
    rows += [_griffin_lim_row(bench), _gaussian_row(bench)]
    return Comparison(rows, rate, seed, temperature, dequantize, describe_machine(device_of(first)))


def choose_engines(vocoders: Mapping[str, Vocoder], engines: str | Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Engines of each vocoder, by label; see :func:`compare`.

    Raises:
        OptionError: no vocoder has an engine that is named.
    """
    usable = {label: vocoder.usable_engines for label, vocoder in vocoders.items()}
    if engines == "all":
        return usable
    names = [] if engines == "auto" else [engines] if isinstance(engines, str) else list(engines)
    known = sorted({name for each in usable.values() for name in each})
    for name in names:
        if name not in known:
            raise OptionError(f"None of these models has an engine {name!r}; there are {', '.join(known)}.")
    return {label: tuple(name for name in each if name in names) or each[:1] for label, each in usable.items()}


def common_rate(vocoders: Mapping[str, Vocoder]) -> int:
    """Give the sample rate of all vocoders, in Hz.

    Raises:
        MelError: there are none, or they differ.
    """
    rates = {label: vocoder.contract.sample_rate for label, vocoder in vocoders.items()}
    if len(set(rates.values())) != 1:
        found = ", ".join(f"{label} at {rate} Hz" for label, rate in rates.items()) or "none"
        raise MelError(f"Only vocoders of one sample rate can be compared, but these were given: {found}.")
    return next(iter(rates.values()))


def loudest_stretch(mel: Tensor, wav: Tensor, hop_length: int, seconds: float, sample_rate: int) -> Tensor:
    """Cut from mel [1, M, F] the frames during which wav [T] has the most energy, so that there is something to hear.

    Args:
        mel: of the wav.
        wav: the recording.
        hop_length: samples per frame.
        seconds: how long the stretch is, rounded to frames, at least one, at most all.
        sample_rate: in Hz.
    """
    frames = min(mel.shape[-1], max(1, round(seconds * sample_rate / hop_length)))
    energies = torch.stack([frame.square().sum() for frame in wav.split(hop_length)])
    start = int(energies.unfold(0, frames, 1).sum(dim=-1).argmax())
    return mel[..., start : start + frames]


@dataclass(frozen=True)
class _Bench:
    """What all rows have in common: the recordings, how to judge what was made of them, and the settings."""

    recordings: dict[str, Tensor]
    front_end: MelFrontEnd
    seed: int
    temperature: float
    speaker: int | None
    dequantize: bool
    stretch_seconds: float
    runs: int
    heard: bool
    scored: bool
    progress: Callable[[str], object]

    def distances(self, audio: dict[str, Tensor]) -> dict[str, float]:
        """Give the mean distances of the audio from the recordings; one front-end judges all rows."""
        found = [self._judged(wav, audio[name]) for name, wav in self.recordings.items()]
        return {metric: mean_of_numbers([each[metric] for each in found]) for metric in found[0]}

    def _judged(self, wav: Tensor, made: Tensor) -> dict[str, float]:
        heard = hearing(wav, made, self.front_end.contract.sample_rate) if self.heard else {}
        return {**distances(wav, made, self.front_end), **heard}

    def synthesis(self, vocoder: Vocoder, mel: Tensor, engine: str, warm_up: bool) -> tuple[Timing, Tensor]:
        """Give the timing and the audio, wav [T], of one mel [1, M, F]; a warm-up makes a few frames of it."""
        contract = vocoder.contract

        voice = None if self.speaker is None else torch.tensor([self.speaker], device=mel.device)

        def make(frames: Tensor) -> Tensor:
            return vocoder.synthesize(
                frames, temperature=self.temperature, seed=self.seed, engine=engine, speaker=voice
            )

        timing, wav = measure(
            lambda: make(mel),
            mel.shape[-1] * contract.hop_length,
            contract.sample_rate,
            runs=self.runs,
            warm_up=(lambda: make(mel[..., :WARM_UP_FRAMES])) if warm_up else None,
        )
        return timing, wav[0].detach().float().cpu()


def _vocoder_rows(bench: _Bench, label: str, vocoder: Vocoder, engines: Sequence[str]) -> list[Row]:
    likelihood = None
    if bench.scored:
        bench.progress(f"likelihood of {label}")
        wavs = bench.recordings.values()
        scores = score_many(vocoder, wavs, dequantize=bench.dequantize, seed=bench.seed, speaker=bench.speaker)
        likelihood = pooled(scores)
    parameters = sum(parameter.numel() for parameter in vocoder.parameters())
    rows: list[Row] = []
    for engine in engines:
        bench.progress(f"synthesis by {label}, engine {engine}")
        if rows and engine in SLOW_ENGINES:
            row = _stretch_row(bench, label, vocoder, engine)
        else:
            row = replace(
                _whole_row(bench, label, vocoder, engine),
                multiply_accumulates=multiply_accumulates(vocoder, engine),
            )
        if rows and row.difference is None:
            row = replace(row, difference=_greatest_difference(row.audio, rows[0].audio))
        rows.append(replace(row, parameters=parameters, likelihood=likelihood))
    return rows


def _whole_row(bench: _Bench, label: str, vocoder: Vocoder, engine: str) -> Row:
    """Synthesise every recording."""
    timings, audio = [], {}
    for name, wav in bench.recordings.items():
        timing, made = bench.synthesis(vocoder, _mel(vocoder, wav), engine, warm_up=True)
        timings.append(timing)
        audio[name] = made[: wav.shape[0]]
    return Row(label, engine, audio, timing=pooled_timing(timings), distances=bench.distances(audio))


def _stretch_row(bench: _Bench, label: str, vocoder: Vocoder, engine: str) -> Row:
    """Synthesise a short stretch by a slow engine, and by the model's first engine to see whether they agree."""
    name, wav = next(iter(bench.recordings.items()))
    contract, fast = vocoder.contract, vocoder.usable_engines[0]
    mel = loudest_stretch(_mel(vocoder, wav), wav, contract.hop_length, bench.stretch_seconds, contract.sample_rate)
    timing, made = bench.synthesis(vocoder, mel, engine, warm_up=False)
    stretch = {name: bench.synthesis(vocoder, mel, fast, warm_up=False)[1]}
    seconds = timing.samples / timing.sample_rate
    note = f"a stretch of {seconds:.2f} s only; max diff. is from the {fast} engine on that stretch."
    difference = _greatest_difference({name: made}, stretch)
    return Row(label, engine, {name: made}, timing=timing, difference=difference, note=note)


def _griffin_lim_row(bench: _Bench) -> Row:
    contract = bench.front_end.contract
    timings, audio = [], {}
    for name, wav in bench.recordings.items():
        mel = bench.front_end(wav[None])[0]
        samples = frames_of(wav.shape[0], contract.hop_length) * contract.hop_length
        timing, made = _timed_griffin_lim(bench, mel, samples)
        timings.append(timing)
        audio[name] = made[: wav.shape[0]]
    note = "no learning: magnitudes by least squares from the mel, phases by 32 iterations; on the CPU."
    timing = pooled_timing(timings)
    return Row("Griffin-Lim", "-", audio, parameters=0, timing=timing, distances=bench.distances(audio), note=note)


def _timed_griffin_lim(bench: _Bench, mel: Tensor, samples: int) -> tuple[Timing, Tensor]:
    contract = bench.front_end.contract
    return measure(lambda: griffin_lim(mel, contract, seed=bench.seed), samples, contract.sample_rate, runs=1)


def _gaussian_row(bench: _Bench) -> Row:
    """Say how a Gaussian does that knows the energy of each frame of the very samples that are scored."""
    hop = bench.front_end.contract.hop_length
    scores, audio = [], {}
    for index, (name, wav) in enumerate(bench.recordings.items()):
        whole = wav[: wav.shape[0] // hop * hop]
        # The same noise as the vocoders' scores have.
        generator = torch.Generator().manual_seed(bench.seed + index)
        scored = dequantize(whole, generator) if bench.dequantize else whole
        nats = energy_gaussian_log_prob(scored, hop) * whole.shape[0]
        scores.append(LogLikelihood(nats, whole.shape[0], bench.dequantize))
        audio[name] = energy_gaussian_sample(wav, hop, bench.seed)
    note = "white noise that has the energy of each frame of the recording."
    return Row("energy Gaussian", "-", audio, likelihood=pooled(scores), distances=bench.distances(audio), note=note)


def mean_of_numbers(values: Sequence[float]) -> float:
    """The mean of those that are numbers; NaN if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return fmean(numbers) if numbers else math.nan


def _mel(vocoder: Vocoder, wav: Tensor) -> Tensor:
    """Give the mel [1, M, F] of wav [T] on the vocoder's device."""
    return vocoder.mel(wav[None].to(device_of(vocoder)))


def _greatest_difference(audio: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((audio[name] - other[name]).abs().max()) for name in audio)
