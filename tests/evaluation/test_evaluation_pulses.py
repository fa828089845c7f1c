"""The training-free signal: its pitch is the mel's, its source is white, and it is there for every mel."""

import math

import pytest
import torch

from audioflow.audio import PRESETS, MelFrontEnd, resample
from audioflow.evaluation.metrics import mel_distance
from audioflow.evaluation.pitch import pitch_errors
from audioflow.evaluation.pulses import excitation, pulses
from audioflow.sampling import utterance_noise

RATE = 16_000


def tone(hertz, seconds=1.0, rate=RATE):
    """A voice of 20 harmonics whose pitch is constant or given sample by sample."""
    hertz = torch.as_tensor(hertz, dtype=torch.float64).expand(round(seconds * rate))
    phase = 2 * math.pi * torch.cumsum(hertz / rate, dim=0)
    return 0.02 * sum(torch.cos(harmonic * phase) for harmonic in range(1, 21))


def test_the_source_is_white_and_of_unit_power():
    track = torch.full((301,), 110.0, dtype=torch.float64)
    noise = utterance_noise(0, 1, 3 * RATE)[0]
    source = excitation(track, noise, RATE)
    power = torch.fft.rfft(source).abs().square() / (len(source) / 2)
    bands = [float(band.sum()) for band in power[: len(power) // 8 * 8].view(8, -1)]
    assert sum(bands) / len(source) == pytest.approx(1, rel=0.05)
    assert all(band == pytest.approx(sum(bands) / 8, rel=0.15) for band in bands)
    quiet = track.clone()
    quiet[100:] = math.nan
    mixed = excitation(quiet, noise, RATE)
    assert torch.equal(mixed[RATE + 200 :], noise[RATE + 200 :])
    assert not torch.equal(mixed[: RATE - 200], noise[: RATE - 200])
    assert torch.equal(excitation(torch.full((4,), math.nan), noise[:600], RATE), noise[:600])


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_its_pulses(preset, speech):
    contract = PRESETS[preset]
    wav = resample(speech[None, :8000], RATE, contract.sample_rate)[0]
    wav = wav[: len(wav) // contract.hop_length * contract.hop_length]
    front_end = MelFrontEnd(contract)
    made = pulses(front_end(wav[None])[0], contract)
    assert made.shape == wav.shape and made.dtype == torch.float32
    assert mel_distance(wav, made, front_end) < 0.15
    assert float(made.std()) == pytest.approx(float(wav.std()), rel=0.25)


def test_its_pitch_and_voicing_are_those_of_the_recording(speech, contract):
    mel = MelFrontEnd(contract)(speech[None])[0]
    rough, made = (pulses(mel, contract, rounds) for rounds in (0, 24))
    errors = pitch_errors(speech, made, RATE)
    assert errors.f0_rmse_cents < 60 and errors.voicing_error < 0.15
    front_end = MelFrontEnd(contract)
    assert mel_distance(speech, made, front_end) < 0.3 * mel_distance(speech, rough, front_end)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("preset", ["speech-16k", "espnet-24k", "hifigan-22k"])
def test_odd_mels_make_sound_that_is_finite(preset):
    contract = PRESETS[preset]
    floor = MelFrontEnd(contract)(torch.zeros(1, 10 * contract.hop_length))[0]
    noise = torch.randn(contract.n_mels, 7, generator=torch.Generator().manual_seed(0))
    for mel in (floor[:, :1], floor, floor + 4, noise[:, :1], 3 * noise, noise[:, :2] + 20):
        made = pulses(mel, contract)
        assert made.shape == (mel.shape[1] * contract.hop_length,)
        assert torch.isfinite(made).all() and made.abs().max() <= 1
    assert float(pulses(floor, contract).std()) < 1e-4


def test_one_seed_is_one_sound(speech, contract):
    mel = MelFrontEnd(contract)(speech[None, :4000])[0]
    first, again, other = (pulses(mel, contract, rounds=1, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
