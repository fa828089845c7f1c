"""Times what every recipe's model costs, with fresh weights: loss and gradients, likelihood, every engine.

    python -m benchmarks.speed [--seconds 1 10] [--batch 1 16] [--engines all] [--json FILE] [--plot FILE] [RECIPE ...]

For each engine, batch and length: samples per second of all utterances together, how often real time that is, time
until the first piece of a stream, and how much of the arithmetic that torch's best convolution reaches in the same run.
What would take longer than a few seconds is measured on one mel frame. Speech and mels are real (the bundled sample);
the weights are not trained, which changes the sound but not the speed.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from audioflow.audio import read_audio
from audioflow.corpora import get_corpus
from audioflow.evaluation.arithmetic import multiply_accumulates
from audioflow.evaluation.speed import Timing, measure
from audioflow.training import Recipe, load_recipe
from audioflow.vocoders import Vocoder, build
from benchmarks.timing import machine

ROOT = Path(__file__).parents[1]
BUDGET = 5.0
"""Seconds after which a figure is not measured again."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        recipe: name.
        parameters: of the model.
        job: what is timed.
        batch: utterances.
        seconds: of each utterance.
        samples_per_second: of all utterances together.
        times_real_time: likewise.
        multiply_accumulates: of one sample, in synthesis.
        share_of_ceiling: of the arithmetic that the best convolution reaches, in the engine's precision.
        first_piece_ms: until a stream gives its first piece; ``None`` where all frames must be known.
    """

    recipe: str
    parameters: int
    job: str
    batch: int
    seconds: float
    samples_per_second: float
    times_real_time: float
    multiply_accumulates: float | None = None
    share_of_ceiling: float | None = None
    first_piece_ms: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", type=Path, metavar="RECIPE", help="by default those of the sample")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0], help="lengths of the speech")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="numbers of utterances")
    parser.add_argument("--engines", choices=("all", "auto"), default="all", help="every engine, or the fastest")
    parser.add_argument("--threads", type=int, help="of torch; all cores by default")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--plot", type=Path, help="draw speed against length and batch there")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    ceilings = {dtype: ceiling(dtype) for dtype in (torch.float32, torch.bfloat16)}
    print(machine())
    for dtype, found in ceilings.items():
        print(f"- best convolution, {dtype}: {found / 1e9:.0f} G multiply-accumulates per second")
    print(f"\n{HEADER}", flush=True)
    rows = []
    for path in options.recipes or sorted((ROOT / "recipes" / "sample").glob("*.yaml")):
        for row in bench(load_recipe(path), options.seconds, options.batch, options.engines, ceilings):
            rows.append(row)
            print(line(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    if options.plot:
        draw(rows, options.plot)


def bench(
    recipe: Recipe, lengths: list[float], batches: list[int], engines: str, ceilings: dict[torch.dtype, float]
) -> Iterator[Row]:
    """Time the model of a recipe."""
    vocoder = build(recipe.model.name, recipe.mel, recipe.model.fields)
    wav, mel = speech(vocoder, lengths[0])
    vocoder.initialize(wav, mel)
    parameters = sum(parameter.numel() for parameter in vocoder.parameters())

    def row(job: str, timing: Timing, batch: int, seconds: float, **more: float | None) -> Row:
        speed = timing.samples_per_second
        return Row(recipe.name, parameters, job, batch, seconds, speed, timing.times_real_time, **more)

    yield row("loss and gradients", time_of(lambda: backward(vocoder, wav, mel), vocoder, mel), 1, lengths[0])
    vocoder.fold_weight_norm().eval()
    with torch.inference_mode():
        yield row("log_prob", time_of(lambda: vocoder.log_prob(wav, mel), vocoder, mel), 1, lengths[0])
        for engine in vocoder.usable_engines if engines == "all" else vocoder.usable_engines[:1]:
            arithmetic = multiply_accumulates(vocoder, engine)
            best = ceilings[torch.bfloat16 if "bf16" in engine else torch.float32]
            for seconds in lengths:
                for batch in batches:
                    told = speech(vocoder, seconds)[1].expand(batch, -1, -1)
                    timing = time_of_engine(vocoder, told, engine)
                    share = timing.samples_per_second * arithmetic / best
                    first = first_piece(vocoder, told, engine) if batch == 1 else None
                    yield row(
                        engine,
                        timing,
                        batch,
                        seconds,
                        multiply_accumulates=arithmetic,
                        share_of_ceiling=share,
                        first_piece_ms=first,
                    )


def time_of(function: Callable[[], object], vocoder: Vocoder, mel: Tensor) -> Timing:
    """Time a function that deals with all samples that ``mel [B, M, F]`` stands for."""
    samples = mel.shape[0] * mel.shape[-1] * vocoder.contract.hop_length
    return measure(function, samples, vocoder.contract.sample_rate, budget_seconds=BUDGET)[0]


def time_of_engine(vocoder: Vocoder, mel: Tensor, engine: str) -> Timing:
    """Time an engine on all frames, or on the first one alone where all would take longer than the budget."""
    first = mel[..., :1]
    vocoder.synthesize(first, engine=engine)  # what is compiled, is compiled now
    one = time_of(lambda: vocoder.synthesize(first, engine=engine), vocoder, first)
    if one.seconds * mel.shape[-1] > 10 * BUDGET:
        return one
    return time_of(lambda: vocoder.synthesize(mel, engine=engine), vocoder, mel)


def first_piece(vocoder: Vocoder, mel: Tensor, engine: str) -> float | None:
    """Milliseconds until a stream gives its first piece."""
    if vocoder.lookahead_frames is None or engine in ("cached", "naive"):
        return None
    next(vocoder.stream(mel, engine=engine))
    start = time.perf_counter()
    next(vocoder.stream(mel, engine=engine))
    return 1e3 * (time.perf_counter() - start)


def ceiling(dtype: torch.dtype) -> float:
    """Multiply-accumulates per second of a convolution that keeps the arithmetic units busy."""
    x, weight = torch.randn(1, 256, 4096).to(dtype), torch.randn(512, 256, 3).to(dtype)
    taken = []
    with torch.inference_mode():
        for _ in range(5):
            start = time.perf_counter()
            functional.conv1d(x, weight, padding=4, dilation=4)
            taken.append(time.perf_counter() - start)
    return 512 * 256 * 3 * 4096 / min(taken)


def speech(vocoder: Vocoder, seconds: float) -> tuple[Tensor, Tensor]:
    """Real speech from the middle of a recording, again and again where it is short: wav [1, T], mel [1, M, F]."""
    contract = vocoder.contract
    wav, _ = read_audio(next(iter(get_corpus("sample").utterances())).path, contract.sample_rate)
    frames = max(1, round(seconds * contract.sample_rate / contract.hop_length))
    samples = frames * contract.hop_length
    wav = wav.repeat(-(-samples // wav.numel()))
    start = (wav.numel() - samples) // 2
    cut = wav[None, start : start + samples]
    return cut, vocoder.mel(cut)


def backward(vocoder: Vocoder, wav: Tensor, mel: Tensor) -> None:
    """Loss and gradients, without the optimizer."""
    vocoder.zero_grad()
    (-vocoder.log_prob(wav, mel).sum() / wav.numel()).backward()


HEADER = (
    "| recipe | M parameters | job | batch | s | samples/s | x real time | M MAC/sample | of best | first piece, ms |\n"
    "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|"
)


def line(row: Row) -> str:
    """One line of the table."""
    cells = [
        row.recipe,
        f"{row.parameters / 1e6:.2f}",
        row.job,
        f"{row.batch}",
        f"{row.seconds:g}",
        f"{row.samples_per_second:,.0f}",
        f"{row.times_real_time:.3g}",
        "" if row.multiply_accumulates is None else f"{row.multiply_accumulates / 1e6:.3g}",
        "" if row.share_of_ceiling is None else f"{100 * row.share_of_ceiling:.0f} %",
        "" if row.first_piece_ms is None else f"{row.first_piece_ms:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def draw(rows: list[Row], path: Path) -> None:
    """Speed of each model's fastest engine against length, a panel for each batch."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    made = [row for row in rows if row.multiply_accumulates is not None]
    fastest: dict[str, str] = {}
    for row in made:
        fastest.setdefault(row.recipe, row.job)
    batches = sorted({row.batch for row in made})
    figure = Figure(figsize=(5 * len(batches), 4.5), layout="constrained")
    for axes, batch in zip(figure.subplots(1, len(batches), squeeze=False, sharey=True)[0], batches, strict=True):
        for recipe, engine in fastest.items():
            points = [row for row in made if (row.recipe, row.job, row.batch) == (recipe, engine, batch)]
            axes.plot(
                [p.seconds for p in points], [p.times_real_time for p in points], "o-", label=f"{recipe}, {engine}"
            )
        axes.axhline(1, color="0.6", linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel="seconds of an utterance", title=f"batch {batch}")
    figure.axes[0].set_ylabel("times real time, all utterances together")
    figure.axes[-1].legend(fontsize="x-small")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
