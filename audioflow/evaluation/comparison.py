"""Vocoders side by side: the same recordings through each model and each of its engines, with figures and sound."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from audioflow.audio import MelFrontEnd
from audioflow.errors import AudioError, MelError, OptionError
from audioflow.evaluation.agreement import Agreement, Reference
from audioflow.evaluation.arithmetic import multiply_accumulates
from audioflow.evaluation.baseline_rows import baseline_rows
from audioflow.evaluation.bench import Bench, Trial, highest, loudest_stretch, mel_of
from audioflow.evaluation.ceiling import Ceiling, measure_ceiling
from audioflow.evaluation.engines import choose_engines, is_slow, reference_engine
from audioflow.evaluation.environment import describe_machine
from audioflow.evaluation.hearing import require_packages
from audioflow.evaluation.likelihood import device_of, pooled, score_many
from audioflow.evaluation.results import Comparison, Row, matched_engine
from audioflow.evaluation.speed import pooled_timing
from audioflow.vocoders import Vocoder

RECORDING = "recording"


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
    match_mel: int = 8,
    progress: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Bring each recording through each vocoder, by each of its engines, and through the baselines.

    Every engine is held against a vocoder's first one, sample by sample over all audio, and against its reference
    engine (``naive``, else ``parallel``) over the loudest stretch of the first recording, always with the same noise.
    The naive engine makes only that stretch; its speed is that of the stretch.

    These rows are the models' own draws. One more row for each model has the audio of its first engine moved to its mel
    (:class:`audioflow.audio.matching.MelMatcher`); as no density is behind that, it has no likelihood.

    Args:
        vocoders: by the label under which they shall appear; all of one sample rate.
        recordings: wav [T] in [-1, 1] at that rate, by name.
        seed: of all noise.
        temperature: factor on the noise's scale.
        speaker: number of the speaker, for vocoders that know several; the first where none is named.
        dequantize: whether likelihoods are taken with uniform noise of one 16-bit step.
        stretch_seconds: how much the naive engine makes, and over how much engines are held against the reference.
        engines: ``all`` of each vocoder, ``auto`` for the fastest, or names; a vocoder that has none of these is run by
            its fastest.
        runs: how often a synthesis that is quick is timed; slow ones are timed once.
        heard: whether PESQ, STOI, pitch and voicing are taken too.
        scored: whether likelihoods are taken, which models that score sample by sample are slow at.
        match_mel: rounds of mel matching in the rows that have it; 0 leaves these rows out.
        progress: told what is done next.

    Raises:
        OptionError: ``heard`` needs a package that is not installed, no vocoder has an engine that is named, or
            ``match_mel`` is negative.
        MelError: the vocoders work at different rates.
        AudioError: there is no recording, or one is too short.
    """
    if not recordings:
        raise AudioError("There is no recording to compare the vocoders on; give at least one.")
    if match_mel < 0:
        raise OptionError(f"The rounds of mel matching are {match_mel}; they must be a whole number from 0 on.")
    if heard:
        require_packages()
    rate = common_rate(vocoders)
    chosen = choose_engines(vocoders, engines)
    first = next(iter(vocoders.values()))
    recordings = {name: wav.detach().float().cpu() for name, wav in recordings.items()}
    front_end = MelFrontEnd(first.contract)
    bench = Bench(
        recordings,
        front_end,
        seed=seed,
        temperature=temperature,
        speaker=speaker,
        dequantize=dequantize,
        stretch_seconds=stretch_seconds,
        runs=runs,
        heard=heard,
        scored=scored,
        match_mel=match_mel,
        progress=progress,
    )
    progress("ceilings of the machine")
    device = device_of(first)
    ceiling = measure_ceiling(device, {name for each in chosen.values() for name in each})
    rows = [Row(RECORDING, "-", recordings, distances=bench.distances(recordings))]
    for label, vocoder in vocoders.items():
        rows += _vocoder_rows(bench, label, vocoder, chosen[label], ceiling)
    progress("baselines")
    rows += baseline_rows(bench)
    machine = {**describe_machine(device), **ceiling.facts()}
    return Comparison(rows, rate, seed, temperature, dequantize, machine)


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


