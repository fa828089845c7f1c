"""Peak memory: what is allocated within is seen, what came before is not."""

import sys

import pytest
import torch

from audioflow.evaluation import memory
from audioflow.evaluation.memory import peak_memory

MEGABYTE = 1_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets its peak")


def touched(megabytes):
    return torch.ones(megabytes * MEGABYTE // 4)


@linux
def test_an_allocation_is_seen_although_it_is_freed_again():
    peak, total = peak_memory(lambda: float(touched(200).sum()))
    assert total == 50 * MEGABYTE
    assert 195 * MEGABYTE < peak < 230 * MEGABYTE


@linux
@pytest.mark.parametrize("freed", [True, False])
def test_an_earlier_allocation_is_not_seen(freed):
    earlier = touched(200)
    if freed:
        del earlier
    peak, _ = peak_memory(lambda: touched(20))
    assert 15 * MEGABYTE < peak < 50 * MEGABYTE


@linux
def test_memory_that_was_freed_before_does_not_hide_what_is_taken():
    kept = [torch.ones(2000) for _ in range(20_000)]  # too small to be given back one by one
    del kept
    peak, _ = peak_memory(lambda: [torch.ones(2000) for _ in range(20_000)])
    assert 155 * MEGABYTE < peak < 260 * MEGABYTE


@pytest.fixture
def only_the_highest(monkeypatch, tmp_path):
    """A system that tells nothing but the highest amount since the process began."""
    monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path / "none" / "clear_refs")
    told = iter([300, 500, 500, 500])
    monkeypatch.setattr(memory, "_highest_since_start", lambda: next(told) * MEGABYTE)


def test_elsewhere_the_rise_of_the_highest_amount_is_given_or_nothing(only_the_highest):
    assert peak_memory(lambda: "made") == (200 * MEGABYTE, "made")
    assert peak_memory(lambda: "made") == (None, "made")


def test_the_highest_amount_is_in_bytes():
    held = touched(40)
    assert memory._highest_since_start() > held.nbytes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_on_a_gpu_are_seen():
    earlier = torch.ones(50 * MEGABYTE, device="cuda")
    peak, _ = peak_memory(lambda: float(torch.ones(25 * MEGABYTE, device="cuda").sum()), "cuda")
    assert 100 * MEGABYTE <= peak < 110 * MEGABYTE
    assert earlier.sum() == 50 * MEGABYTE
