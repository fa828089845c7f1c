"""Times the parallel vocoders on a GPU: float32, bfloat16 layer by layer, bfloat16 fused, and recorded graphs.

    python -m benchmarks.gpu_parallel [--json FILE] [--models glow student] [--peer] [--tune] [--profile]

For each way, batch and length: samples per second of all utterances together, how often real time that is, how many
operations per second, which share of the best product of the same run that is, the memory that it takes, and how far
the audio is from that of float32. ``--peer`` adds NVIDIA's WaveGlow of the same size, in float32 and in half precision.
``--tune`` times the kernels of the fused stack alone, at the size of WaveGlow-256, for several ways to cut them;
``--profile`` says which kernels a synthesis spends its time in. Weights are not trained, which changes the sound but
not the speed. ``TRITON_INTERPRET=1 ... --device cpu --tiny`` tries the script on a CPU.
"""

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from audioflow.audio import PRESETS
from audioflow.evaluation.arithmetic import multiply_accumulates
from audioflow.nets.gated_stack import GatedStack
from audioflow.vocoders import Vocoder, build
from benchmarks.peers import WAVEGLOW
from benchmarks.timing import machine

RUNS, BUDGET = 7, 1.5
"""Runs that are timed, and seconds after which no new one is begun once there are three."""

MODELS: dict[str, dict[str, Any]] = {
    "glow": {"channels": 256, "layers": 8, "flows": 12, "squeeze": 8},
    "student": {"flows": [10, 10, 10, 10], "residual_channels": 64, "skip_channels": 64},
}
SMALLER: dict[str, dict[str, Any]] = {
    "glow": {"channels": 8, "layers": 2, "flows": 2, "squeeze": 8},
    "student": {"flows": [2], "residual_channels": 8, "skip_channels": 8, "front_kernel_size": 4},
}
WAYS = {
    "float32": ("parallel", False),
    "float32, graph": ("parallel-graph", False),
    "bfloat16, plain": ("parallel-bf16", False),
    "bfloat16, fused": ("parallel-bf16", True),
    "bfloat16, fused, graph": ("parallel-bf16-graph", True),
}
"""Engine, and whether the stack is fused."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        model: its name.
        way: how it makes audio.
        batch: utterances.
        seconds: of each utterance.
        milliseconds: from noise and mel on the GPU to audio on the GPU.
        samples_per_second: of all utterances together.
        times_real_time: likewise.
        tera: operations per second, in 10^12; a multiply-accumulate is two.
        share: of the best bfloat16 product.
        whole_ms: of ``synthesize``, which draws the noise on the CPU and checks the mel too.
        peak_gib: memory.
        difference: from the audio of float32, relative to its norm.
    """

    model: str
    way: str
    batch: int
    seconds: float
    milliseconds: float
    samples_per_second: float
    times_real_time: float
    tera: float
    share: float
    whole_ms: float
    peak_gib: float
    difference: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=("glow", "student"), default=["glow", "student"])
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 10.0], help="lengths of the speech")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="numbers of utterances")
    parser.add_argument(
        "--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY", help="by default all"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="models and signals for trying the script")
    parser.add_argument("--tune", action="store_true", help="time the kernels alone, cut in several ways, and stop")
    parser.add_argument("--profile", action="store_true", help="where the time of the last length goes, and stop")
    parser.add_argument("--peer", action="store_true", help="the package waveglow beside the model glow")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    device = torch.device(options.device)
    lengths, batches = ([0.05], [2]) if options.tiny else (options.seconds, options.batch)
    best = ceiling(device, 256 if options.tiny else 8192)
    print(f"{machine(device)}\n- best bfloat16 product: {best / 1e12:.0f} TFLOP/s\n", flush=True)
    found: list[dict[str, object]] = []
    if options.tune:
        for figures in tune(device, tiny=options.tiny):
            found.append(figures)
            print(" ".join(f"{name}={value}" for name, value in figures.items()), flush=True)
    else:
        print(HEADER, flush=True)
        for model in options.models:
            vocoder = made(model, device, tiny=options.tiny)
            if options.profile:
                profile(vocoder, batches[-1], lengths[-1], "bfloat16, fused")
                continue
            rows = bench(model, vocoder, options.ways, batches, lengths, best)
            if model == "glow" and options.peer:
                rows = chain(rows, peer(vocoder, batches, lengths, best))
            for row in rows:
                found.append(asdict(row))
                print(line(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"best_tera": best / 1e12, "rows": found}, indent=2) + "\n")


def made(model: str, device: torch.device, *, tiny: bool) -> Vocoder:
    """A model with weights of which none are zero, folded."""
    torch.manual_seed(0)
    vocoder = build(model, PRESETS["nvidia-22k"], (SMALLER if tiny else MODELS)[model])
    with torch.no_grad():
        for name, parameter in vocoder.named_parameters():
            if name.endswith("end.weight"):
                parameter.normal_(std=0.02)
    return vocoder.fold_weight_norm().to(device).eval()


