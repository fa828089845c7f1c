"""Times the autoregressive engines on a GPU: a WaveNet of 20 layers and 64 channels, from one utterance to thousands.

    python -m benchmarks.gpu_sampling [--json FILE] [--checkpoint FILE] [--tune] [--agreement]
    python -m benchmarks.gpu_sampling --samples-per-step 8 [--group-hidden 64]

For each engine and batch: samples per second of all utterances together, and of each; the rate at which weights go from
the chip's shared cache to its multiprocessors; peak memory. The conditioning is projected in the time. Below, how far
the audio is from that of ``cached``, and by how much the model holds it for less likely, at first and over the whole.
``--tune`` times ways to cut the kernel. With ``--samples-per-step`` it is a WaveNet of 10 layers and 32 channels over
groups of excitation, from which no speech is made here. Without a checkpoint the weights are drawn at random, which
changes the sound but not the speed. ``TRITON_INTERPRET=1 ... --device cpu --tiny`` tries the script on a CPU.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from audioflow.audio import PRESETS
from audioflow.evaluation.speed import measure
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.group_head import ungrouped
from audioflow.nets.upsample import lowest_rate
from audioflow.sampling import ENGINES, KERNEL_ENGINES
from audioflow.sampling.cuda import engine as kernel_engine
from audioflow.sampling.cuda.weights import Sizes, sizes_of
from audioflow.vocoders import load
from audioflow.vocoders.registry import build
from audioflow.vocoders.wavenet import WaveNet
from benchmarks.timing import machine

BATCHES = {"cuda": (1, 16, 128, 2048), "cuda-fp16": (1, 16, 128, 2048), "cuda-graph": (1, 128, 2048), "cached": (1,)}
TINY = {"layers": 3, "residual_channels": 8, "skip_channels": 8}
GROUPED = {"layers": 10, "cycle": 5, "residual_channels": 32, "skip_channels": 32, "linear_taps": 4, "front": 32}
STEPS = {"cuda-graph": 1000, "cached": 500}
"""Steps of the network that a slow engine is timed for."""
WAYS = ((4, 9), (8, 1), (8, 2), (8, 9))
"""Warps of a program, and stages at most."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        engine: its name.
        batch: utterances.
        steps: samples of each.
        samples_per_second: of all utterances together.
        each: of each.
        weights_gb: of weights read in a second by all programs, in 10^9 bytes; 0 where it is not known.
        peak_gib: memory.
    """

    engine: str
    batch: int
    steps: int
    samples_per_second: float
    each: float
    weights_gb: float
    peak_gib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each utterance that a kernel is timed for")
    parser.add_argument("--samples-per-step", type=int, default=1, help="of a network over groups, which is smaller")
    parser.add_argument("--group-hidden", type=int, default=0, help="hidden units within a group")
    parser.add_argument("--tiny", action="store_true", help="a network and utterances of next to nothing")
    parser.add_argument("--tune", action="store_true", help="time ways to cut the kernel first")
    parser.add_argument("--agreement", action="store_true", help="the agreement only")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("No CUDA device is visible to torch; --device cpu --tiny tries the script without one.")
    groups = options.samples_per_step, options.group_hidden
    vocoder = wavenet(options.checkpoint, *groups, tiny=options.tiny).to(options.device).eval()
    vocoder.fold_weight_norm()
    print(machine(options.device), end="\n\n")
    steps = 8 if options.tiny else 2000
    if options.agreement:
        agreement(vocoder, steps)
        return
    if options.tune:
        tune(vocoder)
    rows = []
    print("| engine | batch | samples/s | of each | weights, GB/s | GiB |\n|---|--:|--:|--:|--:|--:|")
    for row in timed(vocoder, options.seconds, tiny=options.tiny):
        rows.append(row)
        print(
            f"| {row.engine} | {row.batch} | {row.samples_per_second:,.0f} | {row.each:,.0f} | {row.weights_gb:,.0f} "
            f"| {row.peak_gib:.2f} |",
            flush=True,
        )
    agreement(vocoder, steps)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def wavenet(checkpoint: Path | None, samples: int = 1, hidden: int = 0, *, tiny: bool) -> WaveNet:
    """The checkpoint's model, or one with random weights of which none is zero."""
    if checkpoint is not None:
        vocoder = load(checkpoint, "cpu")
        if not isinstance(vocoder, WaveNet):
            sys.exit(f"{checkpoint} holds a {vocoder.name}, not a wavenet.")
        return vocoder
    torch.manual_seed(0)
    size: dict[str, int] = {"layers": 20, "cycle": 10}
    if samples > 1:
        size = {**GROUPED, "samples_per_step": samples, "group_hidden": hidden}
    made = build("wavenet", PRESETS["nvidia-22k"], {**size, **(TINY if tiny else {})})
    assert isinstance(made, WaveNet)  # noqa: S101
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        if made.front is None:
            # A mel of zeros shall mean speech that does not clip.
            silence = torch.zeros(1, made.contract.n_mels, 1)
            made.level.offset.add_(math.log(0.05) - made.level(silence).mean())
    return made


