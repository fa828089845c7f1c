"""Pitch and voicing errors of signals whose pitch is known."""

import math

import numpy as np
import pytest
import torch

from audioflow.evaluation.pitch import contour, pitch_errors

RATE = 16_000


def buzz(f0, seconds=0.5):
    """A tone of ten harmonics."""
    t = torch.arange(int(seconds * RATE), dtype=torch.float64) / RATE
    return sum(torch.sin(2 * math.pi * f0 * k * t) / k for k in range(1, 11)) / 4


def noise(seconds=0.5):
    return 0.1 * torch.randn(int(seconds * RATE), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_contour_of_a_tone():
    f0 = contour(buzz(150.0), RATE)
    assert np.nanmedian(f0) == pytest.approx(150, rel=0.01)


def test_a_semitone_is_a_hundred_cents():
    errors = pitch_errors(buzz(150.0), buzz(150.0 * 2 ** (1 / 12)), RATE)
    assert errors.f0_rmse_cents == pytest.approx(100, abs=12)
    assert errors.voicing_error < 0.05


def test_noise_is_not_voiced():
    errors = pitch_errors(torch.cat([buzz(150.0), noise()]), torch.cat([noise(), noise()]), RATE)
    assert 0.35 < errors.voicing_error < 0.65
    same = pitch_errors(buzz(120.0), buzz(120.0), RATE)
    assert (same.f0_rmse_cents, same.voicing_error) == (0, 0)
