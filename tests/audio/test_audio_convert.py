"""Conversion between the framings of one family, and refusal of everything else."""

from pathlib import Path

import pytest
import torch

from audioflow.audio import PRESETS, MelFrontEnd, compatibility, convert_mel, read_audio
from audioflow.errors import MelError

SPEECH = sorted((Path(__file__).parents[2] / "data" / "speech").glob("*.flac"))
NVIDIA, HIFIGAN = PRESETS["nvidia-22k"], PRESETS["hifigan-22k"]
PAIRS = pytest.mark.parametrize(("have", "want"), [(NVIDIA, HIFIGAN), (HIFIGAN, NVIDIA)], ids=["later", "earlier"])


@PAIRS
def test_conversion_of_speech_is_close_and_unbiased(have, want):
    converted, unchanged = [], []
    for path in SPEECH[:4]:
        wav = read_audio(path, 22050)[0][None]
        mel, wanted = MelFrontEnd(have)(wav), MelFrontEnd(want)(wav)
        converted.append((convert_mel(mel, have, want) - wanted).flatten())
        unchanged.append((mel - wanted).flatten())
    error = torch.cat(converted)
    assert error.abs().mean() < 0.085
    assert error.square().mean().sqrt() < 0.14
    assert error.mean().abs() < 0.005
    assert error.abs().mean() < 0.4 * torch.cat(unchanged).abs().mean()


@PAIRS
def test_conversion_moves_by_half_a_frame_in_the_right_direction(have, want):
    ramp = torch.arange(20.0, dtype=torch.float64).expand(2, 80, 20)
    moved = convert_mel(ramp, have, want) - ramp
    torch.testing.assert_close(moved[..., 3:-3], torch.full_like(moved[..., 3:-3], 0.5 if have is NVIDIA else -0.5))


@PAIRS
def test_conversion_never_falls_below_silence(have, want):
    mel = torch.full((80, 9), have.silence)
    mel[:, 4] = 2.0
    assert convert_mel(mel, have, want).min() >= want.silence


@PAIRS
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_short_spectrograms_keep_their_shape(have, want, frames):
    mel = torch.full((80, frames), -3.0)
    torch.testing.assert_close(convert_mel(mel, have, want), mel)


def test_equal_contracts_change_nothing():
    mel = torch.randn(80, 7)
    assert convert_mel(mel, NVIDIA, NVIDIA) is mel


def test_compatibility():
    assert compatibility(NVIDIA, NVIDIA) == "equal"
    assert compatibility(NVIDIA, HIFIGAN) == "convertible"
    assert compatibility(HIFIGAN, NVIDIA) == "convertible"
    assert compatibility(NVIDIA, PRESETS["vocos-24k"]) == "incompatible"
    assert compatibility(HIFIGAN, PRESETS["bigvgan-24k"]) == "incompatible"
    coarse = HIFIGAN.model_copy(update={"magnitude_epsilon": 1e-4})
    assert compatibility(NVIDIA, coarse) == "incompatible"


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"nvidia-22k", "hifigan-22k"}))
def test_other_families_are_refused_with_the_fields_that_differ(name):
    with pytest.raises(MelError) as error:
        convert_mel(torch.zeros(80, 5), PRESETS[name], HIFIGAN)
    message = str(error.value)
    differing = "f_max" if PRESETS[name].sample_rate == HIFIGAN.sample_rate else "sample_rate"
    assert f"{differing} {getattr(PRESETS[name], differing)} instead of {getattr(HIFIGAN, differing)}" in message
    assert "framing" not in message
    assert "from the audio" in message
