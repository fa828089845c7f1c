"""A WaveNet of r9y9's and what is made of it give the same laws of each sample, in both layouts."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
from layouts import stretched
from torch import nn
from torch.nn import functional

from audioflow.audio import PRESETS, quantize
from audioflow.errors import CheckpointError, OptionError
from audioflow.imports import FORMATS, read_checkpoint, read_settings
from audioflow.nets.conditioning import Conditioning

theirs = pytest.importorskip("wavenet_vocoder.wavenet", reason="pip install --no-deps wavenet-vocoder==0.1.1")
mixture = pytest.importorskip("wavenet_vocoder.mixture")

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
SIZES = {"layers": 6, "stacks": 2, "residual_channels": 5, "gate_channels": 8, "skip_out_channels": 7, "kernel_size": 3}
UPSAMPLED = {"upsample_conditional_features": True, "upsample_scales": [16, 16]}


def released(out_channels=30, **options):
    """A model of release 0.1.1 with random weights, the zero ones too."""
    torch.manual_seed(0)
    settings = {**SIZES, **UPSAMPLED, "cin_channels": 80, "scalar_input": True, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = theirs.WaveNet(out_channels=out_channels, **settings)
    for name, parameter in model.named_parameters():
        if "upsample" not in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def imported(state, tmp_path, *settings):
    path = tmp_path / "model.pth"
    torch.save({"state_dict": state, "optimizer": None, "global_step": 3}, path)
    chosen = FORMATS["r9y9-wavenet"]
    settings = ("stacks=2", *settings)
    return chosen.convert(read_checkpoint(path), read_settings(chosen.settings, settings, "r9y9-wavenet"))


def material(frames=2, batch=2):
    generator = torch.Generator().manual_seed(1)
    wav = quantize(0.3 * torch.randn(batch, 256 * frames, generator=generator).clamp(-3, 3))
    return wav.float(), torch.rand(batch, 80, frames, generator=generator)


def outputs(vocoder, wav, mel, speaker=None):
    """What our network says of each sample, in the terms of its law."""
    given = vocoder._given(mel, None, speaker)
    shares = vocoder.network.shares(Conditioning(vocoder.upsampler(given.mel)), given.speaker)
    raw = vocoder.network(vocoder.law.network_input(wav[:, None], given.level), shares)
    return vocoder.law.at_level(raw, given.level)


def before(x):
    return functional.pad(x[..., :-1], (1, 0))


@torch.no_grad()
@pytest.mark.parametrize("out_channels", [2, 30])
@pytest.mark.parametrize("legacy", [True, False])
def test_the_release_gives_the_same_numbers(out_channels, legacy, tmp_path):
    model, (wav, mel) = released(out_channels, legacy=legacy), material()
    converted = imported(model.state_dict(), tmp_path, *(() if legacy else ("skips=sum",)))
    wanted = model(before(wav[:, None]), mel)
    assert wanted.std() > 0.03
    torch.testing.assert_close(outputs(converted.vocoder, wav, mel), wanted, **CLOSE)
    assert converted.layout == "0.1.1"
    assert any("lws" in note for note in converted.notes)


@torch.no_grad()
def test_the_release_gives_the_same_likelihood(tmp_path):
    model, (wav, mel) = released(), material()
    loss = mixture.discretized_mix_logistic_loss(
        model(before(wav[:, None]), mel).double(),
        wav[..., None].double(),
        num_classes=65536,
        log_scale_min=-40.0,
        reduce=False,
    )
    # Theirs is the probability of one of 65,536 amplitudes, ours its density.
    wanted = -loss.sum(dim=(1, 2)) - wav.shape[1] * math.log(2 / 65535)
    ours = imported(model.state_dict(), tmp_path).vocoder.log_prob(wav, mel)
    torch.testing.assert_close(ours.double() / wav.shape[1], wanted / wav.shape[1], atol=1e-4, rtol=0)


@torch.no_grad()
def test_speakers_are_taken_over(tmp_path):
    model, (wav, mel) = released(gin_channels=4, n_speakers=3), material()
    vocoder = imported(model.state_dict(), tmp_path).vocoder
    speaker = torch.tensor([2, 0])
    wanted = model(before(wav[:, None]), mel, speaker[:, None])
    torch.testing.assert_close(outputs(vocoder, wav, mel, speaker), wanted, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("final", [False, True])
def test_mu_law_classes_are_taken_over(final, tmp_path):
    model, (_, mel) = released(256, scalar_input=False), material()
    classes = torch.randint(0, 256, (2, 512), generator=torch.Generator().manual_seed(2))
    companded = 2 * classes / 255 - 1
    wav = companded.sign() * torch.expm1(companded.abs() * math.log(256)) / 255
    seen = functional.one_hot(functional.pad(classes[:, :-1], (1, 0), value=127), 256).float().transpose(1, 2)
    if final:
        state, wanted = final_layout(model)
        vocoder, wanted = imported(state, tmp_path).vocoder, wanted(seen, mel)
    else:
        vocoder, wanted = imported(model.state_dict(), tmp_path).vocoder, model(seen, mel)
    torch.testing.assert_close(outputs(vocoder, wav, mel), wanted, **CLOSE)
    drawn = vocoder.synthesize(mel[:1, :, :1], seed=1)
    torch.testing.assert_close(vocoder.synthesize(mel[:1, :, :1], seed=1, engine="naive"), drawn, **CLOSE)


def final_layout(model, scales=(4, 4, 4, 4), context=2):
    """The model's state dict in the final layout, and the function that it is then."""
    dropped = ("conv1x1c.bias", "conv1x1g.bias")
    state = {
        name: tensor.clone()
        for name, tensor in model.state_dict().items()
        if not name.startswith("upsample") and not name.endswith(dropped)
    }
    state["upsample_net.conv_in.weight"] = 0.1 * torch.randn(80, 80, 2 * context + 1)
    for number, scale in enumerate(scales):
        name = f"upsample_net.upsample.up_layers.{2 * number + 1}"
        state[f"{name}.weight_v"] = torch.rand(1, 1, 1, 2 * scale + 1)
        state[f"{name}.weight_g"] = torch.full((1, 1, 1, 1), 0.4)
    layers = len(model.conv_layers)
    model.legacy = False
    model.upsample_conv = None
    for block in model.conv_layers:
        nn.init.zeros_(block.conv1x1c.bias)
        # The final version divides the sum of the skips by the root of their number.
        block.conv1x1_skip.weight_g.data *= layers**-0.5
        block.conv1x1_skip.bias.data *= layers**-0.5
    return state, lambda x, mel: model(x, stretched(state, mel, scales))


