"""The figures, and how they are shown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev

from .candidate import MODELS, Architecture
from .data import Data
from .fit import Fit, Training


@dataclass
class Row:
    """What the model of one library gave on one data set; lists have a figure for each seed.

    Attributes:
        parameters: how many are trained.
        step_seconds: median of a training step.
        nats: held-out likelihood of the weights that were best on the validation vectors.
        best_steps: the steps after which those were.
        final_nats: held-out likelihood of the last weights.
        troubles: what went wrong.
        sampling_seconds: median of drawing the result's ``sampled_vectors``, where that was timed.
        nats_of_samples: mean of ``log_prob`` over the vectors drawn.
    """

    model: str
    library: str
    note: str
    parameters: int
    step_seconds: float
    nats: list[float] = field(default_factory=list)
    best_steps: list[int] = field(default_factory=list)
    final_nats: list[float] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    sampling_seconds: float | None = None
    nats_of_samples: float | None = None

    def add(self, fit: Fit) -> None:
        """Note what came of one seed."""
        self.nats.append(fit.nats)
        self.best_steps.append(fit.best_step)
        self.final_nats.append(fit.final_nats)
        self.troubles += [fit.trouble] if fit.trouble else []


@dataclass(frozen=True)
class Result:
    """All figures of one data set, and what they were measured with."""

    name: str
    description: str
    vectors: tuple[int, int, int]
    gaussian_nats: float
    limit_nats: float | None
    architecture: Architecture
    training: Training
    sampled_vectors: int
    rows: list[Row]

    @classmethod
    def of(
        cls, name: str, data: Data, architecture: Architecture, training: Training, sampled: int, rows: list[Row]
    ) -> "Result":
        vectors = (len(data.train), len(data.valid), len(data.test))
        return cls(name, data.description, vectors, data.gaussian(), data.limit, architecture, training, sampled, rows)


def table(result: Result, notes: list[str]) -> str:
    """Show one data set. Notes not met before are put behind ``notes``; rows refer to them by number."""
    head = ["model", "library", "parameters", "held-out nats", "with the last weights", "step, ms", "note"]
    sampled = any(row.sampling_seconds is not None for row in result.rows)
    if sampled:
        head.insert(-1, f"{result.sampled_vectors} samples, ms")
    lines = [row_of(head), row_of(["---", "---", *["--:"] * (len(head) - 2)])]
    lines += [row_of(cells(row, notes, sampled=sampled)) for row in result.rows]
    troubles = [f"{row.library}, {row.model}: {trouble}." for row in result.rows for trouble in row.troubles]
    return "\n".join([f"### {result.name}", "", preamble(result), "", *lines, "", *troubles])


def preamble(result: Result) -> str:
    """Say what the data are and how the models were trained."""
    architecture, training = result.architecture, result.training
    train, valid, test = result.vectors
    limit = "" if result.limit_nats is None else f", the law they are drawn from has {result.limit_nats:.3f}"
    return (
        f"{result.description}; {architecture.features}-D, {train:,} vectors to train on, {valid:,} to choose the step "
        f"by, {test:,} held out. {architecture.layers} layers, conditioners with 2 x {architecture.hidden} units; "
        f"{training.steps} steps of Adam, batches of {training.batch}, learning rate {training.learning_rate:g} that "
        f"falls along a cosine, gradient norm up to {training.clip:g}. Nats of a vector in standardised units; a "
        f"Gaussian with full covariance has {result.gaussian_nats:.3f}{limit}."
    )


def cells(row: Row, notes: list[str], *, sampled: bool) -> list[str]:
    """One row's figures as text."""
    if row.note not in notes:
        notes.append(row.note)
    texts = [MODELS[row.model], row.library, f"{row.parameters:,}", with_error(row.nats), with_error(row.final_nats)]
    texts.append(f"{1e3 * row.step_seconds:.2f}")
    if sampled:
        texts.append("" if row.sampling_seconds is None else f"{1e3 * row.sampling_seconds:.0f}")
    return [*texts, str(notes.index(row.note) + 1)]


def row_of(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def with_error(values: Sequence[float]) -> str:
    """Mean over the seeds and its standard error."""
    if not all(map(math.isfinite, values)):
        return "not finite"
    digits = 3 if abs(mean(values)) < 10 else 2
    error = f" ± {stdev(values) / math.sqrt(len(values)):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{error}"


def footnotes(notes: Sequence[str]) -> str:
    """Say what the numbers in the last column mean."""
    return "\n".join(["Notes:", "", *(f"{index + 1}. {note}" for index, note in enumerate(notes))])
