"""Pitch and periodicity of tones and noise."""

import math

import numpy as np
import pytest
import torch

from audioflow.evaluation.tracking import best_path, normalised_correlation, pitch_track
from audioflow.sampling import utterance_noise

RATE = 16_000


def tone(hertz, seconds=1.0, rate=RATE):
    """A voice of 20 harmonics whose pitch is constant or given sample by sample."""
    hertz = torch.as_tensor(hertz, dtype=torch.float64).expand(round(seconds * rate))
    phase = 2 * math.pi * torch.cumsum(hertz / rate, dim=0)
    return 0.02 * sum(torch.cos(harmonic * phase) for harmonic in range(1, 21))


@pytest.mark.parametrize(("hertz", "rate"), [(80.0, RATE), (123.4, RATE), (220.0, 22_050), (400.0, 24_000)])
def test_the_pitch_of_a_tone_is_found_at_every_rate(hertz, rate):
    track = pitch_track(tone(hertz, rate=rate), rate).hertz
    assert len(track) == 101
    inside = track[5:-5]
    assert (1200 * torch.log2(inside / hertz)).abs().max() < 5


def test_a_gliding_pitch_is_followed():
    hertz = torch.linspace(100, 200, RATE)
    found = pitch_track(tone(hertz), RATE).hertz[10:-10]
    assert (1200 * torch.log2(found / hertz[:: RATE // 100][10:91])).abs().max() < 30


@pytest.mark.parametrize("wav", [torch.zeros(RATE), 0.1 * utterance_noise(0, 1, RATE)[0], 1e-5 * tone(100.0)])
def test_silence_and_noise_have_no_pitch(wav):
    assert torch.isfinite(pitch_track(wav, RATE).hertz).float().mean() < 0.05


def test_a_normalised_correlation_is_one_of_numpy():
    wav = utterance_noise(3, 1, 4000)[0]
    found = normalised_correlation(wav, RATE, 32, 267)
    assert found.shape == (26, 236)
    start = 10 * 160 - (640 + 267) // 2
    first, second = (wav[start + lag : start + lag + 640].numpy() for lag in (0, 100))
    wanted = np.dot(first, second) / np.linalg.norm(first) / np.linalg.norm(second)
    assert float(found[10, 100 - 32]) == pytest.approx(wanted, rel=1e-3)


def test_the_best_path_passes_over_one_bad_frame():
    octaves = np.log2([[100.0, 200.0]] * 5)
    scores = np.array([[0.9, 0.5], [0.9, 0.5], [0.6, 0.7], [0.9, 0.5], [0.9, 0.5]])
    assert best_path(octaves, scores).tolist() == [0] * 5
    assert best_path(octaves, scores - 0.6).tolist() == [2] * 5  # unvoiced


def test_periodicity_is_the_share_of_what_repeats():
    steady, noise = tone(160.0), utterance_noise(0, 1, RATE)[0].double()
    found = [pitch_track(steady + level * noise, RATE) for level in (0.0, 0.03, 0.06)]
    assert found[0].periodicity[5:-5].min() > 0.999  # a period is a whole number of samples
    means = [float(one.periodicity[5:-5].mean()) for one in found]
    assert means[0] > means[1] > means[2]
    # A period and the one before share the tone, whose power is that of 20 cosines.
    power = 20 * 0.02**2 / 2
    assert means[1] == pytest.approx(power / (power + 0.03**2), abs=0.05)
    unvoiced = pitch_track(0.1 * noise, RATE)
    assert (unvoiced.periodicity[unvoiced.hertz.isnan()] == 0).all()