@torch.no_grad()
@pytest.mark.parametrize(("scales", "context"), [((4, 4, 4, 4), 2), ((16, 16), 0), ((2, 128), 1)])
def test_the_final_layout_gives_the_same_numbers(scales, context, tmp_path):
    (state, wanted), (wav, mel) = final_layout(released(2), scales, context), material(frames=4)
    converted = imported(state, tmp_path)
    wanted = wanted(before(wav[:, None]), mel)
    assert wanted.std() > 0.03
    torch.testing.assert_close(outputs(converted.vocoder, wav, mel), wanted, **CLOSE)
    assert converted.layout == "final"
    assert converted.vocoder.contract == PRESETS["r9y9-22k"]
    assert any("mel_mean=FILE" in note for note in converted.notes)


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_statistics_preemphasis_and_gain_become_parts_of_the_model(suffix, tmp_path):
    (state, network), (wav, mel) = final_layout(released(2)), material()
    mean, std = torch.linspace(-1, 1, 80), torch.linspace(0.5, 2, 80)
    for name, values in (("mean", mean), ("std", std)):
        if suffix == ".npy":
            np.save(tmp_path / f"{name}.npy", values.numpy())
        else:
            (tmp_path / f"{name}.json").write_text(json.dumps(values.tolist()))
    files = [f"mel_{name}={tmp_path / name}{suffix}" for name in ("mean", "std")]
    converted = imported(state, tmp_path, *files, "preemphasis=0.85", "gain=0.55")
    heard = 0.55 * (wav - 0.85 * before(wav))[:, None]
    means, log_scales = network(before(heard), (mel - mean[:, None]) / std[:, None]).chunk(2, dim=1)
    normal = torch.distributions.Normal(means, log_scales.exp()).log_prob(heard)
    wanted = normal.sum(dim=(1, 2)) + wav.shape[1] * math.log(0.55)
    torch.testing.assert_close(converted.vocoder.log_prob(wav, mel), wanted, **CLOSE)
    assert not any("mel_mean=FILE" in note for note in converted.notes)


def without(prefix):
    return lambda state: {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}


REFUSED = {
    "no upsampler": (without("upsample"), (), CheckpointError, "has no upsampler"),
    "another model": (lambda state: {"x.weight": torch.ones(1)}, (), CheckpointError, "is no r9y9 WaveNet"),
    "no condition": (without("conv_layers.0.conv1x1c"), (), CheckpointError, "no weight conv_layers.0.conv1x1c"),
    "stacks": (lambda state: state, ("stacks=5",), OptionError, "set stacks=NUMBER"),
    "another hop": (lambda state: state, ("mel=speech-16k",), OptionError, "makes 256 samples of a frame"),
    "mel_mean alone": (lambda state: state, ("mel_mean=a.npy",), OptionError, "go together"),
    "no statistics": (lambda state: state, ("mel_mean=a.npy", "mel_std=a.npy"), OptionError, "a.npy holds no numbers"),
    "preemphasis": (lambda state: state, ("preemphasis=1",), OptionError, "preemphasis is '1'"),
    "unknown head": (lambda state: state, ("head=laplace",), OptionError, "head is 'laplace'"),
    "one layer more": (lambda state: {**state, "x.weight": torch.ones(1)}, (), CheckpointError, "x.weight"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(case, tmp_path):
    spoil, settings, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        imported(spoil(dict(released(2).state_dict())), tmp_path, *settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [[1.0] * 79, [0.0] * 80, [math.nan] * 80, "text"])
def test_statistics_that_cannot_be_are_refused(values, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(values))
    (tmp_path / "mean.json").write_text(json.dumps([0.0] * 80))
    settings = (f"mel_mean={tmp_path / 'mean.json'}", f"mel_std={tmp_path / 's.json'}")
    with pytest.raises(OptionError, match=r"s\.json"):
        imported(dict(released(2).state_dict()), tmp_path, *settings)