def bench(
    model: str, vocoder: Vocoder, ways: Sequence[str], batches: Sequence[int], lengths: Sequence[float], best: float
) -> Iterator[Row]:
    """Time a model in every way."""
    contract, device = vocoder.contract, vocoder.normalizer.mean.device
    with fused(wanted=False):
        operations = 2 * multiply_accumulates(vocoder, "parallel")
    for seconds in lengths:
        for batch in batches:
            mel = told(vocoder, batch, seconds)
            samples = batch * mel.shape[-1] * contract.hop_length
            exact: Tensor | None = None
            for way in ways:
                engine, fuses = WAYS[way]
                if engine not in vocoder.usable_engines:
                    continue
                forget_peak(device)
                with fused(wanted=fuses):
                    job = alone(vocoder, mel, engine)
                    audio = job().double()
                    taken = seconds_of(job, device)
                    whole = seconds_of(partial(vocoder.synthesize, mel, engine=engine), device, runs=3)
                exact = audio if exact is None else exact
                yield Row(
                    model,
                    way,
                    batch,
                    seconds,
                    1e3 * taken,
                    samples / taken,
                    samples / taken / contract.sample_rate,
                    operations * samples / taken / 1e12,
                    operations * samples / taken / best,
                    1e3 * whole,
                    peak(device),
                    float((audio - exact).norm() / exact.norm()),
                )


def peer(vocoder: Vocoder, batches: Sequence[int], lengths: Sequence[float], best: float) -> Iterator[Row]:
    """Time the package's ``infer``, which draws its noise on the GPU, on the mels of a model of the same size."""
    from waveglow.glow import WaveGlow  # noqa: PLC0415 - a development dependency

    contract, device = vocoder.contract, vocoder.normalizer.mean.device
    with fused(wanted=False):
        operations = 2 * multiply_accumulates(vocoder, "parallel")
    for dtype in (torch.float32, torch.float16):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Its inverses stay in the precision of the first call.
            theirs = WaveGlow.remove_weightnorm(WaveGlow(**WAVEGLOW)).to(device, dtype).eval()
        for seconds in lengths:
            for batch in batches:
                mel = told(vocoder, batch, seconds).to(dtype)
                samples = batch * mel.shape[-1] * contract.hop_length
                forget_peak(device)
                with torch.no_grad():
                    taken = seconds_of(partial(theirs.infer, mel), device)
                rate = samples / taken
                tera = operations * rate / 1e12
                yield Row(
                    "waveglow 22.12.28",
                    str(dtype).removeprefix("torch."),
                    batch,
                    seconds,
                    1e3 * taken,
                    rate,
                    rate / contract.sample_rate,
                    tera,
                    1e12 * tera / best,
                    1e3 * taken,
                    peak(device),
                    math.nan,
                )


