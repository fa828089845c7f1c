"""Figures as pictures: speed against quality, and speed against batch and length.

Transparent with grey lettering, as in :mod:`audioflow.evaluation.pictures`: they can be read on white and on black.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import Bbox

from audioflow.evaluation.pictures import GREY, style_axes
from audioflow.evaluation.results import Comparison, Row

COLOURS = ("#3f7fbf", "#d9822b", "#3a9b5c", "#b5519c", "#c0392b", "#8a6d3b", "#2aa1a1", "#7a6fd0", "#98a02b")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
# What is drawn against speed: the figure, what its axis says.
QUALITIES = {
    "m_stft": "M-STFT distance (lower is better)",
    "nats_per_sample": "log-likelihood, nats per sample (higher is better)",
}
# Where a label may stand, as seen from its point, in points of 1/72 inch, the nearest first.
OFFSETS = [
    (x, y) for far in (8, 20, 34, 50, 68, 88) for y in (0, far, -far) for x in (far, -far, 0) if (x, y) != (0, 0)
]
# Size of a marker, likewise.
MARKER_SIZE = 7.0


@dataclass(frozen=True)
class Speed:
    """How fast a model's engine is with a batch of some length.

    Attributes:
        model: its name.
        engine: of the model.
        batch: utterances.
        seconds: of each.
        times_real_time: of all together.
    """

    model: str
    engine: str
    batch: int
    seconds: float
    times_real_time: float


def quality_figure(comparison: Comparison) -> Figure | None:
    """Draw speed against each quality that some rows have, a point for each model and engine; hollow where matched.

    What has a quality and no speed (the recording, the Gaussian) is a line across. ``None`` if there is no point.
    """
    drawn = [quality for quality in QUALITIES if any(_point(row, quality) for row in comparison.rows)]
    if not drawn:
        return None
    figure = Figure(figsize=(6.4 * len(drawn), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    labels = list(dict.fromkeys(row.label for row in comparison.rows))
    colours = {label: COLOURS[index % len(COLOURS)] for index, label in enumerate(labels)}
    panels = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axes, quality in zip(panels, drawn, strict=True):
        _draw_qualities(axes, comparison.rows, quality, colours)
    # Labels can be placed only where everything else has its place already.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, quality in zip(panels, drawn, strict=True):
        _put_labels(axes, comparison.rows, quality, colours)
    return figure


def speed_figure(speeds: Sequence[Speed]) -> Figure:
    """Draw speed against batch and length: a line for each model and engine, a point for each batch and length."""
    names = list(dict.fromkeys((one.model, one.engine) for one in speeds))
    cases = sorted({(one.batch, one.seconds) for one in speeds})
    batches, lengths = ([*dict.fromkeys(sorted(values))] for values in zip(*cases, strict=True))
    figure = Figure(figsize=(9, 1.6 + 0.28 * len(names)), layout="constrained")
    axes = figure.subplots()
    for batch, seconds in cases:
        points = [one for one in speeds if (one.batch, one.seconds) == (batch, seconds)]
        axes.scatter(
            [one.times_real_time for one in points],
            [names.index((one.model, one.engine)) for one in points],
            s=38,
            alpha=0.85,
            linewidths=0,
            color=COLOURS[batches.index(batch) % len(COLOURS)],
            marker=MARKERS[lengths.index(seconds) % len(MARKERS)],
            label=f"batch {batch}, {seconds:g} s each",
        )
    axes.set_yticks(range(len(names)), [f"{model}, {engine}" for model, engine in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.5)
    _speed_axis(axes, "times real time, all utterances of a batch together")
    figure.legend(loc="outside upper center", ncols=min(4, len(cases)), fontsize=8, labelcolor=GREY, frameon=False)
    return figure


def _point(row: Row, quality: str) -> tuple[float, float] | None:
    """Speed and quality of a row, if it has both."""
    figures = row.finite_figures()
    speed, value = figures["times_real_time"], figures[quality]
    return None if speed is None or value is None else (speed, value)


def _draw_qualities(axes: Axes, rows: Sequence[Row], quality: str, colours: dict[str, str]) -> None:
    for row in rows:
        value, point = row.finite_figures()[quality], _point(row, quality)
        if point is not None:
            _draw_point(axes, point, colours[row.label], hollow=row.match_mel > 0)
        elif value is not None and row.timing is None:
            axes.axhline(value, color=colours[row.label], linewidth=1, linestyle="--", alpha=0.7)
    axes.margins(x=0.22, y=0.14)
    axes.set_ylabel(QUALITIES[quality], color=GREY, fontsize=8)
    _speed_axis(axes, "speed, times real time")


def _draw_point(axes: Axes, point: tuple[float, float], colour: str, *, hollow: bool) -> None:
    face, edge, size = ("none", 1.5, MARKER_SIZE - 1.5) if hollow else (colour, 0, MARKER_SIZE)
    axes.plot(*point, "o", color=colour, markersize=size, markerfacecolor=face, markeredgewidth=edge)


def _speed_axis(axes: Axes, label: str) -> None:
    """Speed to the right, on a logarithmic scale, with a line at real time."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1, color=GREY, linewidth=1, alpha=0.6)
    axes.set_xlabel(label, color=GREY, fontsize=8)
    style_axes(axes)


