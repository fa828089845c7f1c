"""Rows of a comparison that need no learning: sound by signal processing, a Gaussian for likelihood."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from audioflow.audio import dequantize, frames_of
from audioflow.audio.matching import MelMatcher
from audioflow.evaluation.baselines import energy_gaussian_log_prob, energy_gaussian_sample, griffin_lim
from audioflow.evaluation.bench import Bench, highest
from audioflow.evaluation.likelihood import LogLikelihood, pooled
from audioflow.evaluation.memory import peak_memory
from audioflow.evaluation.pulses import ROUNDS, pulses
from audioflow.evaluation.results import Row, matched_engine
from audioflow.evaluation.speed import measure, pooled_timing
from audioflow.evaluation.world import has_world, world

GRIFFIN_LIM = "no learning: magnitudes by least squares from the mel, phases by 32 iterations; on the CPU."
PULSES = (
    "no learning: pulses at the pitch that the mel shows, noise where it shows none, through the mel's own filter; "
    "on the CPU."
)
WORLD = (
    "no learning and no mel: the recording itself, taken apart into features of WORLD's own (pitch, envelope, "
    "aperiodicity) and put together again; on the CPU."
)


def baseline_rows(bench: Bench) -> list[Row]:
    """All of them; matched ones only where the bench asks for matching, WORLD only where pyworld is installed."""
    rows = [griffin_lim_row(bench)]
    if bench.match_mel:
        rows.append(griffin_lim_row(bench, bench.match_mel))
    rows.append(pulses_row(bench, ROUNDS if bench.match_mel else 0))
    if has_world():
        rows.append(world_row(bench))
    return [*rows, gaussian_row(bench)]


def griffin_lim_row(bench: Bench, rounds: int = 0) -> Row:
    """Bring every recording through Griffin-Lim, and so many rounds of mel matching."""
    contract = bench.front_end.contract
    matcher = MelMatcher(contract, rounds)

    def make(_: Tensor, mel: Tensor) -> Tensor:
        made = griffin_lim(mel, contract, seed=bench.seed)
        return matcher(made[None], mel[None])[0].clamp(-1, 1)

    return _row(bench, "Griffin-Lim", make, GRIFFIN_LIM, rounds)


def pulses_row(bench: Bench, rounds: int) -> Row:
    """Make every recording's mel sound without any learning; see :mod:`audioflow.evaluation.pulses`."""
    contract = bench.front_end.contract
    return _row(bench, "pulses", lambda _, mel: pulses(mel, contract, rounds, bench.seed), PULSES, rounds)


def world_row(bench: Bench) -> Row:
    """Bring every recording through WORLD."""
    rate = bench.front_end.contract.sample_rate
    return _row(bench, "WORLD", lambda wav, _: world(wav, rate), WORLD)


def _row(bench: Bench, label: str, make: Callable[[Tensor, Tensor], Tensor], note: str, rounds: int = 0) -> Row:
    """Make sound of every recording [T] or of its mel [M, F], timed; what comes after its end is cut off."""
    timings, peaks, audio = [], [], {}
    contract = bench.front_end.contract
    for name, wav in bench.recordings.items():
        mel = bench.front_end(wav[None])[0]
        samples = frames_of(wav.shape[0], contract.hop_length) * contract.hop_length
        run = partial(measure, partial(make, wav, mel), samples, contract.sample_rate, runs=1)
        peak, (timing, made) = peak_memory(run)
        timings.append(timing)
        peaks.append(peak)
        audio[name] = made[: wav.shape[0]]
    return Row(
        label,
        matched_engine("-", rounds),
        audio,
        parameters=0,
        timing=pooled_timing(timings),
        first_seconds=timings[0].seconds,
        peak_bytes=highest(peaks),
        distances=bench.distances(audio),
        note=note,
        match_mel=rounds,
    )


def gaussian_row(bench: Bench) -> Row:
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
