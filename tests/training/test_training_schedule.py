"""Budgets, cadences, learning rates and the moving average, against values worked out by hand."""

import itertools
import math

import pytest
import torch
from torch import nn

from audioflow.training.ema import averaged
from audioflow.training.schedule import Budget, Cadence, LearningRate


def test_a_budget_ends_at_whichever_comes_first():
    assert Budget(steps=10).progress(4, 1e9) == 0.4
    assert Budget(seconds=60).progress(10**9, 45) == 0.75
    assert Budget(steps=10, seconds=60).progress(4, 45) == 0.75
    assert Budget(steps=10, seconds=60).progress(10, 45) == 1.0


@pytest.mark.parametrize(("text", "cadence"), [
    ("500", Cadence(steps=500)), (7, Cadence(steps=7)), ("30s", Cadence(seconds=30)), ("1.5h", Cadence(seconds=5400)),
])  # fmt: skip
def test_cadences_are_read(text, cadence):
    assert Cadence.parse(text) == cadence


@pytest.mark.parametrize("text", ["", "0", "-5", "0s", "5 days", "1.5", "m"])
def test_bad_cadences_are_refused(text):
    with pytest.raises(ValueError, match="number of steps"):
        Cadence.parse(text)


def test_something_is_due_once_an_interval():
    every = Cadence(steps=3)
    assert [step for step in range(1, 10) if every.due((step - 1, 0.0), (step, 0.0))] == [3, 6, 9]
    seconds = [0.0, 4.0, 11.0, 12.0, 35.0, 39.9, 40.0]
    every = Cadence(seconds=10)
    assert [b for a, b in itertools.pairwise(seconds) if every.due((0, a), (0, b))] == [11.0, 35.0, 40.0]


def test_the_cosine_falls_from_the_peak_to_its_end():
    rate = LearningRate(2.0, schedule="cosine", final_ratio=0.1)
    values = [rate.at(100, progress) for progress in (0.0, 0.25, 0.5, 1.0, 1.7)]
    expected = [2.0, 2 * (0.1 + 0.9 * (2 + math.sqrt(2)) / 4), 1.1, 0.2, 0.2]
    assert values == pytest.approx(expected)


def test_warm_up_is_linear_and_multiplies():
    rate = LearningRate(1.0, warmup_steps=4, schedule="halving", halving_steps=2)
    assert [rate.at(step, 0) for step in range(6)] == [0.25, 0.5, 0.375, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9])
def test_the_average_follows_the_recursion(decay):
    model = nn.Linear(1, 1, bias=False).double()
    model.register_buffer("count", torch.zeros(()))
    average = averaged(model, decay)
    expected, values = None, [5.0, -1.0, 2.0, 8.0, 3.0]
    for updates, value in enumerate(values):
        with torch.no_grad():
            model.weight.fill_(value)
            model.count.fill_(value)
        average.update_parameters(model)
        keep = min(decay, (1 + updates) / (10 + updates))
        expected = value if expected is None else keep * expected + (1 - keep) * value
        assert float(average.module.weight) == pytest.approx(expected, rel=1e-12)
        assert float(average.module.count) == value


def test_a_long_average_is_slow_not_fast():
    model = nn.Linear(1, 1, bias=False)
    average = averaged(model, 0.999)
    for _ in range(3):
        with torch.no_grad():
            model.weight.fill_(0.0)
        average.update_parameters(model)
    average.n_averaged.fill_(10**6)  # long past the warm-up
    with torch.no_grad():
        model.weight.fill_(1.0)
    average.update_parameters(model)
    assert float(average.module.weight) == pytest.approx(0.001, rel=1e-4)
