"""The level that a mel says its speech has: it follows loudness, and interpolates between the frames."""

import math

import numpy as np
import pytest
import torch
from laws.models import contract

from audioflow.audio import PRESETS, MelFrontEnd
from audioflow.nets.level import MelLevel
from audioflow.nets.masks import mask_of

FAMILIES = ["nvidia-22k", "hifigan-22k", "speech-16k", "vocos-24k", "espnet-24k"]


@pytest.mark.parametrize("family", FAMILIES)
def test_level_follows_loudness_by_the_frame(family):
    preset = PRESETS[family]
    hop, generator = preset.hop_length, torch.Generator().manual_seed(0)
    noise = torch.randn(1, 60 * hop, generator=generator)
    wav = torch.cat([0.2 * noise, 0.002 * noise], dim=1)
    level = MelLevel(preset)
    mel = MelFrontEnd(preset)(wav)
    level.fit(wav, mel)
    stated = level(mel)[0, 0]
    assert stated[10 * hop : 50 * hop].mean().item() == pytest.approx(math.log(0.2), abs=0.3)
    fall = stated[10 * hop : 50 * hop].mean() - stated[70 * hop : 110 * hop].mean()
    assert fall.item() == pytest.approx(math.log(100), abs=0.1)


@pytest.mark.parametrize("family", ["speech-16k", "hifigan-22k"])
def test_level_is_linear_between_the_centres_of_frames(family):
    preset = PRESETS[family]
    hop, level = preset.hop_length, MelLevel(preset)
    mel = torch.randn(1, preset.n_mels, 1, generator=torch.Generator().manual_seed(0)) + torch.tensor([0.0, 1, 3, -2])
    stated = level(mel)[0, 0].numpy()
    centre = hop / 2 if preset.framing == "half_hop" else 0
    frames = level(mel[..., :1])[0, 0, 0].item() + np.array([0.0, 1, 3, -2])
    np.testing.assert_allclose(stated, np.interp(np.arange(4 * hop), np.arange(4) * hop + centre, frames), atol=1e-4)


def test_constant_level_is_the_spread_of_all_data():
    level = MelLevel(contract(), follow=False)
    wav, mel = 0.03 * torch.randn(2, 400), torch.randn(2, 3, 100)
    level.fit(wav, mel)
    assert level(mel).shape == (2, 1, 400)
    assert level(mel).unique().item() == pytest.approx(0.5 * math.log(wav.square().mean()), abs=1e-5)


@pytest.mark.parametrize("follow", [True, False])
def test_padding_changes_nothing(follow):
    level = MelLevel(contract(), follow=follow).double()
    mel = torch.randn(2, 3, 9, dtype=torch.float64)
    mask = mask_of(torch.tensor([9, 5]), 9, torch.float64)
    stated = level(torch.where(mask > 0, mel, torch.full_like(mel, 1e4)), mask)
    torch.testing.assert_close(stated[1:, :, :20], level(mel[1:, :, :5]))
    assert not stated[1, :, 20:].any()


def test_digital_silence_has_a_finite_level():
    preset = PRESETS["vocos-24k"]
    level = MelLevel(preset)
    assert torch.isfinite(level(MelFrontEnd(preset)(torch.zeros(1, 4000)))).all()


@pytest.mark.parametrize("family", sorted(PRESETS))
def test_silence_is_no_quieter_than_rounding_and_spoils_nothing(family):
    """Whatever floor a mel has: digital silence has the spread of rounding, and does not move the level of speech."""
    preset = PRESETS[family]
    noise = 0.1 * torch.randn(1, 40 * preset.hop_length, generator=torch.Generator().manual_seed(0))
    wav = torch.cat([noise, torch.zeros_like(noise)], dim=1)
    mel, level = MelFrontEnd(preset)(wav), MelLevel(preset)
    level.fit(wav, mel)
    stated = level(mel)[0, 0]
    assert stated.min().item() >= math.log(2**-15 / math.sqrt(12)) - 1e-5
    rounded = wav + (torch.rand(wav.shape, generator=torch.Generator().manual_seed(1)) - 0.5) * 2**-15
    quiet = slice(60 * preset.hop_length, 70 * preset.hop_length)
    assert (rounded[0] * torch.exp(-stated))[quiet].abs().max() < 10
    assert stated[10 * preset.hop_length : 30 * preset.hop_length].mean().item() == pytest.approx(
        math.log(0.1), abs=0.3
    )
