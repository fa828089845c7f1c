"""What an evaluation found: figures of each utterance, their means with intervals, differences, tables, JSON."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from audioflow.evaluation.contenders import RECORDING, Contender, Utterance
from audioflow.evaluation.intervals import Estimate, estimate
from audioflow.evaluation.likelihood import LogLikelihood, bits_per_sample
from audioflow.evaluation.results import COLUMNS, three_digits
from audioflow.evaluation.store import Record, Store

# Heading of each figure, how it is written, and whether more (1) or less (-1) of it is better.
FIGURES: dict[str, tuple[str, Callable[[float], str], int]] = {
    name: (*COLUMNS[name], better)
    for name, better in {
        "pesq": 1,
        "stoi": 1,
        "distillmos": 1,
        "dnsmos": 1,
        "m_stft": -1,
        "mel_distance": -1,
        "lsd_db": -1,
        "mcd_db": -1,
        "f0_cents": -1,
        "voicing_error": -1,
    }.items()
} | {"cer": ("CER", "{:.1%}".format, -1), "wer": ("WER", "{:.1%}".format, -1)}


@dataclass(frozen=True)
class Scored:
    """Likelihoods of the utterances under one model, or under a Gaussian that learns nothing.

    Attributes:
        label: its name.
        each: of every utterance.
        parameters: how many numbers it has learned.
    """

    label: str
    each: Sequence[LogLikelihood]
    parameters: int

    @property
    def nats_per_sample(self) -> Estimate:
        """Mean log-density of a sample; each sample counts the same."""
        return estimate([one.nats_per_sample for one in self.each], self._weights)

    def difference(self, other: "Scored") -> Estimate:
        """The mean of its differences from another's, utterance by utterance, each sample the same."""
        pairs = zip(self.each, other.each, strict=True)
        return estimate([mine.nats_per_sample - its.nats_per_sample for mine, its in pairs], self._weights)

    @property
    def _weights(self) -> list[float]:
        return [float(one.samples) for one in self.each]


@dataclass(frozen=True)
class Sounded:
    """Figures of what one contender made of the utterances.

    Attributes:
        contender: what it is.
        each: of every utterance.
    """

    contender: Contender
    each: Sequence[Record]

    def values(self, figure: str) -> list[float]:
        """One figure of every utterance; NaN where it could not be taken."""
        return [record.figures.get(figure, math.nan) for record in self.each]

    def estimate(self, figure: str) -> Estimate:
        """The mean of a figure over the utterances."""
        return estimate(self.values(figure))

    def difference(self, other: "Sounded", figure: str) -> Estimate:
        """The mean of its differences from another's figures, utterance by utterance."""
        return estimate([mine - its for mine, its in zip(self.values(figure), other.values(figure), strict=True)])


