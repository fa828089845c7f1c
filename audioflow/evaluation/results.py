"""What a comparison found: figures that can be printed, stored and drawn, with the sound they belong to."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from audioflow.evaluation.agreement import Agreement
from audioflow.evaluation.likelihood import LogLikelihood
from audioflow.evaluation.speed import Timing


def three_digits(value: float) -> str:
    """Write a number with three significant digits and never an exponent.

    >>> three_digits(7391.6), three_digits(1.234), three_digits(0.01234)
    ('7,392', '1.23', '0.0123')
    """
    decimals = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:,.{max(0, decimals)}f}"


def matched_engine(engine: str, rounds: int) -> str:
    """Name an engine whose audio is moved to its mel in so many rounds.

    >>> matched_engine("cpu", 8), matched_engine("-", 24), matched_engine("cpu", 0)
    ('cpu, matched 8', 'matched 24', 'cpu')
    """
    if not rounds:
        return engine
    return f"matched {rounds}" if engine == "-" else f"{engine}, matched {rounds}"


MATCHED_NOTE = (
    "Rows that are called matched: after sampling, the audio was moved to the mel that it was made from, in so many "
    "rounds. Likelihoods are those of the models without it: matched audio is no draw of any density."
)

# Shown only where they were asked for, and taken.
HEARING = ("pesq", "stoi", "distillmos", "dnsmos", "mcd_db", "f0_cents", "voicing_error")

# Heading of each figure of a row, and how it is written.
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "parameters": ("parameters", "{:,d}".format),
    "multiply_accumulates": ("M MAC/sample", lambda value: three_digits(value / 1e6)),
    "samples_per_second": ("samples/s", "{:,.0f}".format),
    "times_real_time": ("x real time", three_digits),
    "first_sample_ms": ("first sample, ms", three_digits),
    "peak_megabytes": ("peak MB", three_digits),
    "share_of_ceiling": ("of ceiling", "{:.1%}".format),
    "nats_per_sample": ("nats/sample", "{:.3f}".format),
    "bits_per_sample": ("bits/sample", "{:.3f}".format),
    "m_stft": ("M-STFT", "{:.3f}".format),
    "mel_distance": ("mel dist.", "{:.3f}".format),
    "lsd_db": ("LSD dB", "{:.2f}".format),
    "pesq": ("PESQ", "{:.2f}".format),
    "stoi": ("ESTOI", "{:.3f}".format),
    "distillmos": ("DistillMOS", "{:.2f}".format),
    "dnsmos": ("DNSMOS", "{:.2f}".format),
    "mcd_db": ("MCD dB", "{:.2f}".format),
    "f0_cents": ("F0 cents", "{:.0f}".format),
    "voicing_error": ("voicing err.", "{:.1%}".format),
    "difference": ("max diff.", "{:.2g}".format),
    "relative_difference": ("rel. diff.", "{:.2g}".format),
    "nats_difference": ("nats diff.", "{:+.2g}".format),
}


@dataclass(frozen=True)
class Row:
    """One model under one engine (or a baseline): its figures and its sound. ``None`` means that it has no such figure.

    Attributes:
        label: the model's name in this comparison.
        engine: how it was sampled; ``cpu, matched 8`` where the audio was then moved to its mel.
        audio: what it made of each input, wav [T] by the input's name; of a stretch only where ``note`` says so.
        parameters: how many numbers the model has learned.
        multiply_accumulates: how many it takes to make one sample.
        timing: how long it took to make the audio.
        likelihood: of the recordings under the model, the same for each of its engines.
        distances: metric by name, the mean over the inputs.
        difference: greatest absolute difference from the audio of the model's first engine, same noise.
        note: a sentence on what is special about the row.
        first_seconds: until the first samples of the first input are there.
        peak_bytes: memory that synthesis took at its peak, over that which was taken before.
        share_of_ceiling: of the best arithmetic that the device reached in the same run.
        agreement: with the model's reference engine, over a short stretch, same noise.
        match_mel: rounds in which the audio was moved to its mel; 0 for audio as it was made.
    """

    label: str
    engine: str
    audio: dict[str, Tensor]
    parameters: int | None = None
    multiply_accumulates: float | None = None
    timing: Timing | None = None
    likelihood: LogLikelihood | None = None
    distances: dict[str, float] = field(default_factory=dict)
    difference: float | None = None
    note: str = ""
    first_seconds: float | None = None
    peak_bytes: int | None = None
    share_of_ceiling: float | None = None
    agreement: Agreement | None = None
    match_mel: int = 0

    def figures(self) -> dict[str, float | int | None]:
        """Give the row's figures by name, in the order of the columns."""
        timing, likelihood = self.timing, self.likelihood
        return {
            "parameters": self.parameters,
            "multiply_accumulates": self.multiply_accumulates,
            "samples_per_second": timing.samples_per_second if timing else None,
            "times_real_time": timing.times_real_time if timing else None,
            "first_sample_ms": None if self.first_seconds is None else 1e3 * self.first_seconds,
            "peak_megabytes": None if self.peak_bytes is None else self.peak_bytes / 1e6,
            "share_of_ceiling": self.share_of_ceiling,
            "nats_per_sample": likelihood.nats_per_sample if likelihood else None,
            "bits_per_sample": likelihood.bits_per_sample if likelihood else None,
            "m_stft": self.distances.get("m_stft"),
            "mel_distance": self.distances.get("mel_distance"),
            "lsd_db": self.distances.get("lsd_db"),
            **{name: self.distances.get(name) for name in HEARING},
            "difference": self.difference,
            "relative_difference": self.agreement.relative_difference if self.agreement else None,
            "nats_difference": self.agreement.nats_difference if self.agreement else None,
        }

    def finite_figures(self) -> dict[str, float | int | None]:
        """Give the figures, without those that are no finite numbers: no table, plot or JSON has a place for them."""
        return {
            name: None if value is None or not math.isfinite(value) else value for name, value in self.figures().items()
        }


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found: the rows, the recording first, and the conditions under which they were made.

    Attributes:
        rows: in the order in which they shall be read.
        sample_rate: of all audio, in Hz.
        seed: of the noise.
        temperature: factor on the noise's scale.
        dequantized: whether the likelihoods are of dequantized samples.
        machine: facts about hardware and versions, by name.
    """

    rows: list[Row]
    sample_rate: int
    seed: int
    temperature: float
    dequantized: bool
    machine: dict[str, str]

    @property
    def inputs(self) -> list[str]:
        """Names of the recordings."""
        return list(self.rows[0].audio)

    def columns(self) -> list[str]:
        """Names of the figures that are shown: all but those of hearing that no row has."""
        heard = {name for row in self.rows for name in row.distances}
        return [name for name in COLUMNS if name in heard or name not in HEARING]

    def conditions(self) -> str:
        """Say what the figures hold for."""
        noise = "uniform noise of one 16-bit step" if self.dequantized else "none"
        recordings = "1 recording" if len(self.inputs) == 1 else f"the mean over {len(self.inputs)} recordings"
        matched = f" {MATCHED_NOTE}" if any(row.match_mel for row in self.rows) else ""
        return (
            f"Figures of {recordings} at {self.sample_rate} Hz; seed {self.seed}, "
            f"temperature {self.temperature:g}; dequantisation: {noise}.{matched}"
        )

    def table(self) -> str:
        """Give the figures as lines of aligned plain text, with the conditions and notes below."""
        columns = self.columns()
        cells = [["model", "engine", *(COLUMNS[name][0] for name in columns)]]
        cells += [[row.label, row.engine, *(formatted(row)[name] for name in columns)] for row in self.rows]
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        lines = ["  ".join(_aligned(line, widths)).rstrip() for line in cells]
        lines.insert(1, "  ".join("-" * width for width in widths))
        notes = [f"{row.label} ({row.engine}): {row.note}" for row in self.rows if row.note]
        return "\n".join([*lines, "", self.conditions(), *notes])

    def to_json(self) -> str:
        """Give the figures and conditions, without the audio, as JSON text."""
        rows = [
            {
                "model": row.label,
                "engine": row.engine,
                "match_mel": row.match_mel,
                **self._shown(row),
                "note": row.note or None,
            }
            for row in self.rows
        ]
        facts = {
            "inputs": self.inputs,
            "sample_rate": self.sample_rate,
            "seed": self.seed,
            "temperature": self.temperature,
            "dequantized": self.dequantized,
            "machine": self.machine,
        }
        return json.dumps({**facts, "rows": rows}, indent=2, ensure_ascii=False)

    def _shown(self, row: Row) -> dict[str, float | int | None]:
        figures = row.finite_figures()
        return {name: figures[name] for name in self.columns()}


def formatted(row: Row) -> dict[str, str]:
    """Give a row's figures as text by the name of the column; what it does not have is a dash."""
    return {name: "-" if value is None else COLUMNS[name][1](value) for name, value in row.finite_figures().items()}


def _aligned(line: list[str], widths: list[int]) -> list[str]:
    """Names to the left, figures to the right."""
    return [
        cell.ljust(width) if column < 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