def alone(vocoder: Vocoder, mel: Tensor, engine: str) -> Callable[[], Tensor]:
    """What makes audio, in one piece, of a mel and noise that lie on the device already."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(mel), 1, vocoder._noise_steps(mel.shape[-1]), generator=generator).to(mel.device)

    @torch.no_grad()
    def job() -> Tensor:
        given = vocoder._given(mel, None, None)
        with vocoder._precision(engine, mel):
            return vocoder._generate(noise, given, 1.0, engine, None)

    return job


def told(vocoder: Vocoder, batch: int, seconds: float) -> Tensor:
    """A mel ``[B, M, F]`` of quiet noise."""
    contract = vocoder.contract
    samples = max(1, round(seconds * contract.sample_rate / contract.hop_length)) * contract.hop_length
    generator = torch.Generator().manual_seed(0)
    wav = 0.05 * torch.randn(batch, samples, generator=generator)
    return vocoder.mel(wav.to(vocoder.normalizer.mean.device))


def fused(*, wanted: bool) -> AbstractContextManager[object]:
    """Context in which a gated stack runs layer by layer, unless it is wanted fused."""
    return nullcontext() if wanted else mock.patch.object(GatedStack, "fuses", lambda *_: False)


def ceiling(device: torch.device, size: int) -> float:
    """Operations per second of a product of large matrices in bfloat16."""
    a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    return 2 * size**3 / seconds_of(lambda: a @ b, device)


def seconds_of(job: Callable[[], object], device: torch.device, runs: int = RUNS) -> float:
    """Median of several runs after two to warm up; on a GPU between two events."""
    for _ in range(2):
        job()
    taken: list[float] = []
    while len(taken) < runs and (len(taken) < min(3, runs) or sum(taken) < BUDGET):
        taken.append(_once(job, device))
    return median(taken)


def _once(job: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        begun = time.perf_counter()
        job()
        return time.perf_counter() - begun
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    start.record()
    job()
    stop.record()
    torch.cuda.synchronize(device)
    return 1e-3 * float(start.elapsed_time(stop))


def forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0


def profile(vocoder: Vocoder, batch: int, seconds: float, way: str) -> None:
    """Print the kernels that a synthesis spends most time in."""
    engine, fuses = WAYS[way]
    with fused(wanted=fuses):
        job = alone(vocoder, told(vocoder, batch, seconds), engine)
        for _ in range(2):
            job()
        with torch.profiler.profile() as seen:
            job()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
    order = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    print(f"{way}, {batch} x {seconds:g} s\n{seen.key_averages().table(sort_by=order, row_limit=25)}", flush=True)


GATED = [(128, 128, 64, 8, 3), (128, 128, 64, 8, 4), (128, 64, 64, 4, 3), (256, 64, 64, 8, 3), (64, 128, 64, 4, 3)]
PRODUCTS = [(64, 128, 64, 4, 3), (64, 64, 64, 4, 3), (128, 128, 64, 8, 3), (128, 128, 64, 8, 4), (128, 64, 64, 4, 3)]
"""Steps, columns, inner block, warps and stages, see :class:`audioflow.compiled.cuda_stack.Blocks`."""


def tune(device: torch.device, *, tiny: bool) -> Iterator[dict[str, object]]:
    """Time each kernel of a layer, at eight times ten seconds of WaveGlow-256, for several ways to cut it."""
    for kernel, blocks, job, operations in kernels(device, tiny=tiny)[:: 5 if tiny else 1]:
        try:
            taken = seconds_of(job, device)
        except Exception as problem:  # too much shared memory, say; the others are still of interest
            yield {"kernel": kernel, "blocks": str(blocks), "failed": str(problem)[:200]}
            continue
        tera = round(operations / taken / 1e12, 1)
        yield {"kernel": kernel, "blocks": str(blocks), "us": round(1e6 * taken, 1), "tera": tera}


def kernels(device: torch.device, *, tiny: bool) -> list[tuple[str, tuple[int, ...], Callable[[], None], int]]:
    """Names, blocks, what runs them, and operations."""
    from audioflow.compiled import cuda_stack  # noqa: PLC0415 - needs Triton

    channels, conds, steps, batch = (64, 64, 40, 1) if tiny else (256, 640, 27562, 8)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    stack = GatedStack(channels, channels, conds, [2**layer for layer in range(8)], 3, sight="all").to(device)
    weights = stack.fused_weights(dtype)
    h = torch.randn(batch, steps, channels, device=device)
    features = torch.randn(batch, conds, steps, device=device)
    half, cond = h.to(dtype), features.transpose(1, 2).to(dtype).contiguous()
    gates = torch.empty(batch, steps, 8 * channels, dtype=dtype, device=device)
    layer, rows = weights.layers[3], 2 * batch * steps
    assert layer.residual is not None  # noqa: S101

    def gated(blocks: tuple[int, ...], *, quick: bool = True) -> Callable[[], None]:
        choice = replace(cuda_stack.HOPPER, gated=cuda_stack.Blocks(*blocks), quick_tanh=quick)
        return partial(cuda_stack._gated, weights, layer, half, cond, gates, choice)

    def residual(blocks: tuple[int, ...]) -> Callable[[], None]:
        return partial(cuda_stack._product, gates, layer.residual, (h, half), cuda_stack.Blocks(*blocks), h)

    def skip(blocks: tuple[int, ...]) -> Callable[[], None]:
        return partial(cuda_stack._product, gates, weights.skips[0], (h, None), cuda_stack.Blocks(*blocks))

    def turned() -> None:
        cuda_stack.rows_of(features, conds, dtype)

    of_gated = rows * (3 * channels + conds) * 2 * channels
    return [
        *(("gated", blocks, gated(blocks), of_gated) for blocks in GATED),
        ("gated, exact tanh", GATED[0], gated(GATED[0], quick=False), of_gated),
        *(("residual", blocks, residual(blocks), rows * channels * channels) for blocks in PRODUCTS),
        *(("skip", blocks, skip(blocks), rows * 8 * channels * channels) for blocks in PRODUCTS),
        ("conditioning turned", (64, 64), turned, 0),
    ]


HEADER = (
    "| model | way | batch | s | ms | samples/s | x real time | TFLOP/s | of best | in all, ms | GiB | difference |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def line(row: Row) -> str:
    """One line of the table."""
    cells = [
        row.model,
        row.way,
        f"{row.batch}",
        f"{row.seconds:g}",
        f"{row.milliseconds:.2f}",
        f"{row.samples_per_second:,.0f}",
        f"{row.times_real_time:,.0f}",
        f"{row.tera:.1f}",
        f"{100 * row.share:.0f} %",
        f"{row.whole_ms:.1f}",
        f"{row.peak_gib:.2f}",
        f"{row.difference:.1e}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
