import math

import numpy as np
import pytest
import scipy.stats
import torch

from audioflow.audio import PRESETS, MelFrontEnd, resample
from audioflow.evaluation.baselines import (
    SMALLEST_SCALE,
    constant_gaussian_log_prob,
    energy_gaussian_log_prob,
    energy_gaussian_sample,
    envelope_gaussian_log_prob,
    griffin_lim,
)
from audioflow.evaluation.metrics import distances, mel_distance
from audioflow.flows import Front


@pytest.mark.parametrize("preset", ["speech-16k", "nvidia-16k"])
def test_griffin_lim_is_nearer_than_noise_of_the_same_energies(preset, speech):
    contract = PRESETS[preset]
    front_end = MelFrontEnd(contract)
    made = griffin_lim(front_end(speech[None])[0], contract)
    assert made.shape == speech.shape
    noise = energy_gaussian_sample(speech, contract.hop_length)
    near, far = distances(speech, made, front_end), distances(speech, noise, front_end)
    assert all(near[name] < 0.6 * far[name] for name in near), (near, far)


@pytest.mark.parametrize("preset", ["hifigan-22k", "vocos-24k", "espnet-24k"])
def test_griffin_lim_undoes_every_compression_and_framing(preset, speech):
    contract = PRESETS[preset]
    wav = resample(speech[:8000], 16_000, contract.sample_rate)
    front_end = MelFrontEnd(contract)
    made = griffin_lim(front_end(wav[None])[0], contract, iterations=16)
    assert made.shape[0] % contract.hop_length == 0
    assert 0 <= made.shape[0] - wav.shape[0] < contract.hop_length
    made = made[: wav.shape[0]]
    assert made.square().mean() == pytest.approx(float(wav.square().mean()), rel=0.3)
    assert mel_distance(wav, made, front_end) < 0.5


@pytest.mark.parametrize("preset", ["speech-16k", "hifigan-22k"])
def test_griffin_lim_puts_a_click_where_it_was(preset):
    contract = PRESETS[preset]
    wav = torch.zeros(40 * contract.hop_length)
    place = 20 * contract.hop_length + 37
    wav[place] = 0.9
    made = griffin_lim(MelFrontEnd(contract)(wav[None])[0], contract)
    centre = float((made.square() * torch.arange(len(made))).sum() / made.square().sum())
    assert abs(centre - place) < contract.hop_length / 4


def test_griffin_lim_is_the_same_for_the_same_seed(speech, contract):
    mel = MelFrontEnd(contract)(speech[None, :4000])[0]
    first, again, other = (griffin_lim(mel, contract, iterations=2, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_energy_gaussian_equals_scipy(speech):
    wav = speech[:1050].double().numpy()  # the last frame is not whole
    total = 0.0
    for start in range(0, len(wav), 200):
        frame = wav[start : start + 200]
        scale = max(math.sqrt(np.mean(frame**2)), SMALLEST_SCALE)
        total += scipy.stats.norm.logpdf(frame, scale=scale).sum()
    assert energy_gaussian_log_prob(speech[:1050], 200) == pytest.approx(total / 1050, rel=1e-9)


def test_constant_gaussian_equals_scipy(speech):
    wav = speech.double().numpy()
    expected = scipy.stats.norm.logpdf(wav, scale=np.sqrt(np.mean(wav**2))).mean()
    assert constant_gaussian_log_prob(speech) == pytest.approx(expected, rel=1e-9)


def test_knowing_the_energies_helps(speech):
    assert energy_gaussian_log_prob(speech, 200) > constant_gaussian_log_prob(speech)


def test_digital_silence_has_a_finite_density():
    expected = scipy.stats.norm.logpdf(0.0, scale=2**-15 / math.sqrt(12))
    assert energy_gaussian_log_prob(torch.zeros(400), 200) == pytest.approx(expected)


def test_energy_gaussian_sample_has_the_energies(speech):
    made = energy_gaussian_sample(speech, 800, seed=5)
    assert torch.equal(made, energy_gaussian_sample(speech, 800, seed=5))
    ratio = made.view(-1, 800).square().mean(-1) / speech.view(-1, 800).square().mean(-1)
    assert (ratio - 1).abs().max() < 0.3  # 800 squares of normals: standard deviation 0.05


@pytest.mark.parametrize("preset", ["speech-16k", "nvidia-16k"])
def test_the_gaussian_of_the_envelope_is_the_density_of_filtered_noise(preset, speech):
    contract = PRESETS[preset]
    wav = speech[: 4 * contract.hop_length].double()
    mel = MelFrontEnd(contract)(wav[None].float())[0]
    front = Front(contract, 32)
    # Each column is what one sample of excitation becomes.
    unit = torch.eye(len(wav), dtype=torch.float64)[:, None]
    columns = torch.cat([front.sound(one[None], front.filter(mel[None]))[0][0] for one in unit]).T.double().numpy()
    excitation = np.linalg.solve(columns, wav.numpy())
    covariance = columns @ columns.T * np.mean(excitation**2)
    wanted = scipy.stats.multivariate_normal(np.zeros(len(wav)), covariance, allow_singular=True).logpdf(wav.numpy())
    assert envelope_gaussian_log_prob(wav, mel, contract) == pytest.approx(wanted / len(wav), abs=1e-5)


def test_the_envelope_says_more_than_the_energy(speech):
    contract = PRESETS["speech-16k"]
    mel = MelFrontEnd(contract)(speech[None])[0]
    wav = speech[: mel.shape[1] * contract.hop_length]
    assert envelope_gaussian_log_prob(wav, mel, contract) > energy_gaussian_log_prob(wav, contract.hop_length) + 1
