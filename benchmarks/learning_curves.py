"""Draws the learning curves of training runs from their history files.

    python benchmarks/learning_curves.py runs/wavenet runs/glow --out docs/results/curves.png
    python benchmarks/learning_curves.py runs/student --figures kl stft voicing --out docs/results/curves.png

Training loss is shown as likelihood (its negative), a running median over log lines; held-out likelihood as points.
With --figures there is a panel for each held-out figure of that name instead, and a line where the teacher itself is.
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
    parser.add_argument("--figures", nargs="+", default=[], metavar="NAME", help="held-out figures, a panel for each")
    options = parser.parse_args()
    count = max(1, len(options.figures))
    figure = Figure(figsize=(10 if count == 1 else 4.5 * count, 4.5), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    for run, colour in zip(options.runs, COLOURS, strict=False):
        if options.figures:
            for axes, name in zip(panels, options.figures, strict=True):
                draw_figure(axes, run, colour, name)
        else:
            draw(panels[0], run, colour)
    for axes in panels:
        axes.set(xlabel="minutes of training")
        axes.grid(alpha=0.3)
    if not options.figures:
        panels[0].set(ylabel="log-likelihood, nats per sample (higher is better)")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    with atomic_path(options.out) as temporary:
        figure.savefig(temporary, dpi=110)


def read(run: Path) -> tuple[str, list[dict[str, float]]]:
    """Name and history of a run."""
    history = run / "history.jsonl" if run.is_dir() else run
    lines = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    return run.name if run.is_dir() else run.stem, lines


def draw_figure(axes: Axes, run: Path, colour: str, figure: str) -> None:
    """Draw one held-out figure of a run, and what its teacher reaches."""
    name, lines = read(run)
    held_out = [line for line in lines if f"valid_{figure}" in line]
    minutes = [line["seconds"] / 60 for line in held_out]
    axes.plot(minutes, [line[f"valid_{figure}"] for line in held_out], "o-", color=colour, markersize=4, label=name)
    if held_out and f"teacher_{figure}" in held_out[-1]:
        axes.axhline(held_out[-1][f"teacher_{figure}"], color="0.5", linewidth=1)
    axes.set(title=figure)


def draw(axes: Axes, run: Path, colour: str) -> None:
    """Draw one run: training as a line, held-out speech as points."""
    name, lines = read(run)
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
