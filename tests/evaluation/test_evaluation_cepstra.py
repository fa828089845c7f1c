import math

import numpy as np
import pytest
import torch

from audioflow.evaluation.cepstra import COEFFICIENTS, cepstra, coded_envelope, mel_cepstral_distortion
from audioflow.evaluation.world import has_world

pytestmark = pytest.mark.skipif(not has_world(), reason="pyworld is not installed")
RATE = 16_000


def ripple(number, amplitude):
    """Power spectrum whose log-magnitude is a cosine over WORLD's mel scale, which begins at 40 Hz; ``[2, 513]``."""
    mels = 1127.01048 * np.log(np.linspace(0, RATE / 2, 513) / 700 + 1)
    first, last = 1127.01048 * np.log(40 / 700 + 1), mels[-1]
    place = np.clip((mels - first) / (last - first), 0, 1)
    return np.exp(2 * amplitude * np.cos(math.pi * number * place))[None].repeat(2, axis=0)


@pytest.mark.parametrize("number", [1, 3, 7])
def test_coefficients_are_those_of_the_log_magnitude_over_mel(number):
    found = coded_envelope(ripple(number, 0.5), RATE)[0]
    assert found.shape == (COEFFICIENTS,)
    assert found[number - 1] == pytest.approx(0.5, abs=0.01)
    assert np.abs(np.delete(found, number - 1)).max() < 0.02


def test_it_is_the_difference_in_decibels(speech):
    assert mel_cepstral_distortion(speech, speech, RATE) == 0
    # Loudness alone is in the coefficient that is left out; WORLD's floor makes the rest of the difference.
    assert mel_cepstral_distortion(speech, 0.5 * speech, RATE) < 0.1
    noise = torch.randn(speech.shape, generator=torch.Generator().manual_seed(0))
    little, much = (mel_cepstral_distortion(speech, speech + level * noise, RATE) for level in (0.001, 0.02))
    assert 0 < little < much < 30
    both = cepstra(speech, RATE) - cepstra(speech + 0.02 * noise, RATE)
    assert much == pytest.approx(np.mean([20 / math.log(10) * math.sqrt((row**2).sum() / 2) for row in both]))
