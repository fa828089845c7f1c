"""Using a vocoder: settings, initialisation, misuse, and the size of a published model."""

import math

import pytest
import torch
from laws.models import VOCODERS, contract, make_vocoder

from audioflow.audio import PRESETS
from audioflow.errors import MelError, RecipeError
from audioflow.vocoders import VOCODERS as CLASSES
from audioflow.vocoders import Glow, build, config_schema, vocoder_class


def parameters(vocoder):
    return sum(parameter.numel() for parameter in vocoder.parameters())


def test_waveglow_256_has_its_published_size():
    # 87.73 million after folding, of which the mels' upsampler is 80 x 80 x 1024 + 80.
    glow = Glow(PRESETS["nvidia-22k"], channels=256, layers=8)
    glow.fold_weight_norm()
    assert round(parameters(glow) / 1e6, 2) == 87.73


@pytest.mark.parametrize("name", CLASSES)
def test_settings_are_the_config_and_rebuild_the_model(name):
    fresh = build(name, contract(), {})
    assert set(config_schema(name).model_fields) == set(fresh.config)
    again = build(name, contract(), fresh.config)
    assert again.config == fresh.config
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in fresh.state_dict().items()
    }


@pytest.mark.parametrize("name", VOCODERS)
def test_config_says_what_was_built(name):
    case = VOCODERS[name]
    vocoder = make_vocoder(name)
    assert vocoder.config == {**build(case.vocoder, contract(), {}).config, **case.config}
    assert build(case.vocoder, vocoder.contract, vocoder.config).config == vocoder.config


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("wavenet", {"residual_chanels": 32}, "residual_chanels"),
        ("wavenet", {"layers": 0}, "wavenet.layers"),
        ("wavenet", {"layers": 2.5}, "wavenet.layers"),
        ("wavenet", {"kernel_size": 4}, "wavenet.kernel_size"),
        ("wavenet", {"head": "laplace"}, "wavenet.head"),
        ("wavenet", {"min_log_scale": 3.0}, "wavenet.min_log_scale"),
        ("wavenet", {"layers": "many"}, "'many'"),
        ("glow", {"squeeze": 7}, "glow.squeeze"),
        ("glow", {"early_channels": 3}, "glow.early_channels"),
        ("glow", {"kernel_size": 4}, "odd kernel_size"),
        ("glow", {"early_channels": 4, "early_every": 2}, "lower early_channels or raise squeeze"),
        ("wavnet", {}, "did you mean 'wavenet'"),
    ],
)
def test_settings_that_cannot_be_are_named(name, config, words):
    with pytest.raises(RecipeError) as caught:
        build(name, contract(), config)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_list_the_known_ones():
    assert vocoder_class("glow") is Glow
    with pytest.raises(RecipeError, match=", ".join(sorted(CLASSES))):
        vocoder_class("xyzzy")


@pytest.mark.parametrize("name", ["wavenet-gaussian-kernel-2", "glow"])
def test_misuse_is_answered_in_one_sentence(name):
    vocoder = make_vocoder(name)
    mel, wav = torch.zeros(2, 3, 5, dtype=torch.float64), torch.zeros(2, 20, dtype=torch.float64)
    for wrong in (mel[0], mel[:, :2], mel[..., :0]):
        with pytest.raises(MelError, match="3 bands"):
            vocoder.synthesize(wrong)
        with pytest.raises(MelError, match="3 bands"):
            vocoder.log_prob(wav, wrong)
    with pytest.raises(MelError, match=r"\[2, 20\] was expected"):
        vocoder.log_prob(wav[:, :-1], mel)
    with pytest.raises(MelError, match="not finite"):
        vocoder.synthesize(torch.full_like(mel, math.nan))
    for lengths in ([6, 2], [0, 2]):
        with pytest.raises(MelError, match="1 to 5 was expected"):
            vocoder.synthesize(mel, torch.tensor(lengths))
    with pytest.raises(MelError, match="one number each"):
        vocoder.log_prob(wav, mel, torch.tensor([5]))
    with pytest.raises(ValueError, match="temperature"):
        vocoder.synthesize(mel, temperature=-0.1)
    with pytest.raises(ValueError, match="no engine 'quantum'"):
        vocoder.synthesize(mel, engine="quantum")
    with pytest.raises(ValueError, match="without speakers"):
        vocoder.synthesize(mel, speaker=torch.tensor([0, 1]))


