"""How far engines agree, against what is worked out by hand."""

import math

import pytest
import torch

from audioflow.evaluation.agreement import Reference, engine_agreement, nats_per_sample, relative_difference
from audioflow.evaluation.engines import reference_engine
from audioflow.vocoders import Glow, WaveNet


@pytest.fixture
def mel(toy, speech):
    return toy.mel(speech[None, :4000])


def test_the_relative_difference_is_of_norms():
    reference = torch.tensor([[3.0, 0.0, 4.0]])
    assert relative_difference(reference, reference) == 0
    assert relative_difference(reference + torch.tensor([0.3, 0.4, 0.0]), reference) == pytest.approx(0.1)
    assert relative_difference(torch.zeros(3), torch.zeros(3)) == 0
    assert relative_difference(torch.ones(3), torch.zeros(3)) == math.inf


def test_an_engine_agrees_with_itself_and_a_perturbed_one_as_far_as_it_is_perturbed(toy_class, mel):
    class Louder(toy_class):
        def synthesize(self, mel, lengths=None, temperature=1.0, seed=0, engine="auto", speaker=None):
            made = super().synthesize(mel, lengths, temperature, seed, "parallel", speaker)
            return 1.25 * made if engine == "blocks" else made

    louder = Louder(log_scale=-5.0)
    found = engine_agreement(louder, mel, "naive", ["parallel", "naive", "blocks"], seed=3)
    assert list(found) == ["parallel", "naive", "blocks"]
    for same in ("parallel", "naive"):
        assert (found[same].relative_difference, found[same].nats_difference) == (0, 0)
    assert found["blocks"].relative_difference == pytest.approx(0.25, rel=1e-5)
    # -z^2 / 2 for each sample, and 1.25^2 - 1 = 0.5625 of it more.
    made = louder.synthesize(mel, seed=3).detach()
    half_square = float((0.5 * (made / louder.scale(mel).detach()) ** 2).mean())
    assert found["blocks"].nats_difference == pytest.approx(-0.5625 * half_square, rel=1e-3)


def test_likelihoods_are_compared_only_where_errors_are_fed_back(toy_class, toy, mel):
    class Parallel(toy_class):
        engines = ("parallel", "parallel-bf16")

    wav = toy.synthesize(mel)
    assert Reference(Parallel(), mel, wav).agreement(wav + 0.01).nats_difference is None
    assert Reference(toy, mel, wav, scored=False).agreement(wav + 0.01).nats_difference is None
    assert Reference(toy, mel, wav).agreement(wav + 0.01).nats_difference < 0


def test_what_is_no_number_is_not_given(toy, mel):
    wav = toy.synthesize(mel)
    assert Reference(toy, mel, wav).agreement(wav * math.inf).nats_difference is None


def test_nats_are_those_of_a_sample(toy, mel):
    wav = toy.synthesize(mel, seed=1)
    one = nats_per_sample(toy, wav, mel)
    assert one == pytest.approx(float(toy.log_prob(wav, mel).detach()) / wav.shape[1], rel=1e-6)
    assert nats_per_sample(toy, wav.expand(3, -1), mel.expand(3, -1, -1)) == pytest.approx(one, rel=1e-5)


def test_real_engines_are_held_against_their_specification(contract, speech):
    torch.manual_seed(0)
    wavenet = WaveNet(contract, layers=2, cycle=2, residual_channels=4, skip_channels=4, cond_channels=4)
    glow = Glow(contract, flows=2, channels=4, layers=2, early_every=2)
    assert (reference_engine(wavenet), reference_engine(glow)) == ("naive", "parallel")
    for vocoder in (wavenet, glow):
        for parameter in vocoder.parameters():  # nothing may stay at its first zero
            parameter.data += 0.05 * torch.randn(parameter.shape)
        mel = vocoder.mel(speech[None, :400])
        found = engine_agreement(vocoder, mel, reference_engine(vocoder), vocoder.usable_engines)
        limits = {"parallel-bf16": 0.05, "cpu-int16": 0.01, "cpu-int8": 0.05}
        for name, agreement in found.items():
            assert agreement.relative_difference < limits.get(name, 1e-4), name
    assert found["parallel-bf16"].relative_difference > 1e-5
