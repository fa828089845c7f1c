"""A temperature by voicing: noise is scaled frame by frame, in batches, in streams and by every engine alike."""

import pytest
import torch
from laws.models import VOCODERS, contract, perturb, set_loudness

from audioflow.errors import OptionError
from audioflow.jobs.synthesis import check_options
from audioflow.sampling import NoiseWindow
from audioflow.vocoders import build, load
from audioflow.vocoders.pieces import MelWindow
from audioflow.vocoders.voiced_noise import VoicedNoise

NAMES = [
    "wavenet-gaussian-kernel-2",
    "wavenet-groups-hidden",
    "glow-front",
    "realnvp",
    "maf-front",
    "waveflow",
    "iaf-front",
    "student-front",
]


def make(name, **changes):
    """The named vocoder with a network for periodicity, float64."""
    torch.manual_seed(0)
    case = VOCODERS[name]
    config = {**case.config, "periodicity": 6, **changes}
    vocoder = build(case.vocoder, contract(case.hop_length, case.n_mels), config)
    return set_loudness(perturb(vocoder, 0.2).double().eval(), 0.05)


def mel_of(vocoder, batch=2, frames=12):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(batch, vocoder.contract.n_mels, frames, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_equal_temperatures_are_one(name):
    vocoder = make(name)
    mel = mel_of(vocoder)
    one = vocoder.synthesize(mel, temperature=0.6, seed=3)
    torch.testing.assert_close(vocoder.synthesize(mel, temperature=0.6, voiced_temperature=0.6, seed=3), one)
    other = vocoder.synthesize(mel, temperature=0.6, voiced_temperature=0.1, seed=3)
    assert (other - one).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_unequal_lengths_is_its_utterances(name):
    vocoder = make(name)
    mel, options = mel_of(vocoder, 3), {"temperature": 0.9, "voiced_temperature": 0.2}
    together = vocoder.synthesize(mel, torch.tensor([12, 7, 10]), seed=4, **options)
    for row, frames in enumerate((12, 7, 10)):
        alone = vocoder.synthesize(mel[row : row + 1, :, :frames], seed=4 + row, **options)[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-9, rtol=0)
        assert (together[row, len(alone) :] == 0).all()


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_stream_is_the_whole(name, frames):
    vocoder = make(name)
    mel, options = mel_of(vocoder), {"temperature": 0.9, "voiced_temperature": 0.2, "seed": 2}
    whole = vocoder.synthesize(mel, **options)
    pieces = list(vocoder.stream(iter(mel.split(2, dim=-1)), frames=frames, **options))
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-9, rtol=0)


@pytest.mark.parametrize("framing", ["centered", "half_hop"])
def test_noise_is_scaled_by_the_frame_that_is_nearest(framing):
    frames, per_frame = 6, 4
    noise = NoiseWindow([0], 2, None, torch.float64, torch.device("cpu"))
    plain = NoiseWindow([0], 2, None, torch.float64, torch.device("cpu")).cut(0, 32)
    mel = torch.linspace(0, 1, frames, dtype=torch.float64)[None, None].repeat(1, 3, 1)
    shape = contract(4, 3).model_copy(update={"framing": framing})
    voiced = VoicedNoise(
        noise, MelWindow(mel.split(1, -1)), lambda mel, mask: mel[:, :1], None, (1.0, 0.5), shape, per_frame
    )
    # Steps after the last frame, which models make that work in groups, have the temperature of the last one.
    scale = torch.cat([voiced.cut(start, start + 8) for start in range(0, 32, 8)], dim=-1) / plain
    nearest = (torch.arange(32) + 0.5) / per_frame + (0 if framing == "half_hop" else 0.5)
    wanted = 1 - 0.5 * mel[0, 0, nearest.floor().long().clamp(max=frames - 1)]
    torch.testing.assert_close(scale, wanted.expand(1, 2, -1))


def test_it_is_refused_where_there_is_none():
    without = make("wavenet-groups-hidden", periodicity=0)
    with pytest.raises(ValueError, match="reads no periodicity off the mel"):
        without.synthesize(mel_of(without), voiced_temperature=0.5)
    with pytest.raises(OptionError, match="reads no periodicity off the mel"):
        check_options(without, "auto", 1.0, None, voiced_temperature=0.5)
    mixture = make("wavenet-front-mixture")
    with pytest.raises(ValueError, match="no temperature of each step"):
        next(mixture.stream(mel_of(mixture), voiced_temperature=0.5))
    with pytest.raises(OptionError, match="no temperature of each step"):
        check_options(mixture, "auto", 1.0, None, voiced_temperature=0.5)
    some = make("wavenet-groups")
    with pytest.raises(ValueError, match=r"must not be negative, but is -0\.5"):
        some.synthesize(mel_of(some), voiced_temperature=-0.5)
    with pytest.raises(OptionError, match=r"temperature is -0\.5"):
        check_options(some, "auto", 1.0, None, voiced_temperature=-0.5)


def test_it_is_kept_in_a_checkpoint(tmp_path):
    vocoder = make("glow-front").float()
    vocoder.save(tmp_path / "glow.safetensors")
    mel = mel_of(vocoder).float()
    options = {"temperature": 1.0, "voiced_temperature": 0.3}
    torch.testing.assert_close(
        load(tmp_path / "glow.safetensors").synthesize(mel, **options), vocoder.synthesize(mel, **options)
    )
