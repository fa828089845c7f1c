"""PESQ, STOI, pitch and voicing of noisy speech, and what is said where a package is missing."""

import importlib.util
import math

import pytest
import torch

from audioflow.errors import OptionError
from audioflow.evaluation import hearing as module
from audioflow.evaluation.hearing import hearing


def test_more_noise_is_worse_in_all_of_them(speech):
    reference = speech[: 2 * 16_000]
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    same, little, much = (hearing(reference, reference + level * noise, 16_000) for level in (0.0, 0.003, 0.05))
    assert same["pesq"] == pytest.approx(4.644, abs=0.01)
    assert (same["f0_cents"], same["voicing_error"]) == (0, 0)
    assert same["pesq"] > little["pesq"] > much["pesq"]
    assert same["stoi"] > little["stoi"] > much["stoi"]
    assert same["voicing_error"] < much["voicing_error"]


def test_other_rates_are_resampled(speech):
    from audioflow.audio import resample

    wav = resample(speech[None, :32_000], 16_000, 22_050)[0]
    assert hearing(wav, wav, 22_050)["pesq"] == pytest.approx(4.644, abs=0.01)


def test_silence_has_no_pesq(speech):
    found = hearing(speech[:16_000], torch.zeros(16_000), 16_000)
    assert math.isnan(found["pesq"])


def test_a_missing_package_is_named(monkeypatch, speech):
    whole = importlib.util.find_spec
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == "pesq" else whole(name))
    with pytest.raises(OptionError, match=r"pesq must be installed for this: pip install"):
        hearing(speech[:16_000], speech[:16_000], 16_000)