def _vocoder_rows(bench: Bench, label: str, vocoder: Vocoder, engines: Sequence[str], ceiling: Ceiling) -> list[Row]:
    likelihood = None
    if bench.scored:
        bench.progress(f"likelihood of {label}")
        wavs = bench.recordings.values()
        scores = score_many(vocoder, wavs, dequantize=bench.dequantize, seed=bench.seed, speaker=bench.speaker)
        likelihood = pooled(scores)
    parameters = sum(parameter.numel() for parameter in vocoder.parameters())
    stretch = _Stretch(bench, label, vocoder, engines)
    rows: list[Row] = []
    for engine in engines:
        bench.progress(f"synthesis by {label}, engine {engine}")
        if rows and is_slow(vocoder, engine):
            row = stretch.row(engine)
        else:
            row = _whole_row(bench, label, vocoder, engine, ceiling)
        if rows and row.difference is None:
            row = replace(row, difference=_greatest_difference(row.audio, rows[0].audio))
        rows.append(replace(row, parameters=parameters, likelihood=likelihood, agreement=stretch.agreement(engine)))
    if bench.match_mel:
        bench.progress(f"synthesis by {label}, engine {matched_engine(engines[0], bench.match_mel)}")
        rows.append(replace(_sound_row(bench, label, vocoder, engines[0], bench.match_mel), parameters=parameters))
    return rows


def _whole_row(bench: Bench, label: str, vocoder: Vocoder, engine: str, ceiling: Ceiling) -> Row:
    """Synthesise every recording, and say what arithmetic that takes."""
    row, arithmetic = _sound_row(bench, label, vocoder, engine), multiply_accumulates(vocoder, engine)
    share = None if row.timing is None else ceiling.share(engine, row.timing.samples_per_second, arithmetic)
    return replace(row, multiply_accumulates=arithmetic, share_of_ceiling=share)


def _sound_row(bench: Bench, label: str, vocoder: Vocoder, engine: str, match_mel: int = 0) -> Row:
    """Synthesise every recording, with so many rounds of mel matching."""
    trials, audio = [], {}
    for name, wav in bench.recordings.items():
        trials.append(bench.synthesis(vocoder, mel_of(vocoder, wav), engine, match_mel))
        audio[name] = trials[-1].audio[: wav.shape[0]]
    first = mel_of(vocoder, next(iter(bench.recordings.values())))
    return Row(
        label,
        matched_engine(engine, match_mel),
        audio,
        timing=pooled_timing([trial.timing for trial in trials]),
        first_seconds=bench.seconds_to_first(vocoder, first, engine, trials[0].timing, match_mel),
        peak_bytes=highest([trial.peak_bytes for trial in trials]),
        distances=bench.distances(audio),
        match_mel=match_mel,
    )


class _Stretch:
    """The loudest stretch of the first recording: all that slow engines make, and what all are held against."""

    def __init__(self, bench: Bench, label: str, vocoder: Vocoder, engines: Sequence[str]) -> None:
        self.bench, self.label, self.vocoder = bench, label, vocoder
        self.name, wav = next(iter(bench.recordings.items()))
        contract = vocoder.contract
        self.mel = loudest_stretch(
            mel_of(vocoder, wav), wav, contract.hop_length, bench.stretch_seconds, contract.sample_rate
        )
        self.engine = reference_engine(vocoder)
        # Nobody who asks for the fastest engine alone shall wait for the slowest.
        self.held = len(engines) > 1 or self.engine in engines or not is_slow(vocoder, self.engine)
        self._trials: dict[str, Trial] = {}
        self._reference: Reference | None = None

    def trial(self, engine: str) -> Trial:
        """Give what an engine makes of the stretch; it makes it once."""
        if engine not in self._trials:
            self.bench.progress(f"a stretch by {self.label}, engine {engine}")
            self._trials[engine] = self.bench.synthesis(self.vocoder, self.mel, engine, warm_up=False)
        return self._trials[engine]

    def agreement(self, engine: str) -> Agreement | None:
        """Say how far an engine is from the reference."""
        if not self.held:
            return None
        if self._reference is None:
            wav, voice = self._wav(self.engine), self.bench.voice(self.mel.device)
            self._reference = Reference(self.vocoder, self.mel, wav, voice, scored=self.bench.scored)
        return self._reference.agreement(self._wav(engine))

    def row(self, engine: str) -> Row:
        """Give the row of a slow engine, with its difference from the model's first engine."""
        trial, fast = self.trial(engine), self.vocoder.usable_engines[0]
        seconds = trial.timing.samples / trial.timing.sample_rate
        return Row(
            self.label,
            engine,
            {self.name: trial.audio},
            timing=trial.timing,
            first_seconds=self.bench.seconds_to_first(self.vocoder, self.mel, engine, trial.timing),
            peak_bytes=trial.peak_bytes,
            difference=float((trial.audio - self.trial(fast).audio).abs().max()),
            note=f"a stretch of {seconds:.2f} s only; max diff. is from the {fast} engine on that stretch.",
        )

    def _wav(self, engine: str) -> Tensor:
        return self.trial(engine).audio[None].to(self.mel.device)


def _greatest_difference(audio: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((audio[name] - other[name]).abs().max()) for name in audio)
