"""All that is measured on one data set: sizes, time of a step, likelihood, time of sampling."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.timing import in_turns

from .candidate import Architecture, Candidate, Density, parameters_of
from .data import Data
from .fit import Batches, Trainer, Training, fit
from .report import Result, Row

HIDDEN = {"digits": 128, "mel": 256}
STEPS = {"digits": 1000, "mel": 3000}
TOY_HIDDEN, TOY_STEPS = 64, 2000
SAMPLED = ("mel", "maf")
LARGEST_SPREAD = 0.02
"""Of the parameter counts of one model in several libraries, as a share of the smallest."""


@dataclass(frozen=True)
class Effort:
    """How much is done. ``steps`` of ``None`` are as many as a data set has of its own."""

    seeds: int = 3
    steps: int | None = None
    timed_steps: int = 60
    timed_samplings: int = 5
    sampled_vectors: int = 1000


class Experiment:
    """One data set, with the architecture and the training that all models on it share."""

    def __init__(self, name: str, data: Data, effort: Effort) -> None:
        self.name, self.data, self.effort = name, data, effort
        self.architecture = Architecture(data.features, HIDDEN.get(name, TOY_HIDDEN))
        self.training = Training(effort.steps or STEPS.get(name, TOY_STEPS))

    def run(self, models: Sequence[str], candidates: Sequence[Candidate]) -> Result:
        """Train and time the candidates for some models."""
        rows: list[Row] = []
        for model in models:
            alike = [one for one in candidates if one.model == model]
            new = self.timed(alike)
            trained = [self.train(row, one) for row, one in zip(new, alike, strict=True)]
            if (self.name, model) == SAMPLED:
                self.time_sampling(new, trained)
            rows += new
        sampled = self.effort.sampled_vectors
        return Result.of(self.name, self.data, self.architecture, self.training, sampled, rows)

    def timed(self, candidates: Sequence[Candidate]) -> list[Row]:
        """One row for each candidate for a model, with its size and the time of a training step."""
        trainers = {one.library: Trainer(one.seeded(self.architecture, 0), self.training) for one in candidates}
        sizes = {library: parameters_of(trainer.model) for library, trainer in trainers.items()}
        require_alike(sizes)
        jobs = {
            library: partial(trainer.step_on, Batches(self.data.train, self.training.batch, seed=0))
            for library, trainer in trainers.items()
        }
        seconds = in_turns(jobs, self.effort.timed_steps, warm_up=min(10, self.effort.timed_steps))
        return [Row(one.model, one.library, one.note, sizes[one.library], seconds[one.library]) for one in candidates]

    def train(self, row: Row, candidate: Candidate) -> Density:
        """Train a candidate with each seed, note the likelihoods in its row, and give the model of the first seed."""
        models = []
        for seed in range(self.effort.seeds):
            models.append(candidate.seeded(self.architecture, seed))
            row.add(fit(models[-1], self.data, self.training, seed))
            line = f"{self.name}, {row.model}, {row.library}, seed {seed}: {row.nats[-1]:.4f} nats"
            print(line, file=sys.stderr, flush=True)
        return models[0]

    @torch.no_grad()
    def time_sampling(self, rows: Sequence[Row], models: Sequence[Density]) -> None:
        """Time sampling from trained models (an untrained one may be the identity) and note it in their rows."""
        count = self.effort.sampled_vectors
        named = {row.library: model.eval() for row, model in zip(rows, models, strict=True)}
        jobs = {library: partial(model.sample, count) for library, model in named.items()}
        seconds = in_turns(jobs, self.effort.timed_samplings, warm_up=1)
        for row in rows:
            model = named[row.library]
            row.sampling_seconds = seconds[row.library]
            row.nats_of_samples = model.log_prob(model.sample(count)).mean().item()


def require_alike(sizes: dict[str, int]) -> None:
    """Refuse to compare models of different sizes."""
    if max(sizes.values()) > (1 + LARGEST_SPREAD) * min(sizes.values()):
        raise SystemExit(f"The numbers of parameters, {sizes}, differ by more than {LARGEST_SPREAD:.0%}.")
