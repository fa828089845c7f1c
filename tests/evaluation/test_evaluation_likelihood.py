import math

import numpy as np
import pytest
import scipy.stats
import torch

from audioflow.audio import PRESETS
from audioflow.errors import AudioError
from audioflow.evaluation.likelihood import LogLikelihood, bits_per_sample, pooled, score, score_many
from audioflow.vocoders import build


def test_score_equals_scipy(toy, speech):
    found = score(toy, speech[:1234], dequantize=False)
    with torch.no_grad():
        scale = toy.scale(toy.mel(speech[None, :1234])[..., :6])[0]
    expected = scipy.stats.norm.logpdf(speech[:1200].numpy(), scale=scale.numpy()).sum()
    assert (found.samples, found.dequantized) == (1200, False)
    assert found.nats_total == pytest.approx(expected, rel=1e-5)
    assert found.nats_per_sample == pytest.approx(expected / 1200, rel=1e-5)


def test_bits_are_the_code_length_of_16_bit_samples():
    """A density spread over 2^k steps of 2^-15 costs k bits."""
    for bits in (0, 1, 8, 16):
        assert bits_per_sample(-math.log(2**bits * 2**-15)) == pytest.approx(bits, abs=1e-12)
    assert LogLikelihood(-20.0, 10, True).bits_per_sample == pytest.approx(15 + 2 / math.log(2))


def test_bits_equal_the_entropy_of_a_discretised_gaussian():
    scale = 0.01
    steps = np.arange(-(2**15), 2**15) * 2.0**-15
    mass = np.diff(scipy.stats.norm.cdf(np.append(steps, 1.0) - 2.0**-16, scale=scale))
    entropy = -np.sum(mass[mass > 0] * np.log2(mass[mass > 0]))
    assert bits_per_sample(-scipy.stats.norm.entropy(scale=scale)) == pytest.approx(entropy, abs=1e-3)


class Recorder(torch.nn.Module):
    """Remembers what it was asked to score."""

    def __init__(self, contract):
        super().__init__()
        self.contract = contract
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.scored, self.mels, self.speakers = [], [], []

    def mel(self, wav):
        self.mels.append(wav)
        return torch.zeros(1, self.contract.n_mels, -(-wav.shape[-1] // self.contract.hop_length))

    def scored_samples(self, frames):
        return frames * self.contract.hop_length

    def log_prob(self, wav, mel, lengths=None, speaker=None):
        assert wav.shape[-1] == mel.shape[-1] * self.contract.hop_length
        self.scored.append(wav)
        self.speakers.append(speaker)
        return wav.abs().sum(dim=-1)


def test_noise_goes_on_the_samples_only_and_within_one_step(contract, speech):
    recorder = Recorder(contract)
    score(recorder, speech[:1000], seed=1, speaker=3)
    assert torch.equal(recorder.mels[0][0], speech[:1000])
    noise = recorder.scored[0][0] - speech[:1000]
    assert 0.4 * 2**-15 < noise.abs().max() <= 0.5 * 2**-15 + 1e-7
    assert recorder.speakers[0].tolist() == [3]


def test_draws_are_averaged_and_differ(contract, speech):
    recorder = Recorder(contract)
    found = score(recorder, speech[:1000], draws=3, seed=1)
    totals = [float(wav.abs().sum()) for wav in recorder.scored]
    assert len(set(totals)) == 3
    assert found.nats_total == pytest.approx(np.mean(totals))
    assert found.samples == 1000


def test_the_seed_decides_the_score(toy, speech):
    assert score(toy, speech, seed=1) == score(toy, speech, seed=1)
    assert score(toy, speech, seed=1) != score(toy, speech, seed=2)


def test_pooling_weighs_by_samples(toy, speech):
    scores = score_many(toy, [speech[:4000], speech[4000:6000]], seed=7)
    assert scores == [score(toy, speech[:4000], seed=7), score(toy, speech[4000:6000], seed=8)]
    both = pooled(scores)
    expected = (4000 * scores[0].nats_per_sample + 2000 * scores[1].nats_per_sample) / 6000
    assert both.samples == 6000
    assert both.nats_per_sample == pytest.approx(expected)


@pytest.mark.parametrize("scores", [[], [LogLikelihood(1.0, 1, True), LogLikelihood(1.0, 1, False)]])
def test_what_cannot_be_pooled_is_refused(scores):
    with pytest.raises(AudioError, match="pooled"):
        pooled(scores)


def test_less_than_a_frame_is_refused(toy):
    with pytest.raises(AudioError, match="shorter than one mel frame of 200"):
        score(toy, torch.zeros(199))


def test_what_scores_step_by_step_scores_many_at_once_with_the_same_figures(speech):
    torch.manual_seed(0)
    contract = PRESETS["speech-16k"]
    sizes = {"flows": 1, "layers": 2, "cycle": 2, "residual_channels": 2, "skip_channels": 2, "cond_channels": 2}
    vocoder = build("iaf", contract, sizes).eval()
    assert vocoder.scores_step_by_step
    wavs = [speech[:850], speech[400:650], speech[:601]]
    together = score_many(vocoder, wavs, seed=5)
    alone = [score(vocoder, wav, seed=5 + index) for index, wav in enumerate(wavs)]
    assert [one.samples for one in together] == [one.samples for one in alone] == [800, 200, 600]
    for one, other in zip(together, alone, strict=True):
        assert one.nats_total == pytest.approx(other.nats_total, rel=1e-4)
