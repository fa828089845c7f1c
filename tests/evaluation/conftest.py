import math
from pathlib import Path

import pytest
import torch
from torch import nn

from audioflow.audio import PRESETS, MelFrontEnd, read_audio
from audioflow.audio.matching import MelMatcher

SPEECH = Path(__file__).parents[2] / "data" / "speech"


class ToyVocoder(nn.Module):
    """White noise as loud as the mel says: the simplest thing with a density that synthesises and scores."""

    name = "toy"
    engines = ("parallel", "naive", "blocks")
    scores_step_by_step = False
    lookahead_frames = None

    @property
    def usable_engines(self):
        return self.engines

    def __init__(self, contract=PRESETS["speech-16k"], log_scale=-3.0):
        super().__init__()
        self.contract = contract
        self.front_end = MelFrontEnd(contract)
        self.log_scale = nn.Parameter(torch.tensor(log_scale))
        self.slope = nn.Parameter(torch.tensor(0.5))

    def mel(self, wav):
        return self.front_end(wav)

    def scale(self, mel):
        """mel [B, M, F] -> [B, F * hop]"""
        frames = (self.log_scale + self.slope * (mel.mean(dim=1) + 5)).exp()
        return frames.repeat_interleave(self.contract.hop_length, dim=-1)

    def log_prob(self, wav, mel, lengths=None, speaker=None):
        scale = self.scale(mel)
        return (-0.5 * (wav / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)).sum(dim=-1)

    def scored_samples(self, frames):
        return frames * self.contract.hop_length

    def synthesize(self, mel, lengths=None, temperature=1.0, seed=0, engine="auto", speaker=None, match_mel=0):
        scale = temperature * self.scale(mel)
        noise = torch.randn(scale.shape[1], generator=torch.Generator().manual_seed(seed))
        if engine != "naive":
            return MelMatcher(self.contract, match_mel)((scale * noise).clamp(-1, 1), mel).clamp(-1, 1)
        wav = torch.zeros_like(scale)
        for t in range(scale.shape[1]):
            wav[:, t] = (scale[:, t] * noise[t]).clamp(-1, 1)
        return wav


@pytest.fixture(scope="session")
def speech():
    """One second of a real recording, from its loud middle, wav [16000] at 16 kHz."""
    wav, rate = read_audio(sorted(SPEECH.glob("*.flac"))[0])
    assert rate == 16_000
    return wav[20_000:36_000].clone()


@pytest.fixture(scope="session")
def contract():
    return PRESETS["speech-16k"]


@pytest.fixture
def toy():
    return ToyVocoder()


@pytest.fixture(scope="session")
def toy_class():
    return ToyVocoder