def timed(vocoder: WaveNet, seconds: float, *, tiny: bool) -> Iterator[Row]:
    for name, batches in BATCHES.items():
        for batch in (1, 3) if tiny else batches:
            every = round(seconds * vocoder.contract.sample_rate) // vocoder.samples_per_step
            steps = 8 if tiny else STEPS.get(name, every)
            yield row(vocoder, name, batch, steps, 3 if name in STEPS else 5)


def row(vocoder: WaveNet, name: str, batch: int, steps: int, runs: int = 5) -> Row:
    """Steps of the network, each of a sample or of a group, by one engine."""
    hop = vocoder.steps_per_frame
    frames = -(-steps // hop)
    device = vocoder.normalizer.mean.device
    generator = torch.Generator(device).manual_seed(0)
    mel = torch.randn(batch, vocoder.contract.n_mels, frames, generator=generator, device=device)
    noise = torch.randn(batch, vocoder.noise_channels, frames * hop, generator=generator, device=device)
    noise = noise[..., :steps] if steps < hop else noise
    given = vocoder._given(mel, None, None)
    with torch.inference_mode():
        cond = lowest_rate(vocoder.upsampler, given.mel)

    def run() -> object:
        return drawn(vocoder, name, cond, given.level[..., : noise.shape[-1]], noise)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    each = noise.shape[-1] * vocoder.samples_per_step
    timing, _ = measure(run, batch * each, vocoder.contract.sample_rate, runs=runs, warm_up=run)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    rate, moved = timing.samples_per_second, 0.0
    if name in KERNEL_ENGINES:
        parts = kernel_engine.PARTS["float16" if name == "cuda-fp16" else "float32"]
        programs = -(-batch // kernel_engine.utterances_of_a_program(batch, device))
        steps_per_second = rate / batch / vocoder.samples_per_step
        moved = weight_bytes(sizes_of(vocoder.network, vocoder.law, parts)) * programs * steps_per_second / 1e9
    return Row(name, batch, each, rate, rate / batch, moved, peak)


def drawn(vocoder: WaveNet, engine: str, cond: Conditioning, level: Tensor, noise: Tensor) -> Tensor:
    """What an engine draws ``[B, 1, T]``: audio, or excitation."""
    return ungrouped(ENGINES[engine](vocoder.network, vocoder.law, cond, level, noise, limit=vocoder.limit))


def weight_bytes(sizes: Sizes) -> int:
    """Bytes of the gated layers' weights, which a program reads for each step."""
    return 2 * sizes.parts * sizes.layers * 2 * (sizes.taps + 1) * sizes.channels * sizes.gates


def tune(vocoder: WaveNet) -> None:
    print("| engine | warps | stages | batch | samples/s |\n|---|--:|--:|--:|--:|")
    stages = kernel_engine.stages_of
    for name in KERNEL_ENGINES:
        for warps, most in WAYS:
            chosen = partial(_at_most, most, stages)
            with mock.patch.multiple(kernel_engine, WARPS=warps, stages_of=chosen):
                for batch in (1, 128):
                    rate = row(vocoder, name, batch, vocoder.contract.sample_rate // 4, 3).samples_per_second
                    print(f"| {name} | {warps} | {most} | {batch} | {rate:,.0f} |", flush=True)
    print()


def _at_most(most: int, stages: Callable[[Sizes, torch.device], int], sizes: Sizes, device: torch.device) -> int:
    return min(most, stages(sizes, device))


@torch.inference_mode()
def agreement(vocoder: WaveNet, steps: int) -> None:
    """Audio of some milliseconds by each engine, and how likely the model holds it."""
    hop = vocoder.steps_per_frame
    frames = max(1, steps // hop)
    device = vocoder.normalizer.mean.device
    mel = torch.randn(1, vocoder.contract.n_mels, frames, generator=torch.Generator().manual_seed(1)).to(device)
    given = vocoder._given(mel, None, None)
    cond = lowest_rate(vocoder.upsampler, given.mel)
    noise = torch.randn(1, vocoder.noise_channels, frames * hop, generator=torch.Generator().manual_seed(2)).to(device)
    made = {name: drawn(vocoder, name, cond, given.level, noise)[:, 0] for name in ("cached", *BATCHES)}
    right = made["cached"]
    nats = {name: float(vocoder._log_prob(x[:, None], given)) / x.shape[-1] for name, x in made.items()}
    early = min(right.shape[-1], 200)
    print(f"\n| engine | rel. diff., {early} samples | {right.shape[-1]} samples | nats per sample less |")
    print("|---|--:|--:|--:|")
    if float(right.abs().max()) >= vocoder.limit:
        print("The audio clips: differences say less than they seem to.", file=sys.stderr)
    for name, wav in made.items():
        far = [float((wav - right)[:, :end].norm() / right[:, :end].norm()) for end in (early, right.shape[-1])]
        print(f"| {name} | {far[0]:.1e} | {far[1]:.1e} | {nats['cached'] - nats[name]:+.5f} |")


if __name__ == "__main__":
    main()
