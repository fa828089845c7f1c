"""The page of an evaluation: tables, distributions, and what some utterances sound like."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from audioflow.evaluation.charts import COLOURS
from audioflow.evaluation.evaluation import sound_of
from audioflow.evaluation.page import EXPLANATIONS, Clip, Sound, data_uri, shown, template
from audioflow.evaluation.pictures import GREY, figure_png, style_axes
from audioflow.evaluation.scores import FIGURES, Evaluation, Sounded
from audioflow.files import atomic_path

Lines = list[list[str]]


def write_evaluation_page(
    path: Path, evaluation: Evaluation, *, heard: int = 3, command: str = "", overwrite: bool = True
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the file.
        evaluation: what to show.
        heard: utterances that are heard, the first ones.
        command: that made it, to be repeated by the reader.
        overwrite: whether a file that is there is replaced.

    Raises:
        OutputError: the file exists and may not be replaced, or cannot be written.
    """
    figure = distributions(evaluation)
    meanings = {FIGURES[name][0]: EXPLANATIONS[name] for name in evaluation.figures if name in EXPLANATIONS}
    text = template("evaluation.html.j2").render(
        title="audioflow: models on held-out speech",
        conditions=evaluation.conditions(),
        tables=evaluation.tables(),
        explanations=_Meanings(meanings),
        chart="" if figure is None else data_uri("image/png", figure_png(figure)),
        details=[(FIGURES[name][0], _each(evaluation, name)) for name in evaluation.figures],
        utterances={one.id: _clips(evaluation, number) for number, one in enumerate(evaluation.utterances[:heard])},
        command=command,
        speech=evaluation.title,
        machine=evaluation.machine,
    )
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


class _Meanings(dict[str, str]):
    def __missing__(self, _: str) -> str:
        return ""


def distributions(evaluation: Evaluation) -> Figure | None:
    """Draw every figure of every utterance: a panel for each figure, a row for each contender."""
    names, rows = evaluation.figures, evaluation.sounded
    if not names or not rows:
        return None
    across = 2
    figure = Figure(figsize=(13, (0.9 + 0.24 * len(rows)) * -(-len(names) // across)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(-(-len(names) // across), across, squeeze=False).flatten()
    for axes, name in zip(panels, names, strict=False):
        _draw(axes, name, rows)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    return figure


def _draw(axes: Axes, name: str, rows: Sequence[Sounded]) -> None:
    for place, row in enumerate(rows):
        values, mean = np.array(row.values(name)), row.estimate(name)
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(values, np.full(len(values), place), "o", color=colour, alpha=0.35, markersize=4, markeredgewidth=0)
        if mean.count:
            axes.plot([mean.low, mean.high], [place, place], color=colour, linewidth=2)
            axes.plot(mean.mean, place, "|", color=colour, markersize=11, markeredgewidth=2)
    axes.set_yticks(range(len(rows)), [row.contender.name for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.5)
    direction = "higher" if FIGURES[name][2] > 0 else "lower"
    axes.set_title(f"{FIGURES[name][0]} ({direction} is better)", color=GREY, fontsize=9)
    style_axes(axes)


def _each(evaluation: Evaluation, name: str) -> Lines:
    """A line for each utterance, a column for each contender."""
    write, columns = FIGURES[name][1], [one.values(name) for one in evaluation.sounded]
    lines = [["utterance", *(one.contender.name for one in evaluation.sounded)]]
    for number, utterance in enumerate(evaluation.utterances):
        cells = [values[number] for values in columns]
        lines.append([utterance.id, *("-" if np.isnan(value) else write(value) for value in cells)])
    return lines


def _clips(evaluation: Evaluation, number: int) -> list[Clip]:
    utterance = evaluation.utterances[number]
    sounds = [
        Sound(
            one.contender.label,
            one.contender.settings or "-",
            "",
            sound_of(one.contender, utterance, evaluation.store)[0],
        )
        for one in evaluation.sounded
    ]
    return shown(
        [Sound("recording", "-", utterance.text, utterance.wav), *(s for s in sounds if s.label != "recording")],
        utterance.contract.sample_rate,
    )
