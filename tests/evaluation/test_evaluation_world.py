"""WORLD takes a recording apart and puts it together again, at every rate and of every length."""

import pytest
import torch

from audioflow.audio import resample
from audioflow.evaluation.metrics import multi_resolution_stft
from audioflow.evaluation.pitch import pitch_errors
from audioflow.evaluation.world import has_world, world

pytestmark = pytest.mark.skipif(not has_world(), reason="pyworld-prebuilt is not installed (audioflow[metrics])")


def test_speech_comes_out_as_it_went_in(speech):
    made = world(speech, 16_000)
    assert made.shape == speech.shape and made.dtype == torch.float32
    errors = pitch_errors(speech, made, 16_000)
    assert errors.f0_rmse_cents < 60 and errors.voicing_error < 0.15
    assert multi_resolution_stft(speech, made) < 1.5


@pytest.mark.parametrize("rate", [8000, 22_050, 24_000, 48_000])
def test_any_rate_will_do(rate, speech):
    wav = resample(speech[None, :8000], 16_000, rate)[0]
    made = world(wav, rate)
    assert made.shape == wav.shape
    assert float(made.std()) == pytest.approx(float(wav.std()), rel=0.3)


@pytest.mark.parametrize("samples", [1, 199, 1600])
def test_silence_and_short_recordings_will_do_too(samples):
    for wav in (torch.zeros(samples), 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))):
        made = world(wav, 16_000)
        assert made.shape == (samples,)
        assert torch.isfinite(made).all() and made.abs().max() <= 1
