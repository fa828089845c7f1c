"""What a step of distillation takes, beside a step of the teacher's own training on as much speech.

    python -m benchmarks.distillation_step recipes/festvox-ru/wavenet-by-sample.yaml recipes/festvox-ru/student.yaml

Prints time and memory of forward and backward pass: the divergence alone, with the spectral loss, with everything.
Weights and speech are random; both are in float32. Memory is what the forward pass keeps for the backward pass, each
tensor once.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from audioflow.training import Recipe, load_recipe
from audioflow.training.batches import Batch
from audioflow.training.objectives import Distillation, Likelihood, Objective
from audioflow.training.recipe import DistillConfig
from audioflow.training.teacher import frozen
from audioflow.vocoders import Vocoder, build
from audioflow.vocoders.wavenet import WaveNet
from benchmarks.timing import in_turns, machine

ROUNDS = 5
TERMS: Mapping[str, dict[str, float]] = {
    "student, divergence": {"stft": 0},
    "student, and spectra": {"stft": 1},
    "student, everything": {
        "stft": 1,
        "power": 1,
        "contrast": 0.3,
        "features": 1,
        "style": 1,
        "alignment": 1,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path, help="recipe of a wavenet")
    parser.add_argument("student", type=Path, help="recipe of a student")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine(), end="\n\n")
    steps = make_steps(load_recipe(options.teacher), load_recipe(options.student))
    seconds = in_turns(steps, ROUNDS, warm_up=1)
    first = next(iter(steps))
    print("| step | ms | of the teacher's | kept for the backward pass, MB |\n|---|--:|--:|--:|")
    for name, step in steps.items():
        share, memory = seconds[name] / seconds[first], kept_bytes(step) / 1e6
        print(f"| {name} | {1e3 * seconds[name]:.0f} | {share:.2f} | {memory:.0f} |")


def make_steps(teaching: Recipe, learning: Recipe) -> dict[str, Callable[[], None]]:
    """Forward and backward passes by name, all on one batch of the student's recipe."""
    torch.manual_seed(0)
    contract, data = learning.mel, learning.data
    wav = 0.05 * torch.randn(data.batch_size, data.segment_frames * contract.hop_length)
    batch = Batch(wav, torch.randn(data.batch_size, contract.n_mels, data.segment_frames), ("",) * data.batch_size)
    trained = fresh(teaching, batch)
    likelihood = Likelihood(wav.shape[1], noisy=False)
    steps: dict[str, Callable[[], None]] = {"teacher, likelihood": partial(step, likelihood, trained, batch)}
    for name, weights in TERMS.items():
        teacher, student = cast(WaveNet, fresh(teaching, batch)), fresh(learning, batch)
        objective = Distillation(DistillConfig.model_validate(weights), frozen(teacher), student)
        objective.prepare(student)
        steps[name] = partial(step, objective, student, batch)
    return steps


def fresh(recipe: Recipe, batch: Batch) -> Vocoder:
    vocoder = build(recipe.model.name, recipe.mel, recipe.model.fields)
    vocoder.initialize(batch.wav, batch.mel)
    return vocoder


def step(objective: Objective, vocoder: Vocoder, batch: Batch) -> None:
    vocoder.zero_grad(set_to_none=True)
    loss, _ = objective.loss(vocoder, batch, lambda _: torch.Generator().manual_seed(0))
    loss.backward()


def kept_bytes(run: Callable[[], None]) -> int:
    """Bytes of all storages that autograd keeps for the backward pass, weights included."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(storages.values())


if __name__ == "__main__":
    main()
