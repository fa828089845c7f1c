"""Every engine makes the same audio of the same noise: the naive one is the specification."""

import copy

import pytest
import torch
from laws.models import WAVENETS, make_vocoder

from audioflow.audio import emphasize
from audioflow.nets.conditioning import Conditioning
from audioflow.sampling import CUDA_ENGINES, ENGINES, sample_cached, sample_naive
from audioflow.sampling import autoregressive as engines

STEPS = 45


def material(vocoder, batch=3):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(batch, vocoder.config["cond_channels"], STEPS, dtype=torch.float64, generator=generator)
    level = torch.randn(batch, 1, STEPS, dtype=torch.float64, generator=generator) - 3
    noise = torch.randn(batch, vocoder.noise_channels, STEPS, dtype=torch.float64, generator=generator)
    numbers = torch.tensor([1, 0, 1]) if vocoder.config["speakers"] else None
    return Conditioning(features), level, noise, vocoder._voices(numbers, batch)


@pytest.mark.parametrize(
    "name", [*WAVENETS, "wavenet-front-3", "wavenet-no-linear", "wavenet-linear-2-front-3", "wavenet-one-hot"]
)
@pytest.mark.parametrize("block", [400, 7], ids=["one-block", "many-blocks"])
@pytest.mark.parametrize("rate", ["samples", "frames"])
def test_cached_is_naive_sample_for_sample(name, block, rate, monkeypatch):
    monkeypatch.setattr(engines, "BLOCK", block)
    vocoder = make_vocoder(name)
    cond, level, noise, speaker = material(vocoder)
    if rate == "frames":
        features = cond.features
        cond = Conditioning(features[..., : STEPS // 3], features[0, :3, :3].clone(), features[..., :1])
    naive = sample_naive(vocoder.network, vocoder.law, cond, level, noise, speaker=speaker)
    cached = sample_cached(vocoder.network, vocoder.law, cond, level, noise, speaker=speaker)
    assert naive.unique().numel() > STEPS, "the samples hardly differ: nothing is shown"
    torch.testing.assert_close(cached, naive, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", ["wavenet-gaussian-kernel-2", "wavenet-mu_law-kernel-3"])
def test_each_sample_is_drawn_from_the_law_that_scoring_gives_it(name):
    vocoder = make_vocoder(name)
    cond, level, noise, _ = material(vocoder)
    x = sample_cached(vocoder.network, vocoder.law, cond, level, noise)
    with torch.inference_mode():
        outputs = vocoder.network(vocoder.law.network_input(x, level), vocoder.network.project(cond))
        again = vocoder.law.sample(vocoder.law.at_level(outputs, level), noise).clamp(-1, 1)
    torch.testing.assert_close(again, x, atol=1e-10, rtol=0)


@pytest.mark.parametrize("engine", [name for name in ENGINES if name not in CUDA_ENGINES])
def test_progress_counts_every_sample_once(engine):
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    cond, level, noise, _ = material(vocoder)
    done = []
    ENGINES[engine](vocoder.network, vocoder.law, cond, level, noise, progress=done.append)
    assert sum(done) == STEPS


@pytest.mark.parametrize("preemphasis", [0.0, 0.9])
def test_samples_stay_within_full_scale(preemphasis):
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    cond, level, noise, _ = material(vocoder)
    made = [
        engine(vocoder.network, vocoder.law, cond, level, 1e3 * noise, preemphasis=preemphasis)
        for engine in (sample_naive, sample_cached, ENGINES["cpu"])
    ]
    assert [x.abs().max() for x in made] == [1, 1, 1]
    torch.testing.assert_close(made[0], made[1], atol=1e-10, rtol=0)
    torch.testing.assert_close(made[0], made[2], atol=1e-4, rtol=0)


def test_with_preemphasis_the_network_sees_filtered_audio():
    vocoder = make_vocoder("wavenet-gaussian-kernel-2")
    cond, level, noise, _ = material(vocoder)
    x = sample_cached(vocoder.network, vocoder.law, cond, level, 0.1 * noise, preemphasis=0.9)
    assert x.abs().max() < 1, "a clamped sample is no filtered one"
    plain = sample_cached(vocoder.network, vocoder.law, cond, level, 0.1 * noise)
    torch.testing.assert_close(emphasize(x, 0.9), plain, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kernel_size", [2, 3])
@torch.no_grad()
def test_state_continues_where_it_stopped(kernel_size):
    network = make_vocoder(f"wavenet-gaussian-kernel-{kernel_size}").network
    x = torch.randn(2, 1, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = network.init_state(2), network.init_state(2)
    for t in range(20):
        if t == 9:  # a copy of the whole state is all that the rest needs
            second = copy.deepcopy(first)
        out, first = network.step(first, x[..., t], None)
        if t >= 9:
            copied, second = network.step(second, x[..., t], None)
            assert torch.equal(copied, out)
