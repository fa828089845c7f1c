"""The plots: every model and engine has a point where its figures say, and a name that covers nothing else."""

import itertools
import json
import math

import pytest
import torch
from matplotlib.text import Text

from audioflow.evaluation.charts import Speed, quality_figure, speed_figure
from audioflow.evaluation.likelihood import LogLikelihood
from audioflow.evaluation.results import Comparison, Row
from audioflow.evaluation.speed import Timing

SPEEDS = {("net", "cpu"): 40.0, ("net", "cpu-int16"): 44.0, ("net", "cached"): 0.2, ("flow", "parallel"): 41.0}


def row(label, engine="-", speed=None, nats=None, m_stft=None, match_mel=0):
    timing = None if speed is None else Timing(1.0, round(16_000 * speed), 16_000)
    likelihood = None if nats is None else LogLikelihood(nats, 1, True)
    distances = {} if m_stft is None else {"m_stft": m_stft}
    figures = {"timing": timing, "likelihood": likelihood, "distances": distances, "match_mel": match_mel}
    return Row(label, engine, {"it": torch.zeros(1)}, **figures)


def compared(*rows):
    return Comparison(list(rows), 16_000, 0, 1.0, True, {})


@pytest.fixture
def comparison():
    models = [row(*name, speed, nats=4.5, m_stft=1.5) for name, speed in SPEEDS.items()]
    others = [row("net", "naive", 0.01, nats=4.5), row("Griffin-Lim", "-", 2.0, m_stft=0.9)]
    return compared(row("recording", m_stft=0.0), *models, *others, row("noise", nats=2.6, m_stft=4.0))


def points(axes):
    return sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines if markers(line))


def markers(line):
    return line.get_marker() == "o"


def test_each_model_and_engine_has_a_point_where_it_belongs(comparison):
    distance, nats = quality_figure(comparison).axes
    speeds = sorted(SPEEDS.values())
    assert points(distance) == sorted([*((speed, 1.5) for speed in speeds), (2.0, 0.9)])
    assert points(nats) == [(0.01, 4.5), *((speed, 4.5) for speed in speeds)]
    for axes in (distance, nats):
        assert axes.get_xscale() == "log"
        assert "times real time" in axes.get_xlabel()
    assert "M-STFT" in distance.get_ylabel() and "nats per sample" in nats.get_ylabel()


def test_what_has_no_speed_is_a_line_across(comparison):
    distance, nats = quality_figure(comparison).axes
    lines = [
        {float(line.get_ydata()[0]) for line in axes.lines if line.get_linestyle() == "--"} for axes in (distance, nats)
    ]
    assert lines == [{0.0, 4.0}, {2.6}]


def test_names_are_there_and_cover_nothing(comparison):
    figure = quality_figure(comparison)
    figure.draw_without_rendering()
    wanted = {*(", ".join(name) for name in SPEEDS), "Griffin-Lim", "recording", "noise"}
    assert {text.get_text() for text in figure.axes[0].texts} == wanted
    for axes in figure.axes:
        boxes = [Text.get_window_extent(text) for text in axes.texts]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        for point in points(axes):
            assert not any(box.contains(*axes.transData.transform(point)) for box in boxes)
        assert all(figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1) for box in boxes)


def test_matched_audio_is_a_hollow_point_in_its_models_colour():
    rows = row("net", "cpu", 40.0, nats=4.5, m_stft=1.5), row("net", "cpu, matched 8", 10.0, m_stft=0.8, match_mel=8)
    distance, nats = quality_figure(compared(*rows)).axes
    assert points(distance) == [(10.0, 0.8), (40.0, 1.5)] and points(nats) == [(40.0, 4.5)]
    plain, hollow = (line for line in distance.lines if markers(line))
    assert plain.get_markerfacecolor() == plain.get_color() == hollow.get_markeredgecolor()
    assert hollow.get_markerfacecolor() == "none" and hollow.get_markeredgewidth() > 0
    assert "net, cpu, matched 8" in {text.get_text() for text in distance.texts}


def test_a_panel_without_points_is_left_out():
    only = compared(row("recording", m_stft=0.0), row("it", "parallel", 3.0, m_stft=1.0))
    assert len(quality_figure(only).axes) == 1
    assert quality_figure(compared(row("recording", m_stft=0.0))) is None
    assert quality_figure(compared(row("it", "parallel", 3.0, m_stft=math.nan))) is None


def test_speeds_are_drawn_for_each_batch_and_length():
    cases = list(itertools.product([1, 16], [1.0, 10.0]))
    speeds = [Speed(*name, *case, speed * case[0]) for name, speed in SPEEDS.items() for case in cases]
    figure = speed_figure(speeds)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [", ".join(name) for name in SPEEDS]
    drawn = {(float(x), float(y)) for dots in axes.collections for x, y in dots.get_offsets()}
    assert drawn == {(one.times_real_time, list(SPEEDS).index((one.model, one.engine))) for one in speeds}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"batch {b}, {s:g} s each" for b, s in cases]
    looks = {(tuple(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes()) for dots in axes.collections}
    assert len(looks) == 4


def test_figures_that_are_no_numbers_are_null_in_json(comparison):
    odd = compared(*comparison.rows, row("odd", "parallel", 3.0, m_stft=math.inf))
    assert json.loads(odd.to_json())["rows"][-1]["m_stft"] is None