@pytest.mark.parametrize("name", ["wavenet-gaussian-kernel-2", "wavenet-constant-level", "glow", "glow-constant-level"])
def test_initialize_takes_statistics_of_valid_steps_only(name):
    case = VOCODERS[name]
    generator = torch.Generator().manual_seed(0)
    mel, wav = 4 + 2 * torch.randn(2, 3, 30, generator=generator), 0.02 * torch.randn(2, 120, generator=generator)
    lengths = torch.tensor([30, 20])
    dirty_mel, dirty_wav = mel.clone(), wav.clone()
    dirty_mel[1, :, 20:] = 30.0
    dirty_wav[1, 80:] = 1e4
    clean, dirty = (build(case.vocoder, contract(), case.config) for _ in range(2))
    clean.initialize(wav, mel, lengths)
    dirty.initialize(dirty_wav, dirty_mel, lengths)
    for (key, expected), actual in zip(clean.named_buffers(), dict(dirty.named_buffers()).values(), strict=True):
        torch.testing.assert_close(actual, expected, msg=key)
    valid = torch.cat([mel[0], mel[1, :, :20]], dim=1)
    torch.testing.assert_close(clean.normalizer.mean, valid.mean(dim=1), atol=1e-4, rtol=1e-4)
    levels = torch.cat([clean.level(mel[:1])[0, 0], clean.level(mel[1:, :, :20])[0, 0]])
    energy = torch.cat([wav[0], wav[1, :80]]).square().sum().item()
    assert torch.exp(2 * levels).sum().item() == pytest.approx(energy, rel=1e-4)
    before = clean.level.offset.clone()
    clean.initialize(torch.zeros_like(wav), mel, lengths)
    assert torch.equal(clean.level.offset, before), "silence says nothing about loudness"


@pytest.mark.parametrize(("name", "slack"), [("constant-level", 0.02), ("gaussian-kernel-2", 0.3)])
@pytest.mark.parametrize("loudness", [0.003, 0.2])
def test_once_initialised_a_fresh_wavenet_knows_the_loudness(name, slack, loudness):
    """It scores white noise about as well as the Gaussian of the noise itself, and makes noise as loud."""
    case = VOCODERS[f"wavenet-{name}"]
    torch.manual_seed(0)
    wav = loudness * torch.randn(2, 1000)
    vocoder = build(case.vocoder, contract(), case.config)
    mel = vocoder.mel(wav)
    vocoder.initialize(wav, mel)
    own = -math.log(wav.square().mean().sqrt()) - 0.5 * math.log(2 * math.pi * math.e)
    assert (vocoder.log_prob(wav, mel) / 1000).mean().item() == pytest.approx(own, abs=slack)
    assert vocoder.synthesize(mel).std().item() == pytest.approx(loudness, rel=0.3)


def test_mel_is_the_front_end_of_the_contract():
    vocoder = build("glow", PRESETS["speech-16k"], {"channels": 4, "layers": 1, "flows": 1})
    wav = 0.1 * torch.randn(2, 4010)
    assert vocoder.mel(wav).shape == (2, 80, 21)
    assert torch.equal(vocoder.mel(wav), vocoder.front_end(wav))


@pytest.mark.parametrize("name", ["glow", "student"])
def test_a_compiled_vocoder_sounds_the_same(name):
    vocoder = make_vocoder(name).float()
    mel = torch.zeros(2, vocoder.contract.n_mels, 6)
    plain, graphs = vocoder.synthesize(mel, seed=1), []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    vocoder.compile(backend=backend)
    torch.testing.assert_close(vocoder.synthesize(mel, seed=1), plain, atol=1e-6, rtol=0)
    assert graphs, "nothing was compiled"
