import math

import numpy as np
import pytest

from audioflow.evaluation.intervals import estimate


def test_the_interval_is_that_of_a_normal_mean_for_many_values():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    found = estimate(list(values))
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / math.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)
    assert found.margin == pytest.approx(half, abs=0.02)


def test_it_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(2)
    found = [estimate(list(generator.normal(0.0, 1.0, 30))) for _ in range(200)]
    assert 0.88 < np.mean([one.low <= 0 <= one.high for one in found]) <= 1.0


def test_weights_count():
    found = estimate([1.0, 2.0, 4.0], [1, 1, 2])
    assert found.mean == pytest.approx(11 / 4)
    assert 1 <= found.low < found.mean < found.high <= 4


def test_what_is_no_number_is_left_out():
    found = estimate([1.0, math.nan, 3.0, math.inf])
    assert (found.mean, found.count) == (2.0, 2)


def test_one_value_has_no_interval_and_none_no_mean():
    assert (estimate([2.0]).mean, estimate([2.0]).count) == (2.0, 1)
    assert math.isnan(estimate([2.0]).low)
    assert math.isnan(estimate([math.nan]).mean) and estimate([]).count == 0


def test_the_same_values_have_the_same_interval():
    assert estimate([1.0, 2.0, 5.0]) == estimate([1.0, 2.0, 5.0])
