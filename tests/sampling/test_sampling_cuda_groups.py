"""The kernel's draws of groups of samples against the specification in float64; see ``test_sampling_cuda``."""

import logging

import pytest
import torch
from sampling_material import DEVICE, GROUP_HOP, group_material, group_model, made_by, there

from audioflow.distributions import Gaussian, GaussianMixture, LogisticMixture
from audioflow.sampling import ENGINES, sample_naive, sampler_of
from audioflow.sampling.cuda.graph import sample_graph

kernel_missing = "triton, whose interpreter runs the kernel without a GPU, is not installed"
engine = pytest.importorskip("audioflow.sampling.cuda.engine", reason=kernel_missing)

STEPS = 48 if DEVICE == "cuda" else 8  # the interpreter takes a tenth of a second for a step
NEAR = 2e-4 if DEVICE == "cuda" else 3e-5
LAWS = {"gaussian": Gaussian(), "gaussian_mixture": GaussianMixture(3), "logistic_mixture": LogisticMixture(3)}


def close(made, wanted, tolerance=NEAR):
    assert wanted.unique().numel() > STEPS / 3 and wanted.abs().max() < 60, "nothing is shown"
    torch.testing.assert_close(made, wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("samples", "law", "hidden"),
    [
        (2, "gaussian", ()),
        (2, "logistic_mixture", (16,)),
        (8, "gaussian", ()),
        (8, "gaussian", (12,)),
        (8, "gaussian_mixture", (12,)),
        (8, "logistic_mixture", ()),
        (16, "gaussian_mixture", ()),
        (20, "gaussian", ()),
        (20, "logistic_mixture", (12,)),
    ],
)
def test_groups_are_those_of_naive(samples, law, hidden):
    network, law = group_model(LAWS[law], samples, hidden)
    given = group_material(law, 3, STEPS)
    made = made_by(engine.sample_cuda, network, law, given)
    assert made.shape == (3, samples, STEPS)
    close(made, sample_naive(network, law, **given))


def test_laws_of_more_numbers_than_registers_hold():
    network, law = group_model(GaussianMixture(12), 20)
    given = group_material(law, 1, STEPS)
    close(made_by(engine.sample_cuda, network, law, given), sample_naive(network, law, **given))


@pytest.mark.parametrize(
    ("options", "cond"), [({"front_kernel_size": 1, "linear_taps": 0}, 0), ({"kernel_size": 3, "linear_taps": 5}, 5)]
)
def test_other_networks(options, cond, monkeypatch):
    monkeypatch.setattr(engine, "_programs", lambda device: 2)  # three rows each, the last program has two
    network, law = group_model(GaussianMixture(2), 8, cond=cond, channels=37, gate_channels=24, **options)
    given = group_material(law, 5, 4, frames=False)
    close(made_by(engine.sample_cuda, network, law, given), sample_naive(network, law, **given))


@pytest.mark.parametrize("temperature", [0.0, 0.5])
@pytest.mark.parametrize(
    ("law", "hidden"), [("gaussian", (12,)), ("gaussian_mixture", ()), ("logistic_mixture", (12,))]
)
def test_temperature(law, hidden, temperature):
    network, law = group_model(LAWS[law], 4, hidden)
    given = {**group_material(law, 1, STEPS), "temperature": temperature}
    made = made_by(engine.sample_cuda, network, law, given)
    torch.testing.assert_close(made, sample_naive(network, law, **given), atol=NEAR, rtol=0)


def test_numbers_of_16_bits_stay_near():
    network, law = group_model(Gaussian(), 8, (12,))
    given = group_material(law, 2, STEPS)
    wanted = sample_naive(network, law, **given)
    made = made_by(engine.sample_cuda, network, law, given, precision="float16")
    close(made, wanted, 0.02)
    single = made_by(engine.sample_cuda, network, law, given)
    assert (made - wanted).norm() >= (single - wanted).norm(), "the precision makes no difference"


def test_stretches_are_the_whole():
    network, law = group_model(Gaussian(), 8)
    given, done = group_material(law, 2, STEPS), []
    whole = made_by(engine.sample_cuda, network, law, given, progress=done.append)
    assert sum(done) == STEPS
    cond, level, noise = (there(given[name], torch.float32) for name in ("cond", "level", "noise"))
    sampler = sampler_of("cuda", network.to(DEVICE, torch.float32), law.to(DEVICE), 2, None, 1.0, 0.0, 64.0)
    pieces = []
    for start in range(0, STEPS, GROUP_HOP):
        steps = slice(start, start + GROUP_HOP)
        pieces += sampler.draw(cond, level[..., steps], noise[..., steps], start // GROUP_HOP)
    # Group after group, in order of time.
    made = torch.cat(pieces, dim=1).cpu().double()
    torch.testing.assert_close(made, whole.transpose(1, 2).flatten(1), atol=1e-6, rtol=0)


def test_samples_stay_within_the_limit_and_levels_are_what_inputs_are_divided_by():
    network, law = group_model(Gaussian(), 4)
    given = {**group_material(law, 2, STEPS), "limit": 0.5}
    given["level"] = given["level"] + torch.linspace(-0.5, 0.5, STEPS, dtype=torch.float64)
    made = made_by(engine.sample_cuda, network, law, given)
    assert made.abs().max() == 0.5
    close(made, sample_naive(network, law, **given))


@pytest.mark.parametrize(
    ("samples", "hidden", "options", "message"),
    [
        (4, (9, 14), {}, "the 2 hidden layers of a MADE are more than 1"),
        (4, (200,), {}, "200 hidden units of a MADE are more than there is room for"),
        (20, (), {"linear_taps": 16}, "320 past samples that the network sees directly are more than 256"),
    ],
)
def test_what_the_kernel_cannot_do_is_done_by_the_graph(samples, hidden, options, message, caplog):
    network, law = group_model(Gaussian(), samples, hidden, **options)
    given = group_material(law, 1, 4)
    with caplog.at_level(logging.WARNING):
        made = made_by(ENGINES["cuda"], network, law, given, torch.float64)
    assert message in caplog.text and "cuda-graph is used" in caplog.text
    assert torch.equal(made, made_by(sample_graph, network, law, given, torch.float64))
