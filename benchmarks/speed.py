"""Times what models cost: loss and gradients, likelihood, and every engine with several batches and lengths.

    python -m benchmarks.speed [--seconds 1 10] [--batch 1 16] [--engines all] [--device cuda] [--quick]
                               [--json FILE] [--plot FILE] [RECIPE_OR_CHECKPOINT ...]

For each engine, batch and length: samples per second of all utterances together, how often real time that is, time
until the first samples, peak memory without the weights, and which part of the best arithmetic of the same run it
reaches. For each engine: how far its audio is from that of the reference engine (naive, or parallel in float32) over a
short stretch.
What would take longer than --limit seconds (a naive engine: a tenth of it) is measured on as many mel frames as do not.
Speech and mels are real (the bundled sample). A recipe's weights are fresh, which changes the sound but not the speed;
nothing is left at zero.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from audioflow.audio import read_audio
from audioflow.corpora import get_corpus
from audioflow.devices import pick_device
from audioflow.evaluation.agreement import Agreement, engine_agreement
from audioflow.evaluation.arithmetic import multiply_accumulates
from audioflow.evaluation.ceiling import Ceiling, measure_ceiling
from audioflow.evaluation.charts import Speed, speed_figure
from audioflow.evaluation.engines import is_slow, reference_engine, streams
from audioflow.evaluation.likelihood import device_of
from audioflow.evaluation.memory import peak_memory
from audioflow.evaluation.results import three_digits
from audioflow.evaluation.speed import Timing, measure, seconds_to_first
from audioflow.training import load_recipe
from audioflow.vocoders import Vocoder, build, load
from benchmarks.timing import machine, thread_alone

ROOT = Path(__file__).parents[1]
BUDGET = 5.0
"""Seconds after which a figure is not measured again."""
QUICK = {"seconds": [0.2], "batch": [1, 2], "limit": 1.0, "stretch": 0.02}
"""Settings of a smoke run."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        model: name of the recipe, or of the checkpoint.
        parameters: of the model.
        job: what is timed: an engine, or something of training.
        batch: utterances.
        seconds: of each utterance.
        measured_seconds: of each utterance, that were made.
        samples_per_second: of all utterances together.
        times_real_time: likewise.
        multiply_accumulates: of one sample, in synthesis.
        share_of_ceiling: of the best arithmetic, in the engine's precision or in float32.
        first_sample_ms: until the first samples are there; without a stream, until all are.
        peak_megabytes: memory over what was taken before; ``None`` where not everything was made.
        relative_difference: from the audio of the reference engine, over a stretch.
        nats_difference: likelihood of that audio less the reference's, in nats per sample.
    """

    model: str
    parameters: int
    job: str
    batch: int
    seconds: float
    measured_seconds: float
    samples_per_second: float
    times_real_time: float
    multiply_accumulates: float | None = None
    share_of_ceiling: float | None = None
    first_sample_ms: float | None = None
    peak_megabytes: float | None = None
    relative_difference: float | None = None
    nats_difference: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="RECIPE_OR_CHECKPOINT", help="by default the sample's")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 10.0], help="lengths of the speech")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], help="numbers of utterances")
    parser.add_argument("--engines", choices=("all", "auto"), default="all", help="every engine, or the fastest")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="of torch; all cores by default")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds that one synthesis may take")
    parser.add_argument("--stretch", type=float, default=0.05, help="seconds of audio that engines have to agree on")
    parser.add_argument("--quick", action="store_true", help="a smoke run: short, small, not for figures")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--plot", type=Path, help="draw speed against length and batch there")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    ceiling = measure_ceiling(device, ["parallel", "parallel-bf16", *(["cuda-fp16"] if device.type == "cuda" else [])])
    print(machine(device))
    print("\n".join(f"- {name}: {fact}" for name, fact in ceiling.facts().items()))
    print(f"\n{HEADER}", flush=True)
    rows = []
    for path in options.models or sorted((ROOT / "recipes" / "sample").glob("*.yaml")):
        name, vocoder = fresh_or_trained(path, device)
        for row in bench(name, vocoder, ceiling, options):
            rows.append(row)
            print(line(row), flush=True)
    if options.json:
        facts = {"machine": machine(device).splitlines(), "ceiling": ceiling.facts()}
        options.json.write_text(json.dumps({**facts, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    if options.plot:
        speeds = [
            Speed(row.model, row.job, row.batch, row.seconds, row.times_real_time)
            for row in rows
            if row.multiply_accumulates is not None
        ]
        speed_figure(speeds).savefig(options.plot, dpi=110)


def fresh_or_trained(path: Path, device: torch.device) -> tuple[str, Vocoder]:
    """A checkpoint's model, or a recipe's with fresh weights, and its name."""
    if path.suffix != ".yaml":
        return path.name, load(path, device)
    recipe = load_recipe(path)
    torch.manual_seed(0)
    vocoder = build(recipe.model.name, recipe.mel, recipe.model.fields)
    with torch.no_grad():
        for parameter in vocoder.parameters():
            # Layers that start at zero would make all engines alike.
            parameter.add_(0.05 * torch.randn_like(parameter))
    vocoder.initialize(*speech(vocoder, 1.0))
    return recipe.name, vocoder.to(device)


def bench(name: str, vocoder: Vocoder, ceiling: Ceiling, options: argparse.Namespace) -> Iterator[Row]:
    """Time a model."""
    seconds = options.seconds[0]
    # What scores step by step is asked for one frame only.
    wav, mel = speech(vocoder, 0.0 if vocoder.scores_step_by_step else seconds)
    parameters = sum(parameter.numel() for parameter in vocoder.parameters())

    def row(job: str, timing: Timing, batch: int, seconds: float) -> Row:
        measured = timing.samples / timing.sample_rate / batch
        speed = timing.samples_per_second
        return Row(name, parameters, job, batch, seconds, measured, speed, timing.times_real_time)

    if vocoder.name != "student":  # which is trained by other losses
        yield row("loss and gradients", time_of(lambda: backward(vocoder, wav, mel), vocoder, mel), 1, seconds)
        vocoder.zero_grad()
    vocoder.fold_weight_norm().eval()
    with torch.inference_mode():
        yield row("log_prob", time_of(lambda: vocoder.log_prob(wav, mel), vocoder, mel), 1, seconds)
        engines = vocoder.usable_engines if options.engines == "all" else vocoder.usable_engines[:1]
        agreements = agree(vocoder, engines, options.stretch)
        for engine in engines:
            arithmetic = multiply_accumulates(vocoder, engine)
            for seconds in options.seconds:
                for batch in options.batch:
                    told = speech(vocoder, seconds)[1].expand(batch, -1, -1)
                    timing, peak = time_of_engine(vocoder, told, engine, options.limit)
                    yield replace(
                        row(engine, timing, batch, seconds),
                        multiply_accumulates=arithmetic,
                        share_of_ceiling=ceiling.share(engine, timing.samples_per_second, arithmetic),
                        first_sample_ms=1e3 * until_first(vocoder, told, engine, timing),
                        peak_megabytes=None if peak is None else peak / 1e6,
                        **asdict(agreements[engine]),
                    )


def agree(vocoder: Vocoder, engines: tuple[str, ...], seconds: float) -> dict[str, Agreement]:
    """How far each engine is from the reference, over a short stretch."""
    mel = speech(vocoder, seconds)[1]
    with thread_alone():
        return engine_agreement(vocoder, mel, reference_engine(vocoder), engines)


def time_of(function: Callable[[], object], vocoder: Vocoder, mel: Tensor, runs: int = 3) -> Timing:
    """Time a function that deals with all samples that ``mel [B, M, F]`` stands for."""
    samples = mel.shape[0] * mel.shape[-1] * vocoder.contract.hop_length
    return measure(function, samples, vocoder.contract.sample_rate, runs=runs, budget_seconds=BUDGET)[0]


def time_of_engine(vocoder: Vocoder, mel: Tensor, engine: str, limit: float) -> tuple[Timing, int | None]:
    """Time an engine on as many of the frames as it can make within a limit; peak bytes, where that is all of them."""
    whole = mel.shape[-1]
    limit = limit / 10 if is_slow(vocoder, engine) else limit

    def time_frames(frames: int, runs: int) -> Timing:
        part = mel[..., :frames]
        return time_of(lambda: vocoder.synthesize(part, engine=engine), vocoder, part, runs)

    time_frames(1, runs=1)  # what is compiled, is compiled now
    frames, timing, warm = 1, time_frames(1, runs=1), True
    while frames < whole:
        # A few frames cost more than their part, so the step to all of them is not made at once.
        following = min(whole, int(frames * limit / timing.seconds), 8 * frames)
        if following == whole:
            peak, timing = peak_memory(lambda: time_frames(whole, runs=3), mel.device)
            return timing, peak
        if following >= 2 * frames:
            frames, timing, warm = following, time_frames(following, runs=1), False
        elif warm:
            break
        else:  # the first time of a new shape may have been slow for other reasons
            timing, warm = time_frames(frames, runs=3), True
    return timing, None


def until_first(vocoder: Vocoder, mel: Tensor, engine: str, timing: Timing) -> float:
    """Seconds until the first samples are there: of a stream, or of all frames at the speed that was measured."""
    if streams(vocoder, engine):
        return seconds_to_first(lambda: vocoder.stream(mel, engine=engine))
    return mel.shape[0] * mel.shape[-1] * vocoder.contract.hop_length / timing.samples_per_second


def speech(vocoder: Vocoder, seconds: float) -> tuple[Tensor, Tensor]:
    """Real speech from the middle of a recording, again and again where it is short: wav [1, T], mel [1, M, F]."""
    contract = vocoder.contract
    wav, _ = read_audio(next(iter(get_corpus("sample").utterances())).path, contract.sample_rate)
    frames = max(1, round(seconds * contract.sample_rate / contract.hop_length))
    samples = frames * contract.hop_length
    wav = wav.repeat(-(-samples // wav.numel()))
    start = (wav.numel() - samples) // 2
    cut = wav[None, start : start + samples].to(device_of(vocoder))
    return cut, vocoder.mel(cut)


def backward(vocoder: Vocoder, wav: Tensor, mel: Tensor) -> None:
    """Loss and gradients, without the optimizer."""
    vocoder.zero_grad()
    (-vocoder.log_prob(wav, mel).sum() / wav.numel()).backward()


HEADER = (
    "| model | M parameters | job | batch | s | samples/s | x real time | first sample, ms | peak MB | M MAC/sample | "
    "of ceiling | rel. diff. | nats diff. |\n|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def line(row: Row) -> str:
    """One line of the table."""

    def cell(value: float | None, write: Callable[[float], str]) -> str:
        return "" if value is None else write(value)

    part = "" if row.measured_seconds > 0.99 * row.seconds else f" ({row.measured_seconds:.2g} made)"
    cells = [
        row.model,
        f"{row.parameters / 1e6:.2f}",
        row.job,
        f"{row.batch}",
        f"{row.seconds:g}{part}",
        f"{row.samples_per_second:,.0f}",
        three_digits(row.times_real_time),
        cell(row.first_sample_ms, three_digits),
        cell(row.peak_megabytes, three_digits),
        cell(row.multiply_accumulates and row.multiply_accumulates / 1e6, three_digits),
        cell(row.share_of_ceiling, "{:.1%}".format),
        cell(row.relative_difference, "{:.2g}".format),
        cell(row.nats_difference, "{:+.2g}".format),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
