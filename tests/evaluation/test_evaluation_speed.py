import pytest

from audioflow.evaluation import speed
from audioflow.evaluation.speed import Timing, measure, pooled_timing


def test_rates_follow_from_seconds_and_samples():
    timing = Timing(seconds=2.0, samples=48_000, sample_rate=16_000)
    assert timing.samples_per_second == 24_000
    assert timing.times_real_time == 1.5


@pytest.fixture
def clock(monkeypatch):
    """A clock that the timed function moves on by what ``steps`` says."""
    now = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    steps = iter([5.0, 1.0, 3.0])

    def work():
        now[0] += next(steps)
        return now[0]

    return work


def test_the_median_of_the_runs_is_given_with_the_last_result(clock):
    timing, result = measure(clock, 16_000, 16_000, runs=3)
    assert (timing.seconds, timing.runs, result) == (3.0, 3, 9.0)


def test_no_run_begins_after_the_budget(clock):
    timing, _ = measure(clock, 16_000, 16_000, runs=3, budget_seconds=5.5)
    assert (timing.seconds, timing.runs) == (3.0, 2)


def test_the_warm_up_is_not_timed(clock):
    timing, _ = measure(clock, 16_000, 16_000, runs=1, warm_up=clock)
    assert timing.seconds == 1.0


def test_only_the_first_piece_is_waited_for(clock):
    asked = []

    def pieces():
        for number in range(3):
            asked.append(number)
            yield clock()

    assert speed.seconds_to_first(pieces, runs=2) == 2.0  # 1 and 3, after a run of 5 that is not timed
    assert asked == [0, 0, 0]


def test_pooling_sums_seconds_and_samples():
    both = pooled_timing([Timing(1.0, 100, 8000, 3), Timing(3.0, 700, 8000, 1)])
    assert (both.seconds, both.samples_per_second, both.runs) == (4.0, 200, 1)
