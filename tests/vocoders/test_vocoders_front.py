"""Vocoders behind a front: what the base class adds, groups of samples, and audio moved to its mel."""

import math

import pytest
import torch
from laws.flow_laws import close
from laws.models import FRONTS, contract, make_vocoder

from audioflow.audio import PRESETS
from audioflow.errors import RecipeError
from audioflow.flows import Around
from audioflow.vocoders import build, load

GROUPS = [name for name in FRONTS if "groups" in name]
SMALL = {"layers": 2, "cycle": 2, "residual_channels": 4, "skip_channels": 4, "cond_channels": 4, "front": 8}


def material(vocoder, batch, frames):
    generator = torch.Generator().manual_seed(0)
    hop, bands = vocoder.contract.hop_length, vocoder.contract.n_mels
    wav = 0.1 * torch.randn(batch, frames * hop, generator=generator, dtype=torch.float64)
    mel = torch.randn(batch, bands, frames, generator=generator, dtype=torch.float64)
    return wav, mel, torch.arange(batch) % 2 if vocoder.config["speakers"] else None


@pytest.mark.parametrize("name", FRONTS)
def test_the_front_is_the_outermost_map(name):
    """The likelihood of speech is that of its excitation and the front's log-determinant, over what is scored."""
    vocoder = make_vocoder(name)
    wav, mel, speaker = material(vocoder, 2, 5)
    u = vocoder.front.to_noise(wav[:, None], mel)[0]
    inside = vocoder._log_prob(u, vocoder._given(mel, None, speaker))
    scored = vocoder.scored_samples(5)
    outside = -vocoder.front.filter(mel).log_scale_of_samples(scored).sum(dim=1)
    close(vocoder.log_prob(wav, mel, speaker=speaker), inside + outside)


@pytest.mark.parametrize("name", GROUPS)
def test_what_a_teacher_expects_adds_up_to_its_likelihood(name):
    """Sample by sample, also within a group: what distillation compares a student with."""
    vocoder = make_vocoder(name)
    wav, mel, speaker = material(vocoder, 2, 4)
    u = vocoder.seen_of(wav, mel)
    prediction = vocoder.predict(u, mel, speaker)
    assert prediction.params.shape[2] == wav.shape[1]
    each = prediction.law.log_prob(prediction.params, u[:, None])
    log_det = vocoder.front.log_det(vocoder.front.filter(mel), wav.shape[1])
    close(each.sum(dim=1) + log_det, vocoder.log_prob(wav, mel, speaker=speaker))


@pytest.mark.parametrize("name", GROUPS)
def test_no_sample_sees_a_later_one(name):
    vocoder = make_vocoder(name)
    wav, mel, speaker = material(vocoder, 1, 3)
    u = vocoder.seen_of(wav, mel)

    def expected(x):
        prediction = vocoder.predict(x, mel, None if speaker is None else speaker[:1])
        return prediction.params.sum(dim=1)[0]

    jacobian = torch.autograd.functional.jacobian(expected, u)[:, 0]
    assert not jacobian.triu().any(), "a sample sees itself or a later one"
    size = vocoder.samples_per_step
    inside = torch.stack([jacobian[t, t - 1] for t in range(1, len(jacobian)) if t % size])
    assert inside.any(), "a sample does not see the one before it in its group"


