"""Training, the same for every library."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .candidate import Density
from .data import Data

CHECKS = 20
"""Times that the validation likelihood is taken in a run, at equal distances."""


@dataclass(frozen=True)
class Training:
    """Adam with a learning rate that falls along a cosine to zero; gradients clipped by their norm.

    Batches run through the training vectors in an order that the seed decides, the same for every library.
    """

    steps: int
    batch: int = 256
    learning_rate: float = 1e-3
    clip: float = 5.0


@dataclass(frozen=True)
class Fit:
    """What came of a run.

    Attributes:
        nats: held-out likelihood of the weights that were best on the validation vectors; NaN if none was finite.
        best_step: which that was.
        final_nats: held-out likelihood with the last weights.
        trouble: what went wrong, or nothing.
    """

    nats: float
    best_step: int
    final_nats: float
    trouble: str = ""


class Trainer:
    """A model with its optimizer and schedule."""

    def __init__(self, model: Density, training: Training) -> None:
        self.model = model.train()
        self.training = training
        self.optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, training.steps)

    def step_on(self, batches: "Batches") -> Tensor:
        """One step on the next batch; gives its loss."""
        self.optimizer.zero_grad()
        loss = -self.model.log_prob(batches.next()).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.clip)
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()


def fit(model: Density, data: Data, training: Training, seed: int) -> Fit:
    """Train, keep the weights of the best check in ``model``, and score them on the held-out vectors."""
    trainer = Trainer(model, training)
    batches = Batches(data.train, training.batch, seed)
    best, best_step, kept, trouble = -math.inf, 0, None, ""
    checks = {round(training.steps * (index + 1) / CHECKS) for index in range(CHECKS)}
    for step in range(1, training.steps + 1):
        loss = trainer.step_on(batches)
        if not loss.isfinite():
            trouble = f"loss {loss.item()} at step {step}"
            break
        if step in checks and (valid := score(model, data.valid)) > best:
            best, best_step = valid, step
            kept = {name: value.clone() for name, value in model.state_dict().items()}
    final = score(model, data.test)
    if kept is None:
        return Fit(math.nan, 0, final, trouble or "no finite validation likelihood")
    model.load_state_dict(kept)
    return Fit(score(model, data.test), best_step, final, trouble)


class Batches:
    """Batches of rows in one random order after another; what is left of an order and fills no batch is dropped."""

    def __init__(self, rows: Tensor, batch: int, seed: int) -> None:
        self.rows, self.batch = rows, min(batch, len(rows))
        self.generator = torch.Generator().manual_seed(seed)
        self.order = torch.empty(0, dtype=torch.long)

    def next(self) -> Tensor:
        """The next ``[B, D]``."""
        if len(self.order) < self.batch:
            self.order = torch.randperm(len(self.rows), generator=self.generator)
        taken, self.order = self.order[: self.batch], self.order[self.batch :]
        return self.rows[taken]


@torch.no_grad()
def score(model: Density, x: Tensor, batch: int = 2000) -> float:
    """Mean nats of ``x [N, D]``."""
    model.eval()
    nats = torch.cat([model.log_prob(part).double() for part in x.split(batch)]).mean().item()
    model.train()
    return nats
