"""NVIDIA's WaveGlow and what is made of it give the same audio, noise and likelihood."""

import math

import pytest
import torch
from peers import PUBLISHED, TINY, folded, glow, glow_old, infer, split_outputs, waveglow

from audioflow.audio import PRESETS
from audioflow.errors import CheckpointError, OptionError
from audioflow.flows.reshape import squeeze
from audioflow.imports import FORMATS, read_checkpoint, read_settings
from audioflow.sampling import batch_noise

FRAMES = 3
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def imported(saved, tmp_path, *settings, **how):
    """Save something by torch and import it."""
    path = tmp_path / "model.pt"
    torch.save(saved, path, **how)
    chosen = FORMATS["nvidia-waveglow"]
    return chosen.convert(read_checkpoint(path), read_settings(chosen.settings, settings, "nvidia-waveglow"))


def mel_and_noise(model, seed=5):
    mel = torch.randn(1, 80, FRAMES, generator=torch.Generator().manual_seed(1)) - 5
    noise = batch_noise(seed, 1, [256 * FRAMES], torch.float32, torch.device("cpu"))
    return mel, squeeze(noise, model.n_group)


def require_same(model, converted, monkeypatch):
    """The audio for the same noise, and the noise and likelihood of that audio."""
    mel, noise = mel_and_noise(model)
    theirs = infer(model, mel, noise, monkeypatch)
    ours = converted.vocoder.synthesize(mel, seed=5)
    torch.testing.assert_close(ours, theirs.clamp(-1, 1), **CLOSE)
    assert theirs.abs().amax() > 0.1


SAVED = {
    "state dict": lambda model: model.state_dict(),
    "state dict in a checkpoint": lambda model: {"state_dict": model.state_dict(), "epoch": 3},
    "state dict of several devices": lambda model: {f"module.{k}": v for k, v in model.state_dict().items()},
    "module": lambda model: {"model": model, "iteration": 3, "optimizer": {}, "learning_rate": 1e-4},
    "module without weight norm": lambda _: {"model": folded(waveglow())},
    "first layout": lambda _: split_outputs(waveglow()),
}


@pytest.mark.parametrize("how", ["zip", "legacy"])
@pytest.mark.parametrize("saved", SAVED)
def test_the_same_audio_from_every_way_of_saving(saved, how, tmp_path, monkeypatch):
    model = waveglow()
    converted = imported(SAVED[saved](model), tmp_path, _use_new_zipfile_serialization=how == "zip")
    require_same(model, converted, monkeypatch)


def test_the_same_likelihood(tmp_path):
    model = waveglow()
    mel, _ = mel_and_noise(model)
    wav = 0.3 * torch.randn(1, 256 * FRAMES)
    with torch.no_grad():
        z, log_scales, log_dets = model((mel, wav))
        theirs = -0.5 * z.square().sum() - 0.5 * math.log(2 * math.pi) * z.numel()
        theirs += sum(s.sum() for s in log_scales) + sum(log_dets)
        ours = imported(model.state_dict(), tmp_path).vocoder.log_prob(wav, mel)
    torch.testing.assert_close(ours[0], theirs, **CLOSE)


@pytest.mark.parametrize(
    "changes", [{"n_early_every": 4}, {"n_early_every": 9}, {"n_group": 4, "n_early_every": 4}, {"n_flows": 1}]
)
def test_the_architecture_is_read_from_the_shapes(changes, tmp_path, monkeypatch):
    model = waveglow({**TINY, **changes})
    require_same(model, imported(model.state_dict(), tmp_path), monkeypatch)


def test_half_precision_is_widened(tmp_path):
    vocoder = imported(waveglow().half().state_dict(), tmp_path).vocoder
    assert {parameter.dtype for parameter in vocoder.parameters()} == {torch.float32}


def test_the_audio_can_be_trained_further(tmp_path):
    vocoder = imported(waveglow().state_dict(), tmp_path).vocoder
    vocoder.log_prob(0.1 * torch.randn(1, 256), torch.zeros(1, 80, 1)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in vocoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("changes", [{}, {"n_early_every": 4, "n_flows": 9}])
def test_alternating_halves(changes, tmp_path, monkeypatch):
    model = waveglow({**TINY, "n_early_every": 4, **changes}, glow_old)
    require_same(model, imported(model.state_dict(), tmp_path, "halves=alternating"), monkeypatch)


@pytest.mark.parametrize("how", ["zip", "legacy"])
@pytest.mark.parametrize(("module", "halves"), [(glow, "fixed"), (glow_old, "alternating")])
def test_halves_are_told_from_the_class(module, halves, how, tmp_path):
    converted = imported({"model": waveglow(module=module)}, tmp_path, _use_new_zipfile_serialization=how == "zip")
    assert halves in converted.layout


@pytest.mark.slow
def test_the_published_size(tmp_path, monkeypatch):
    model = waveglow(PUBLISHED)
    converted = imported({"model": model}, tmp_path)
    assert converted.vocoder.contract == PRESETS["nvidia-22k"]
    require_same(model, converted, monkeypatch)


def change(state, **changes):
    return {**state, **{name.replace("__", "."): value for name, value in changes.items()}}


REFUSED = {
    "another model": (lambda s: {"layer.weight": torch.zeros(2)}, (), CheckpointError, "no weight upsample.weight"),
    "a layer less": (
        lambda s: {k: v for k, v in s.items() if "WN.2.start" not in k},
        (),
        CheckpointError,
        "no weight WN.2.start.weight",
    ),
    "a layer more": (
        lambda s: change(s, WN__2__gate__weight=torch.zeros(1)),
        (),
        CheckpointError,
        "WN.2.gate.weight",
    ),
    "another width": (
        lambda s: change(s, WN__2__end__bias=torch.zeros(3), WN__2__end__weight=torch.zeros(3, 6, 1)),
        (),
        CheckpointError,
        "WN.2.end has the shape [3, 6, 1], but [6, 6, 1]",
    ),
    "another bias": (lambda s: change(s, WN__2__end__bias=torch.zeros(3)), (), CheckpointError, "WN.2.end"),
    "irregular exits": (
        lambda s: change(s, convinv__3__conv__weight=torch.zeros(2, 2, 1)),
        (),
        CheckpointError,
        "channels leave irregularly",
    ),
    "other bands": (lambda s: s, ("mel=vocos-24k",), OptionError, "has 80 mel bands, but vocos-24k has 100"),
    "another hop": (lambda s: s, ("mel=speech-16k",), OptionError, "no multiple of the 200 samples"),
    "unknown halves": (lambda s: s, ("halves=both",), OptionError, "halves is 'both'"),
    "unknown setting": (lambda s: s, ("halfs=fixed",), OptionError, "did you mean 'halves'?"),
    "no value": (lambda s: s, ("halves",), OptionError, "should read field=value"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(case, tmp_path):
    spoil, settings, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        imported(spoil(dict(waveglow().state_dict())), tmp_path, *settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