def _put_labels(axes: Axes, rows: Sequence[Row], quality: str, colours: dict[str, str]) -> None:
    """Write the name beside each point and line, where it covers neither a point nor another name."""
    points = [(row, point) for row in rows if (point := _point(row, quality))]
    size = MARKER_SIZE * axes.figure.dpi / 72
    taken = [_box_around(axes.transData.transform(point), size) for _, point in points]
    frame = axes.get_window_extent()
    real_time = axes.transData.transform((1, 0))[0]
    taken.append(Bbox.from_extents(real_time - 1, frame.y0, real_time + 1, frame.y1))
    for row, value in _lines(rows, quality):
        height = axes.transData.transform((1, value))[1]
        taken.append(Bbox.from_extents(frame.x0, height - 1, frame.x1, height + 1))
        text = axes.annotate(
            row.label, (0.01, value), (0, 2), axes.get_yaxis_transform(), "offset points", **_lettering(row, colours)
        )
        taken.append(_extent(text))
    for row, point in points:
        name = row.label if row.engine == "-" else f"{row.label}, {row.engine}"
        taken.append(_put_label(axes, name, point, taken, _lettering(row, colours)))


def _put_label(
    axes: Axes, name: str, point: tuple[float, float], taken: Sequence[Bbox], lettering: dict[str, Any]
) -> Bbox:
    """Write a name in the first place that is free, else in the last one, and give what it covers."""
    frame = axes.get_window_extent()
    for across, up in OFFSETS:
        text = axes.annotate(
            name,
            point,
            (across, up),
            textcoords="offset points",
            ha="center" if across == 0 else "left" if across > 0 else "right",
            va="center" if up == 0 else "bottom" if up > 0 else "top",
            arrowprops={"arrowstyle": "-", "color": lettering["color"], "linewidth": 0.5, "alpha": 0.6},
            **lettering,
        )
        box = _extent(text)
        if frame.contains(*box.min) and frame.contains(*box.max) and box.count_overlaps(taken) == 0:
            return box
        if (across, up) != OFFSETS[-1]:
            text.remove()
    return box


def _lines(rows: Sequence[Row], quality: str) -> Iterator[tuple[Row, float]]:
    """Rows that have a quality without being made by anything that takes time."""
    for row in rows:
        value = row.finite_figures()[quality]
        if row.timing is None and value is not None:
            yield row, value


def _lettering(row: Row, colours: dict[str, str]) -> dict[str, Any]:
    return {"fontsize": 8, "color": colours[row.label]}


def _extent(text: Annotation) -> Bbox:
    """What the letters cover, in pixels; by itself an annotation would count the line that leads to them too."""
    renderer = FigureCanvasAgg(text.figure).get_renderer()  # type: ignore[arg-type]
    text.update_positions(renderer)
    return Text.get_window_extent(text, renderer)


def _box_around(centre: Any, size: float) -> Bbox:
    (x, y), half = centre, size / 2
    return Bbox.from_extents(x - half, y - half, x + half, y + half)
