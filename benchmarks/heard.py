"""How held-out speech sounds: PESQ, ESTOI, pitch, voicing, spectra and DistillMOS, as it is and with its mel matched.

    python benchmarks/heard.py prepared/festvox-ru runs/grouped --split test --match 0 8 16 --temperature 1 0.7

One row for each checkpoint, temperature and number of matching rounds, over the first seconds of every utterance of the
split, with --baselines next to the recordings, Griffin-Lim, the training-free pulses and WORLD. DistillMOS is taken
where its package is installed (pip install --no-deps distillmos xls-r-sqa==0.1.0).
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audioflow.audio import MelContract
from audioflow.audio.matching import MelMatcher
from audioflow.corpora import PreparedCorpus
from audioflow.evaluation.baselines import griffin_lim
from audioflow.evaluation.bench import mean_of_numbers
from audioflow.evaluation.hearing import hearing
from audioflow.evaluation.metrics import multi_resolution_stft
from audioflow.evaluation.pulses import pulses
from audioflow.evaluation.world import has_world, world
from audioflow.vocoders import load

Clip = tuple[Tensor, Tensor]
# What a mel has no part in, so that there is none to be matched.
OF_RECORDINGS = ("recording", "WORLD")
NAMES = ("pesq", "stoi", "f0_cents", "voicing_error", "m_stft", "distillmos")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--limit", type=int, help="utterances, in the order of their ids")
    parser.add_argument("--match", type=int, nargs="+", default=[0, 8])
    parser.add_argument("--temperature", type=float, nargs="+", default=[1.0])
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = PreparedCorpus(options.prepared)
    clips = list(_clips(corpus, options.split, options.seconds, options.limit))
    makers: list[tuple[str, Callable[[int, Tensor], Tensor]]] = []
    if options.baselines:
        makers.append(("recording", lambda index, _: clips[index][0]))
        makers.append(("Griffin-Lim", lambda index, mel: griffin_lim(mel, corpus.contract, seed=index)))
        makers.append(("pulses", lambda index, mel: pulses(mel, corpus.contract, rounds=0, seed=index)))
        if has_world():
            makers.append(("WORLD", lambda index, _: world(clips[index][0], corpus.contract.sample_rate)))
    for path in options.checkpoints:
        for temperature in options.temperature:
            makers.append((f"{path.name}, T {temperature:g}", _model(path, temperature, options.engine)))
    rows: dict[str, dict[str, float]] = {}
    for name, make in makers:
        begun = time.perf_counter()
        made = [make(index, mel) for index, (_, mel) in enumerate(clips)]
        spent = time.perf_counter() - begun
        for rounds in options.match if name not in OF_RECORDINGS else [0]:
            rows[f"{name}, K {rounds}"] = _judged(clips, made, rounds, corpus.contract, options.workers)
            print(_line(f"{name}, K {rounds}", rows[f"{name}, K {rounds}"]), f"({spent:.1f} s)", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"split": options.split, "clips": len(clips), "rows": rows}, indent=1))


def _clips(corpus: PreparedCorpus, split: Any, seconds: float, limit: int | None) -> Any:
    hop = corpus.contract.hop_length
    for entry in sorted(corpus.entries(split), key=lambda entry: entry.id)[:limit]:
        wav, mel = corpus.load(entry)
        frames = min(mel.shape[1], int(seconds * corpus.contract.sample_rate) // hop)
        yield wav[: frames * hop], mel[:, :frames]


def _model(path: Path, temperature: float, engine: str) -> Callable[[int, Tensor], Tensor]:
    vocoder = load(path)
    return lambda index, mel: vocoder.synthesize(mel[None], seed=index, temperature=temperature, engine=engine)[0]


def _judged(
    clips: Sequence[Clip], made: Sequence[Tensor], rounds: int, contract: MelContract, workers: int
) -> dict[str, float]:
    matcher = MelMatcher(contract, rounds)
    audio = [matcher(wav[None], mel[None])[0].clamp(-1, 1) for wav, (_, mel) in zip(made, clips, strict=True)]
    pairs = [(wav, one) for one, (wav, _) in zip(audio, clips, strict=True)]
    judge = partial(_distances, rate=contract.sample_rate)
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            each = list(pool.map(judge, pairs))
    else:
        each = [judge(pair) for pair in pairs]
    return {name: mean_of_numbers([one.get(name, math.nan) for one in each]) for name in NAMES}


def _distances(pair: Clip, rate: int) -> dict[str, float]:
    wav, made = pair
    return {**hearing(wav, made, rate), "m_stft": multi_resolution_stft(wav, made)}


def _line(name: str, row: dict[str, float]) -> str:
    return f"{name:<34}" + "  ".join(f"{key} {row[key]:.3f}" for key in NAMES)


if __name__ == "__main__":
    main()
