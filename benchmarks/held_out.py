"""Likelihood of a prepared corpus's test split under trained models and under two Gaussians that learn nothing.

    python benchmarks/held_out.py prepared/festvox-ru runs/wavenet runs/glow [--seconds 4] [--limit 22] [--json]

All figures are densities of the same samples with the same dequantisation noise (uniform, one 16-bit step). The first
Gaussian has one variance per utterance; the second has, in each frame, the energy of that very frame of the recording.
"""

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from audioflow.audio import dequantize
from audioflow.corpora import PreparedCorpus
from audioflow.evaluation.baselines import constant_gaussian_log_prob, energy_gaussian_log_prob
from audioflow.evaluation.likelihood import LogLikelihood, pooled, score_many
from audioflow.vocoders import load, read_header


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="directory of audioflow prepare")
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--seconds", type=float, help="longest stretch of each utterance")
    parser.add_argument("--limit", type=int, help="utterances, in the order of their ids")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    corpus = PreparedCorpus(options.prepared)
    entries = sorted(corpus.entries("test"), key=lambda entry: entry.id)[: options.limit]
    hop, rate = corpus.contract.hop_length, corpus.contract.sample_rate
    longest = None if options.seconds is None else int(options.seconds * rate) // hop * hop
    wavs = [corpus.load(entry)[0][:longest] for entry in entries]
    scores = {"Gaussian, one variance": gaussian(wavs, constant_gaussian_log_prob)}
    scores["Gaussian, frame energies"] = gaussian(wavs, lambda wav: energy_gaussian_log_prob(wav, hop))
    for path in options.checkpoints:
        header = read_header(path)
        label = f"{header.vocoder}, {header.parameters / 1e6:.2f} M parameters, step {header.provenance.get('step')}"
        scores[label] = pooled(score_many(load(path), wavs))
    report(scores, len(wavs), rate, as_json=options.as_json)


def gaussian(wavs: list[Tensor], nats_per_sample: Callable[[Tensor], float]) -> LogLikelihood:
    """Score with the noise that ``score_many`` gives the same recordings."""
    parts = []
    for index, wav in enumerate(wavs):
        noisy = dequantize(wav, torch.Generator().manual_seed(index))
        parts.append(LogLikelihood(nats_per_sample(noisy) * len(wav), len(wav), True))
    return pooled(parts)


def report(scores: dict[str, LogLikelihood], utterances: int, rate: int, *, as_json: bool) -> None:
    samples = next(iter(scores.values())).samples
    facts = {
        "utterances": utterances,
        "seconds": round(samples / rate, 1),
        "dequantisation": "uniform noise of one 16-bit step",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if as_json:
        rows = {name: [one.nats_per_sample, one.bits_per_sample] for name, one in scores.items()}
        print(json.dumps({**facts, "nats_and_bits_per_sample": rows}, indent=2))
        return
    width = max(map(len, scores))
    print(f"{'model':<{width}}  nats/sample  bits/sample")
    for name, one in scores.items():
        print(f"{name:<{width}}  {one.nats_per_sample:>11.4f}  {one.bits_per_sample:>11.4f}")
    print(", ".join(f"{name} {value}" for name, value in facts.items()))


if __name__ == "__main__":
    main()