@pytest.mark.parametrize("name", ["wavenet-groups", "wavenet-groups-hidden", "wavenet-groups-speakers"])
def test_a_grouped_gaussian_wavenet_is_a_flow(name):
    vocoder = make_vocoder(name, spread=0.05)
    wav, mel, speaker = material(vocoder, 2, 4)
    flow = vocoder.bijection(speaker=speaker)
    cond = vocoder.upsampler(vocoder.normalizer(mel))
    u, log_det_front = vocoder.front.to_noise(wav[:, None], mel)
    z, log_det = flow.to_noise(u, cond)
    log_base = -0.5 * z.square().sum(dim=(1, 2)) - 0.5 * math.log(2 * math.pi) * wav.shape[1]
    close(vocoder.log_prob(wav, mel, speaker=speaker), log_base + log_det + log_det_front)
    close(flow.to_data(z, cond)[0], u)
    noise = torch.randn(2, 1, wav.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    folded = noise[:, 0].unflatten(1, (-1, vocoder.samples_per_step)).transpose(1, 2)
    drawn = vocoder._generate(folded, vocoder._given(mel, None, speaker), 1.0, "cached", None)
    close(flow.to_data(noise, cond)[0], drawn)


@pytest.mark.parametrize("name", ["wavenet-groups", "glow-front-hop-5", "student-front", "glow"])
@pytest.mark.parametrize("arriving", [1, 4])
def test_a_stream_of_matched_audio_is_the_whole(name, arriving):
    vocoder = make_vocoder(name)
    _, mel, _ = material(vocoder, 2, 21)
    plain = vocoder.synthesize(mel, seed=3)
    whole = vocoder.synthesize(mel, seed=3, match_mel=2)
    assert (whole - plain).abs().max() > 1e-3, "nothing was matched"
    pieces = list(vocoder.stream(mel.split(arriving, dim=-1), seed=3, frames=2, match_mel=2))
    assert len(pieces) > 1
    close(torch.cat(pieces, dim=-1), whole)


@pytest.mark.parametrize("name", ["wavenet-groups", "glow-front"])
def test_a_padded_batch_is_matched_like_single_utterances(name):
    vocoder = make_vocoder(name)
    _, mel, _ = material(vocoder, 2, 9)
    hop = vocoder.contract.hop_length
    together = vocoder.synthesize(mel, torch.tensor([9, 4]), seed=3, match_mel=2)
    close(together[1:, : 4 * hop], vocoder.synthesize(mel[1:, :, :4], seed=4, match_mel=2))
    assert not together[1, 4 * hop :].any()


def test_a_segment_is_scored_as_a_part_of_its_utterance():
    """What lies around it gives it the excitation that it has in the whole."""
    torch.manual_seed(0)
    vocoder = build("nice", contract(), {"squeeze": 2, "flows": 2, "channels": 2, "layers": 1, "front": 8}).double()
    wav, mel, _ = material(vocoder, 1, 40)
    hop = vocoder.contract.hop_length
    vocoder.initialize(wav, mel)
    around = Around(wav[:, 10 * hop - 8 : 10 * hop], mel[..., 9:10], mel[..., 20:21])
    part = slice(10 * hop, 20 * hop)
    u = vocoder.front.to_noise(wav[:, None], mel)[0][..., part]
    inside = vocoder._log_prob(u, vocoder._given(mel[..., 10:20], None, None))
    log_scale = vocoder.front.filter(mel).log_scale_of_samples(40 * hop)[:, part]
    close(vocoder.log_prob(wav[:, part], mel[..., 10:20], around=around), inside - log_scale.sum(dim=1))
    assert not torch.allclose(vocoder.log_prob(wav[:, part], mel[..., 10:20]), inside - log_scale.sum(dim=1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples_per_step": 3}, "3 does not divide the hop of 200"),
        ({"samples_per_step": 8, "front": "none"}, "goes with a front"),
        ({"head": "mu_law"}, "law of 16-bit speech"),
        ({"head": "logistic_mixture"}, "continuous_logistic_mixture"),
        ({"preemphasis": 0.9}, "leave one of them out"),
        ({"upsampler": "transposed", "cond_hidden": 8}, "cond_hidden goes with upsampler = interpolate"),
        ({"front": -1}, "front"),
        ({"front": "lpc"}, "front"),
        ({"front_correction": 0.0}, "front_correction"),
        ({"samples_per_step": 0}, "samples_per_step"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        build("wavenet", PRESETS["speech-16k"], {**SMALL, **settings})


def test_rounds_of_matching_are_not_negative():
    vocoder = make_vocoder("wavenet-groups")
    with pytest.raises(ValueError, match="0 or more, but is -1"):
        vocoder.synthesize(material(vocoder, 1, 2)[1], match_mel=-1)


def test_a_checkpoint_keeps_its_front(tmp_path):
    vocoder = make_vocoder("wavenet-groups-hidden").float()
    wav, mel, _ = (None if x is None else x.float() for x in material(vocoder, 1, 6))
    vocoder.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.front.order == 4
    close(again.log_prob(wav, mel), vocoder.log_prob(wav, mel), 1e-5)
    assert again.recommended_match_mel == 8


def test_a_config_of_before_has_no_front():
    """Checkpoints that were written before there were fronts say nothing of them."""
    vocoder = build("wavenet", PRESETS["speech-16k"], {"layers": 1, "residual_channels": 4, "skip_channels": 4})
    assert vocoder.front is None
    assert vocoder.recommended_match_mel == 0
    assert not [name for name in vocoder.state_dict() if "front." in name and not name.startswith("network")]
