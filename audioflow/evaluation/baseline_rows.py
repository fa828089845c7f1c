"""Rows of a comparison that need no learning: Griffin-Lim for sound, a Gaussian for likelihood."""

from functools import partial

import torch
from torch import Tensor

from audioflow.audio import dequantize, frames_of
from audioflow.evaluation.baselines import energy_gaussian_log_prob, energy_gaussian_sample, griffin_lim
from audioflow.evaluation.bench import Bench, highest
from audioflow.evaluation.likelihood import LogLikelihood, pooled
from audioflow.evaluation.memory import peak_memory
from audioflow.evaluation.results import Row
from audioflow.evaluation.speed import Timing, measure, pooled_timing


def griffin_lim_row(bench: Bench) -> Row:
    """Bring every recording through Griffin-Lim."""
    contract = bench.front_end.contract
    timings, peaks, audio = [], [], {}
    for name, wav in bench.recordings.items():
        mel = bench.front_end(wav[None])[0]
        samples = frames_of(wav.shape[0], contract.hop_length) * contract.hop_length
        peak, (timing, made) = peak_memory(partial(_timed_griffin_lim, bench, mel, samples))
        timings.append(timing)
        peaks.append(peak)
        audio[name] = made[: wav.shape[0]]
    note = "no learning: magnitudes by least squares from the mel, phases by 32 iterations; on the CPU."
    return Row(
        "Griffin-Lim",
        "-",
        audio,
        parameters=0,
        timing=pooled_timing(timings),
        first_seconds=timings[0].seconds,
        peak_bytes=highest(peaks),
        distances=bench.distances(audio),
        note=note,
    )


def _timed_griffin_lim(bench: Bench, mel: Tensor, samples: int) -> tuple[Timing, Tensor]:
    contract = bench.front_end.contract
    return measure(lambda: griffin_lim(mel, contract, seed=bench.seed), samples, contract.sample_rate, runs=1)


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
