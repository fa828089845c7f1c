import pytest
import torch

from audioflow.evaluation.ceiling import Ceiling, measure_ceiling


def test_the_share_is_of_the_better_of_the_engines_precision_and_float32():
    ceiling = Ceiling({torch.float32: 4e9, torch.bfloat16: 16e9}, copied_bytes=1e9)
    assert ceiling.share("parallel", 1000.0, 2e6) == pytest.approx(0.5)
    assert ceiling.share("parallel-bf16", 1000.0, 2e6) == pytest.approx(0.125)
    slow = Ceiling({torch.float32: 4e9, torch.bfloat16: 1e9}, copied_bytes=1e9)
    assert slow.share("parallel-bf16", 1000.0, 2e6) == pytest.approx(0.5)
    assert ceiling.facts() == {
        "Ceiling, float32": "4 G multiply-accumulates/s",
        "Ceiling, bfloat16": "16 G multiply-accumulates/s",
        "Ceiling, copying": "1.0 GB/s",
    }


def test_every_precision_that_is_asked_for_is_measured():
    found = measure_ceiling("cpu", ["cpu-int16", "parallel-bf16"])
    assert list(found.multiply_accumulates) == [torch.float32, torch.bfloat16]
    assert all(rate > 1e8 for rate in (*found.multiply_accumulates.values(), found.copied_bytes))
