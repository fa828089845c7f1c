"""What a step of training takes: the way the library takes by itself, and the plain way.

    python -m benchmarks.training_step RECIPE... [--precisions float32 bf16] [--ways rows plain] [--steps 20]

A step is the likelihood of a batch of the recipe's size, its gradient, clipping and AdamW; speech is random. Time is
that of the processor, so that what else a machine does counts little, and the least of several steps. With one thread
it is what the step takes; with several it is what they take together. ``--profile`` says where it goes.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from audioflow.nets import gated_stack
from audioflow.training import Recipe, load_recipe
from audioflow.vocoders import build
from benchmarks.timing import machine

WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", type=Path, nargs="+", metavar="RECIPE")
    parser.add_argument("--precisions", nargs="+", choices=["float32", "bf16"], default=["float32", "bf16"])
    parser.add_argument("--ways", nargs="+", choices=["rows", "plain"], default=["plain", "rows"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine(), end="\n\n")
    print("| recipe | precision | way | ms | samples a second |\n|---|---|---|--:|--:|")
    for path in options.recipes:
        recipe = load_recipe(path)
        for precision in options.precisions:
            step = make_step(recipe, precision)
            for way, seconds in least(step, options.ways, options.steps).items():
                rate = recipe.data.batch_size * recipe.data.segment_frames * recipe.mel.hop_length / seconds
                print(f"| {recipe.name} | {precision} | {way} | {1e3 * seconds:.1f} | {rate:,.0f} |", flush=True)
                if options.profile:
                    print(profiled(partial(step, way)))


def make_step(recipe: Recipe, precision: str) -> Callable[[str], None]:
    """One step on one batch, again and again, in the way it is told."""
    torch.manual_seed(0)
    contract, data, config = recipe.mel, recipe.data, recipe.train
    wav = 0.02 * torch.randn(data.batch_size, data.segment_frames * contract.hop_length)
    mel = torch.randn(data.batch_size, contract.n_mels, data.segment_frames) - 4
    vocoder = build(recipe.model.name, contract, recipe.model.fields)
    vocoder.initialize(wav, mel)
    trained = list(vocoder.parameters())
    optimizer = torch.optim.AdamW(trained, config.learning_rate)

    def cast() -> AbstractContextManager[object]:
        return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()

    def step(way: str) -> None:
        gated_stack.BY_ROWS = way == "rows"
        with cast():
            loss = -vocoder.log_prob(wav, mel).mean() / wav.shape[1]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, config.gradient_clip or float("inf"))
        optimizer.step()

    return step


def least(step: Callable[[str], None], ways: Sequence[str], steps: int) -> dict[str, float]:
    """Seconds of the processor that the quickest of so many steps takes, each way; they take turns."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(WARM_UP + steps):
        for way in ways:
            start = time.process_time()
            step(way)
            taken[way].append(time.process_time() - start)
    return {way: min(seconds[WARM_UP:]) for way, seconds in taken.items()}


def profiled(step: Callable[[], None]) -> str:
    with profile(activities=[ProfilerActivity.CPU]) as found:
        step()
    table: str = found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25)
    return table


if __name__ == "__main__":
    main()