@dataclass(frozen=True)
class Evaluation:
    """What :func:`audioflow.evaluation.evaluation.evaluate` found.

    Attributes:
        title: what the utterances are.
        utterances: that everything was taken of.
        scored: likelihoods, model by model.
        sounded: figures of sound, contender by contender.
        store: where the audio is.
        seed: of the first utterance's noise.
        noisy: whether likelihoods have uniform noise of one 16-bit step.
        machine: facts about hardware and versions, by name.
    """

    title: str
    utterances: Sequence[Utterance]
    scored: Sequence[Scored]
    sounded: Sequence[Sounded]
    store: Store
    seed: int
    noisy: bool
    machine: dict[str, str]

    @property
    def seconds(self) -> float:
        """Length of all utterances together."""
        return sum(len(one.wav) for one in self.utterances) / self.utterances[0].contract.sample_rate

    @property
    def figures(self) -> list[str]:
        """Names of the figures of sound that were taken."""
        taken = {name for one in self.sounded for record in one.each for name in record.figures}
        return [name for name in FIGURES if name in taken]

    @property
    def opponent(self) -> Sounded | None:
        """What the others are held against: the first model, or without any the first of all."""
        models = [one for one in self.sounded if "weights" in one.contender.key]
        return next(iter([*models, *self.sounded]), None)

    def times_real_time(self, one: Sounded) -> float:
        """Seconds of speech made in a second by the median utterance; NaN for what is not made from a mel."""
        rate = self.utterances[0].contract.sample_rate
        speeds = [
            len(utterance.wav) / rate / record.seconds
            for utterance, record in zip(self.utterances, one.each, strict=True)
            if record.seconds > 0
        ]
        return median(speeds) if speeds else math.nan

    def conditions(self) -> str:
        """Say what the figures hold for."""
        noise = "with uniform noise of one 16-bit step" if self.noisy else "without dequantisation noise"
        return (
            f"{self.title}: {len(self.utterances)} utterances, {self.seconds:.1f} s; seed {self.seed}. Means, and half "
            "of the 95 % interval of a bootstrap over utterances. Likelihoods are of the recordings given their mels, "
            f"{noise}, and have no part in matching; each sample counts the same."
        )

    def table(self) -> str:
        """Give the figures as aligned plain text: likelihoods, sound, differences from :attr:`opponent`."""
        parts = []
        for heading, lines, note in self.tables():
            parts.append("\n".join(filter(None, [f"{heading}:", aligned(lines), note])))
        return "\n\n".join([*parts, self.conditions()])

    def tables(self) -> list[tuple[str, list[list[str]], str]]:
        """Headings, lines of cells with those of the columns first, and notes."""
        found = [
            ("Likelihood", self._likelihoods(), ""),
            ("Sound", self._sounds(), ""),
            ("Differences", self._differences(), self._about_differences()),
        ]
        return [(heading, lines, note) for heading, lines, note in found if len(lines) > 1]

    def _likelihoods(self) -> list[list[str]]:
        learned = [one for one in self.scored if one.parameters]
        first = learned[0] if len(learned) > 1 and len(self.utterances) > 1 else None
        lines = [["model", "parameters", "nats/sample", "bits/sample", *(["from the first"] if first else [])]]
        for one in self.scored:
            nats = one.nats_per_sample
            bits = bits_per_sample(nats.mean)
            cells = [f"{one.parameters:,}", written(nats, "{:.3f}".format), "-" if math.isnan(bits) else f"{bits:.3f}"]
            if first:
                cells.append("-" if one is first else _difference(one.difference(first), "{:.3f}".format))
            lines.append([one.label, *cells])
        return lines

    def _sounds(self) -> list[list[str]]:
        lines = [["model", "settings", "x real time", *(FIGURES[name][0] for name in self.figures)]]
        for one in self.sounded:
            speed = self.times_real_time(one)
            cells = [written(one.estimate(name), FIGURES[name][1]) for name in self.figures]
            shown = "-" if math.isnan(speed) else three_digits(speed)
            lines.append([one.contender.label, one.contender.settings or "-", shown, *cells])
        return lines

    def _differences(self) -> list[list[str]]:
        opponent = self.opponent
        lines = [["model", "settings", *(FIGURES[name][0] for name in self.figures)]]
        if opponent is None or len(self.utterances) < 2:
            return lines
        for one in self.sounded:
            if one is not opponent and one.contender.label != RECORDING:
                cells = [_difference(one.difference(opponent, name), FIGURES[name][1]) for name in self.figures]
                lines.append([one.contender.label, one.contender.settings or "-", *cells])
        return lines

    def _about_differences(self) -> str:
        if self.opponent is None:
            return ""
        return f"From {self.opponent.contender.name}, utterance by utterance; * where the 95 % interval leaves out 0."

    def to_json(self) -> str:
        """Give everything but the audio as JSON text, the figures of every utterance too."""
        facts = {
            "title": self.title,
            "seconds": self.seconds,
            "seed": self.seed,
            "dequantized": self.noisy,
            "machine": self.machine,
            "utterances": [one.id for one in self.utterances],
            "likelihood": [
                {
                    "model": one.label,
                    "parameters": one.parameters,
                    "nats_per_sample": _interval(one.nats_per_sample),
                    "each": [_finite(score.nats_per_sample) for score in one.each],
                }
                for one in self.scored
            ],
            "sound": [
                {
                    "model": one.contender.label,
                    "settings": one.contender.settings,
                    "match_mel": one.contender.matched,
                    "times_real_time": _finite(self.times_real_time(one)),
                    "figures": {name: _interval(one.estimate(name)) for name in self.figures},
                    "difference": self._differences_of(one),
                    "each": {name: [_finite(value) for value in one.values(name)] for name in self.figures},
                }
                for one in self.sounded
            ],
        }
        return json.dumps(facts, indent=1, ensure_ascii=False)

    def _differences_of(self, one: Sounded) -> dict[str, object]:
        opponent = self.opponent
        if opponent is None or opponent is one:
            return {}
        return {name: _interval(one.difference(opponent, name)) for name in self.figures}


def written(one: Estimate, write: Callable[[float], str]) -> str:
    """A mean and half its interval, such as ``2.47 ±0.11``.

    >>> written(Estimate(2.468, 2.36, 2.58, 22), "{:.2f}".format)
    '2.47 ±0.11'
    """
    if math.isnan(one.mean):
        return "-"
    return write(one.mean) if math.isnan(one.margin) else f"{write(one.mean)} ±{write(one.margin)}"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of plain text under a line of headings: names to the left, figures to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    left = [heading in ("model", "settings") for heading in lines[0]]

    def padded(line: Sequence[str]) -> str:
        cells = zip(line, widths, left, strict=True)
        return "  ".join(cell.ljust(width) if name else cell.rjust(width) for cell, width, name in cells).rstrip()

    rows = [padded(line) for line in lines]
    rows.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(rows)


def _difference(one: Estimate, write: Callable[[float], str]) -> str:
    if math.isnan(one.mean):
        return "-"
    sign = "+" if one.mean > 0 else ""
    mark = " " if math.isnan(one.margin) or one.low <= 0 <= one.high else "*"
    return f"{sign}{written(one, write)}{mark}"


def _interval(one: Estimate) -> dict[str, float | int | None]:
    return {"mean": _finite(one.mean), "low": _finite(one.low), "high": _finite(one.high), "utterances": one.count}


def _finite(value: float) -> float | None:
    """JSON has no word for what is not finite."""
    return value if math.isfinite(value) else None
