"""How soon a stream begins, how much it needs to know, and how memory grows with the length of an utterance.

    python -m benchmarks.streaming [--memory 10 600] [CHECKPOINT_OR_RECIPE ...]

For each model: frames that have to be known after a piece, seconds until the first piece of a stream (warm), speed of
the stream, and for each length in seconds the peak of the process's memory while it synthesises that much, each in a
process of its own. Recipes have fresh weights, which changes the sound but not the speed.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from audioflow.training import load_recipe
from audioflow.vocoders import Vocoder, build, load
from benchmarks.timing import machine

ROOT = Path(__file__).parents[1]
STREAMED = 5.0
"""Seconds of audio in a stream."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="by default the recipes for the sample")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", nargs="*", type=float, default=[], metavar="SECONDS")
    parser.add_argument("--peak-of", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = options.models or sorted((ROOT / "recipes" / "sample").glob("*.yaml"))
    if options.peak_of:
        vocoder = model(models[0])
        vocoder.synthesize(torch.randn(1, vocoder.contract.n_mels, frames_in(vocoder, options.peak_of)) - 4)
        print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
        return
    print(machine(), end="\n\n")
    peaks = "".join(f" MB for {seconds:g} s |" for seconds in options.memory)
    print(f"| model | engine | lookahead, ms | piece, ms | first piece, ms | x real time |{peaks}")
    print("|---|---|--:|--:|--:|--:|" + "--:|" * len(options.memory))
    for path in models:
        print(row(path, options.memory), flush=True)


def model(path: Path) -> Vocoder:
    """A checkpoint's model, or a recipe's with fresh weights; ready for synthesis."""
    if path.suffix == ".yaml":
        recipe = load_recipe(path)
        vocoder = build(recipe.model.name, recipe.mel, recipe.model.fields)
    else:
        vocoder = load(path)
    return vocoder.fold_weight_norm().eval()


def frames_in(vocoder: Vocoder, seconds: float) -> int:
    """Mel frames of so many seconds."""
    return round(seconds * vocoder.contract.sample_rate / vocoder.contract.hop_length)


def row(path: Path, lengths: list[float]) -> str:
    """One line of the table."""
    vocoder = model(path)
    ms = 1e3 * vocoder.contract.hop_length / vocoder.contract.sample_rate
    mel = torch.randn(1, vocoder.contract.n_mels, frames_in(vocoder, STREAMED)) - 4
    name = path.stem if path.suffix == ".yaml" else path.name
    if vocoder.lookahead_frames is None:
        return f"| {name} | {vocoder.usable_engines[0]} | all | | | |" + " |" * len(lengths)
    ahead = vocoder.lookahead_frames
    list(vocoder.stream(mel[..., : 4 * (ahead + vocoder.piece_frames)]))
    start = time.perf_counter()
    stream = vocoder.stream(mel)
    first = next(stream)
    until_first = time.perf_counter() - start
    samples = first.shape[1] + sum(piece.shape[1] for piece in stream)
    speed = samples / (time.perf_counter() - start) / vocoder.contract.sample_rate
    cells = [
        name,
        vocoder.usable_engines[0],
        f"{ahead * ms:.0f}",
        f"{first.shape[1] / vocoder.contract.hop_length * ms:.0f}",
        f"{1e3 * until_first:.0f}",
        f"{speed:.2f}",
        *(f"{peak(path, seconds):.0f}" for seconds in lengths),
    ]
    return f"| {' | '.join(cells)} |"


def peak(path: Path, seconds: float) -> float:
    """Memory in MB that a process needs at most to synthesise so much."""
    command = [sys.executable, "-m", "benchmarks.streaming", "--peak-of", str(seconds), str(path.resolve())]
    command += ["--threads", str(torch.get_num_threads())]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return float(json.loads(printed)) * 1024 / 1e6


if __name__ == "__main__":
    main()
