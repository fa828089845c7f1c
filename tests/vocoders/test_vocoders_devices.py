"""The same model gives the same figures and the same sound on every device there is; CUDA where there is one."""

import pytest
import torch
from laws.models import make_vocoder

from audioflow.nets.masks import full_precision

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"))
MODELS = ["wavenet-gaussian-kernel-3", "wavenet-logistic_mixture-kernel-2", "wavenet-mu_law-kernel-2", "glow"]


def material(vocoder):
    """Two utterances of unequal length: wav, mel, lengths, float32 on the CPU."""
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(2, vocoder.contract.n_mels, 12, generator=generator) - 4
    wav = 0.05 * torch.randn(2, 12 * vocoder.contract.hop_length, generator=generator)
    return wav, mel, torch.tensor([12, 9])


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("name", MODELS)
def test_likelihood_and_sound_are_those_of_the_cpu(name, device):
    vocoder = make_vocoder(name).float()
    wav, mel, lengths = material(vocoder)
    with torch.no_grad():
        nats, sound = vocoder.log_prob(wav, mel, lengths), vocoder.synthesize(mel, lengths, seed=3)
        vocoder.to(device)
        there = vocoder.log_prob(wav.to(device), mel.to(device), lengths)
        made = vocoder.synthesize(mel.to(device), lengths, seed=3)
    assert there.device.type == made.device.type == device
    torch.testing.assert_close(there.cpu(), nats, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(made.cpu(), sound, rtol=0, atol=1e-3)


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_engines_agree_on_every_device(device):
    vocoder = make_vocoder("wavenet-gaussian-kernel-2").float().to(device)
    _, mel, lengths = material(vocoder)
    cached, naive = (vocoder.synthesize(mel.to(device), lengths, engine=engine) for engine in ("cached", "naive"))
    torch.testing.assert_close(cached, naive, rtol=0, atol=1e-4)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_finite_under_autocast(name, device):
    vocoder = make_vocoder(name).float().to(device)
    wav, mel, lengths = material(vocoder)
    with torch.autocast(device, dtype=torch.bfloat16):
        nats = vocoder.log_prob(wav.to(device), mel.to(device), lengths)
    assert nats.dtype == torch.float32
    nats.sum().backward()
    gradients = [parameter.grad for parameter in vocoder.parameters() if parameter.grad is not None]
    assert gradients and all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_audio_path_knows_no_tf32():
    x, weight = torch.randn(1, 64, 256, device="cuda"), torch.randn(64, 64, 3, device="cuda")
    with full_precision(x):
        assert not torch.backends.cudnn.allow_tf32
        y = torch.nn.functional.conv1d(x, weight)
    exact = torch.nn.functional.conv1d(x.double(), weight.double())
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-4)
