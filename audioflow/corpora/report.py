"""What a preparation found: totals, and the recordings that are not fit for use."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from audioflow.audio import MelContract
from audioflow.corpora.checks import PROBLEMS
from audioflow.corpora.records import Decision, Entry, Rejected
from audioflow.corpora.splits import SPLITS


@dataclass
class PrepareReport:
    """What ``prepare`` found and did.

    Attributes:
        corpus: name of the corpus.
        directory: where it was prepared.
        recordings: recordings in the corpus.
        utterances: those fit for use.
        new: recordings dealt with in this run; the others were done before.
        seconds: length of the utterances in all.
        splits: utterances in each split.
        rates: utterances by the sample rate of their file, in Hz.
        resampled: utterances whose file had another rate than the contract.
        upsampled: those of them whose file had a lower rate, so that their upper bands are empty.
        mixed_down: utterances whose file had several channels.
        rejected: recordings not fit for use, by problem.
    """

    corpus: str
    directory: str
    recordings: int
    utterances: int
    new: int
    seconds: float
    splits: dict[str, int]
    rates: dict[int, int]
    resampled: int
    upsampled: int
    mixed_down: int
    rejected: dict[str, list[Rejected]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain values, fit for JSON."""
        return {**asdict(self), "rates": {str(rate): count for rate, count in self.rates.items()}}

    def totals(self) -> dict[str, Any]:
        """Give what a second run finds again, as plain values."""
        return {key: value for key, value in self.to_dict().items() if key not in ("corpus", "directory", "new")}


def make_report(
    corpus: str, directory: Path, contract: MelContract, decisions: Sequence[Decision], new: int
) -> PrepareReport:
    """Count what was decided about the recordings of a corpus.

    Args:
        corpus: its name.
        directory: where it was prepared.
        contract: under which contract.
        decisions: one for each recording.
        new: how many of them were made in this run.
    """
    entries = [decision for decision in decisions if isinstance(decision, Entry)]
    bad = [decision for decision in decisions if isinstance(decision, Rejected)]
    splits = Counter(entry.split for entry in entries)
    rates = Counter(entry.source_rate for entry in entries)
    return PrepareReport(
        corpus=corpus,
        directory=str(directory),
        recordings=len(decisions),
        utterances=len(entries),
        new=new,
        seconds=sum(entry.samples for entry in entries) / contract.sample_rate,
        splits={split: splits[split] for split in SPLITS},
        rates=dict(sorted(rates.items())),
        resampled=sum(count for rate, count in rates.items() if rate != contract.sample_rate),
        upsampled=sum(count for rate, count in rates.items() if rate < contract.sample_rate),
        mixed_down=sum(entry.source_channels > 1 for entry in entries),
        rejected={kind: found for kind in PROBLEMS if (found := [one for one in bad if one.problem == kind])},
    )
