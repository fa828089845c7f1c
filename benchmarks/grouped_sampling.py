"""How fast WaveNets draw that make several samples a step: one utterance, one thread, weights at random.

    python -m benchmarks.grouped_sampling [--seconds 10] [--runs 5] [--shapes 10x32-r8 16x64-r8] [--json FILE]

Counted is all that an engine does for an utterance: laying out the weights, projecting the conditioning, the loop. The
filter that makes speech of what is drawn here comes on top. The best of several runs is what the machine can do; where
something else runs on it, the time that the process itself had says more than the clock.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from audioflow.distributions import Gaussian
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.group_head import GroupLaw
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling import CPU_ENGINES, ENGINES
from audioflow.sampling.cpu import int8_works
from benchmarks.timing import machine, thread_alone

RATE = 16_000
HOP = 240
"""Samples of a frame, or nearly: a multiple of each shape's group."""
COND = 64
LIMIT = 64.0


@dataclass(frozen=True)
class Shape:
    """A network, its group, and how many samples a second it is to make."""

    layers: int
    channels: int
    cycle: int
    samples: int
    wanted: int


SHAPES = {
    "10x32-r8": Shape(10, 32, 5, 8, 2_000_000),
    "10x32-r20": Shape(10, 32, 5, 20, 4_000_000),
    "16x64-r8": Shape(16, 64, 8, 8, 640_000),
}


@dataclass(frozen=True)
class Row:
    """A measurement: of the best run by the clock, and of the best by the process's own time."""

    shape: str
    engine: str
    samples_per_second: float
    samples_per_cpu_second: float
    times_real_time: float
    microseconds_per_step: float
    wanted: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of the utterance")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--engines", nargs="+", choices=CPU_ENGINES, default=list(usable()))
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    options = parser.parse_args()
    print(machine(), end="\n\n")
    print("| network | engine | samples/s | per second of its own | x real time | us/step | wanted |")
    print("|---|---|--:|--:|--:|--:|--:|")
    rows = []
    with thread_alone():
        for row in measured(options.shapes, options.engines, options.seconds, options.runs):
            rows.append(row)
            print(
                f"| {row.shape} | {row.engine} | {row.samples_per_second:,.0f} | {row.samples_per_cpu_second:,.0f} "
                f"| {row.times_real_time:.0f} | {row.microseconds_per_step:.2f} | {row.wanted:,} |",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def usable() -> Iterator[str]:
    """The engines for a CPU that work on this one."""
    return (name for name in CPU_ENGINES if name != "cpu-int8" or int8_works())


def measured(shapes: list[str], engines: list[str], seconds: float, runs: int) -> Iterator[Row]:
    """A row for each network and engine."""
    for name in shapes:
        shape = SHAPES[name]
        network, law = model(shape)
        cond, level, noise = material(shape, law, seconds)
        for engine in engines:
            clock, own = [], []
            for _ in range(runs + 1):  # one to compile and to warm up
                starts = time.perf_counter(), time.process_time()
                ENGINES[engine](network, law, cond, level, noise, limit=LIMIT)
                clock.append(time.perf_counter() - starts[0])
                own.append(time.process_time() - starts[1])
            made = noise.shape[-1] * shape.samples
            best, best_own = min(clock[1:]), min(own[1:])
            per_step = 1e6 * best_own / noise.shape[-1]
            yield Row(name, engine, made / best, made / best_own, made / best / RATE, per_step, shape.wanted)


def model(shape: Shape) -> tuple[CausalWaveNet, GroupLaw]:
    """A network whose samples stay of the order of one, and its law."""
    torch.manual_seed(0)
    law = GroupLaw(Gaussian(), shape.samples)
    network = CausalWaveNet(
        shape.samples,
        law.parameter_channels,
        COND,
        shape.layers,
        shape.cycle,
        shape.channels,
        shape.channels,
        linear_taps=max(2, 32 // shape.samples),
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network.eval(), law


def material(shape: Shape, law: GroupLaw, seconds: float) -> tuple[Conditioning, Tensor, Tensor]:
    """Conditioning at the rate of frames, level and noise of one utterance."""
    hop = HOP // shape.samples
    frames = round(seconds * RATE / HOP)
    steps = frames * hop
    position = torch.linspace(-0.5, 0.5, hop)
    weight = torch.stack([(-position).clamp(min=0), 1 - position.abs(), position.clamp(min=0)], dim=1)
    cond = Conditioning(torch.randn(1, COND, frames), weight, torch.randn(1, COND, 1))
    return cond, torch.zeros(1, 1, steps), torch.randn(1, law.noise_channels, steps)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
