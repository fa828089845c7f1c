"""Times what every recipe's model costs, with fresh weights: loss and gradients, likelihood, every engine.

    python benchmarks/speed.py [--seconds 0.5] [--json] [RECIPE ...]

Speech and mels are real (the bundled sample); the weights are not trained, which changes the sound but not the speed.
"""

import argparse
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from audioflow.audio import read_audio
from audioflow.corpora import get_corpus
from audioflow.evaluation.speed import Timing, measure
from audioflow.training import Recipe, load_recipe
from audioflow.vocoders import Vocoder, build

ROOT = Path(__file__).parents[1]
BUDGET = 5.0
"""Seconds after which a figure is not measured again."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    recipe: str
    parameters: int
    job: str
    samples_per_second: float
    times_real_time: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", type=Path, metavar="RECIPE", help="by default those of the sample")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of the speech in seconds")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print the figures as JSON")
    options = parser.parse_args()
    recipes = options.recipes or sorted((ROOT / "recipes" / "sample").glob("*.yaml"))
    rows = [row for path in recipes for row in bench(load_recipe(path), options.seconds)]
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.as_json else table(rows))


def bench(recipe: Recipe, seconds: float) -> Iterator[Row]:
    """Time the model of a recipe."""
    vocoder = build(recipe.model.name, recipe.mel, recipe.model.fields)
    wav, mel = speech(vocoder, seconds)
    vocoder.initialize(wav, mel)
    parameters = sum(parameter.numel() for parameter in vocoder.parameters())

    def row(job: str, timing: Timing) -> Row:
        return Row(recipe.name, parameters, job, timing.samples_per_second, timing.times_real_time)

    yield row("loss and gradients", time_of(lambda: backward(vocoder, wav, mel), vocoder, mel))
    vocoder.fold_weight_norm().eval()
    with torch.inference_mode():
        yield row("log_prob", time_of(lambda: vocoder.log_prob(wav, mel), vocoder, mel))
        for engine in vocoder.usable_engines:
            yield row(f"synthesize, {engine}", time_of_engine(vocoder, mel, engine))


def time_of(function: Callable[[], object], vocoder: Vocoder, mel: Tensor) -> Timing:
    """Time a function that deals with all samples that ``mel [1, M, F]`` stands for."""
    samples = mel.shape[-1] * vocoder.contract.hop_length
    return measure(function, samples, vocoder.contract.sample_rate, budget_seconds=BUDGET)[0]


def time_of_engine(vocoder: Vocoder, mel: Tensor, engine: str) -> Timing:
    """Time an engine on all frames, or on the first one alone where all would take longer than the budget."""
    first = mel[..., :1]
    one = time_of(lambda: vocoder.synthesize(first, engine=engine), vocoder, first)
    if one.seconds * mel.shape[-1] > BUDGET:
        return one
    return time_of(lambda: vocoder.synthesize(mel, engine=engine), vocoder, mel)


def speech(vocoder: Vocoder, seconds: float) -> tuple[Tensor, Tensor]:
    """Real speech from the middle of a recording: wav [1, T], mel [1, M, F], whole frames."""
    contract = vocoder.contract
    wav, _ = read_audio(next(iter(get_corpus("sample").utterances())).path, contract.sample_rate)
    frames = max(1, round(seconds * contract.sample_rate / contract.hop_length))
    start = max(0, (wav.numel() - frames * contract.hop_length) // 2)
    cut = wav[None, start : start + frames * contract.hop_length]
    return cut, vocoder.mel(cut)


def backward(vocoder: Vocoder, wav: Tensor, mel: Tensor) -> None:
    """Loss and gradients, without the optimizer."""
    vocoder.zero_grad()
    (-vocoder.log_prob(wav, mel).sum() / wav.numel()).backward()


def table(rows: list[Row]) -> str:
    lines = [
        f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads",
        f"{'recipe':<18}{'parameters':>12}  {'job':<22}{'samples/s':>12}{'x real time':>13}",
    ]
    lines += [
        f"{one.recipe:<18}{one.parameters:>12,}  {one.job:<22}{one.samples_per_second:>12,.0f}"
        f"{one.times_real_time:>13.3f}"
        for one in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
