"""Draws the learning curves of training runs from their history files.

    python benchmarks/learning_curves.py runs/wavenet runs/glow --out docs/results/curves.png

Training loss is shown as likelihood (its negative), a running median over log lines; held-out likelihood as points.
"""

import argparse
import json
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audioflow.files import atomic_path

COLOURS = tuple(f"C{number}" for number in range(10))
SMOOTHING = 9
"""Log lines in the running median: single batches differ by more than a minute of training changes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories, or history files")
    parser.add_argument("--out", required=True, type=Path, help="PNG to write")
    options = parser.parse_args()
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    for run, colour in zip(options.runs, COLOURS, strict=False):
        draw(axes, run, colour)
    axes.set(xlabel="minutes of training", ylabel="log-likelihood, nats per sample (higher is better)")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    with atomic_path(options.out) as temporary:
        figure.savefig(temporary, dpi=110)


def draw(axes: Axes, run: Path, colour: str) -> None:
    """Draw one run: training as a line, held-out speech as points."""
    history = run / "history.jsonl" if run.is_dir() else run
    lines = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    name = run.name if run.is_dir() else run.stem
    training = [(line["seconds"] / 60, -line["loss"]) for line in lines if "loss" in line]
    held_out = [
        (line["seconds"] / 60, line["valid_nats_per_sample"]) for line in lines if "valid_nats_per_sample" in line
    ]
    minutes, nats = zip(*training, strict=True)
    axes.plot(minutes, running_median(nats), color=colour, alpha=0.6, label=f"{name}, training")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), "o-", color=colour, markersize=4, label=f"{name}, held out")


def running_median(values: tuple[float, ...]) -> list[float]:
    half = SMOOTHING // 2
    return [median(values[max(0, index - half) : index + half + 1]) for index in range(len(values))]


if __name__ == "__main__":
    main()
