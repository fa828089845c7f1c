"""The student's law of each sample, in closed form, against what its flows do."""

import pytest
import torch
from laws.flow_laws import close
from laws.models import make_vocoder

STUDENTS = ["student", "student-logistic", "student-reversed-hop-7"]
every_student = pytest.mark.parametrize("name", STUDENTS)


def material(student, frames=3, batch=2):
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(batch, student.contract.n_mels, frames, generator=generator, dtype=torch.float64)
    noise = torch.randn(batch, 1, frames * student.contract.hop_length, generator=generator, dtype=torch.float64)
    return noise, mel


@every_student
def test_a_draw_is_a_synthesis(name):
    student = make_vocoder(name)
    student.level.offset.sub_(3)  # far from clipping
    noise, mel = material(student)
    wav = student._generate(noise, student._given(mel, None, None), 1.0, "parallel", None)
    close(student.draw(noise, mel).wav, wav[:, 0], 1e-10)


@every_student
def test_the_scales_add_up_to_the_likelihood(name):
    student = make_vocoder(name)
    noise, mel = material(student)
    draw = student.draw(noise, mel)
    base = student.flow.base
    wanted = base.log_prob(base.sample(noise)) - draw.log_scale.sum(dim=1)
    close(student.log_prob(draw.wav, mel), wanted, 1e-7)


@pytest.mark.parametrize("name", STUDENTS[:2])
def test_the_law_of_a_sample_given_the_noise_before_it(name):
    """Mean: the sample without its own noise. Scale: how fast it moves with it."""
    student = make_vocoder(name)
    noise, mel = material(student, batch=1)
    draw = student.draw(noise, mel)
    z = student.flow.base.sample(noise)
    for t in range(noise.shape[-1]):
        without = noise.clone()
        without[..., t] = 0
        at_zero = student.draw(without, mel)
        close(at_zero.wav[:, t], draw.mean[:, t], 1e-10)
        close(at_zero.log_scale[:, t], draw.log_scale[:, t], 1e-10)
        close(draw.wav[:, t] - draw.mean[:, t], z[0, :, t] * draw.log_scale[:, t].exp(), 1e-10)


def denoising(**settings):
    from laws.models import VOCODERS, contract, perturb

    from audioflow.vocoders import build

    torch.manual_seed(0)
    return perturb(build("student", contract(5), {**VOCODERS["student"].config, **settings})).double()


def test_the_denoiser_adds_to_what_the_flows_make():
    student = denoising(denoiser_layers=2)
    student.level.offset.sub_(3)
    noise, mel = material(student)
    draw = student.draw(noise, mel)
    loudness = torch.exp(student.level(mel))
    x = draw.wav[:, None] / loudness
    cond = student.upsampler(student.normalizer(mel))
    close(draw.sound[:, None], (x + student.denoiser(x, cond)) * loudness, 1e-10)
    assert (draw.sound - draw.wav).abs().max() > 1e-3, "it does nothing: nothing is shown"
    wav = student._generate(noise, student._given(mel, None, None), 1.0, "parallel", None)
    close(draw.sound, wav[:, 0], 1e-10)


def test_a_fresh_denoiser_changes_nothing():
    from laws.models import VOCODERS, contract

    from audioflow.vocoders import build

    student = build("student", contract(5), {**VOCODERS["student"].config, "denoiser_layers": 2}).double()
    draw = student.draw(*material(student))
    assert torch.equal(draw.sound, draw.wav)


def test_padding_changes_nothing_for_a_denoiser():
    student = denoising(denoiser_layers=3)
    _, mel = material(student, frames=6)
    together = student.synthesize(mel, torch.tensor([6, 3]), seed=[1, 2])
    alone = student.synthesize(mel[1:, :, :3], seed=2)
    close(together[1:, : alone.shape[1]], alone, 1e-10)


@pytest.mark.parametrize("frames", [1, 4])
def test_a_stream_carries_what_the_denoiser_sees(frames):
    student = denoising(denoiser_layers=4)
    _, mel = material(student, frames=40)
    whole = student.synthesize(mel, seed=1)
    pieces = list(student.stream(mel, seed=1, frames=frames))
    assert len(pieces) == 40 / frames
    close(torch.cat(pieces, dim=-1), whole, 1e-9)


def test_no_law_of_one_sample_where_flows_run_backwards():
    student = make_vocoder("student-reversed-hop-7")
    assert student.draw(*material(student)).mean is None


def test_hidden_activations_are_those_of_the_last_flow():
    student = make_vocoder("student-logistic")
    hidden = []
    student.draw(*material(student), hidden=hidden)
    assert len(hidden) == len(student.networks[-1].stack.dilations) == 1


def test_a_new_student_is_noise_as_loud_as_its_mel_says():
    from laws.models import VOCODERS, contract, set_loudness

    from audioflow.vocoders import build

    case = VOCODERS["student"]
    student = set_loudness(build("student", contract(case.hop_length, case.n_mels), case.config), 0.05)
    noise, mel = material(student)
    draw = student.draw(noise.float(), torch.zeros_like(mel).float())
    assert draw.mean.abs().max() < 1e-6
    close(draw.log_scale.exp(), torch.full_like(draw.log_scale, 0.05), 1e-6)
