"""Networks that make several samples a step: every engine against the specification in float64."""

import logging

import pytest
import torch
from sampling_material import GROUP_COND, GROUP_HOP, group_material, group_model, utterance

from audioflow.distributions import (
    DiscretizedLogisticMixture,
    Gaussian,
    GaussianMixture,
    LogisticMixture,
    MuLawCategorical,
)
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.group_head import GroupLaw
from audioflow.sampling import ENGINES, sample_cached, sample_naive, sampler_of
from audioflow.sampling.cpu import int8_works
from audioflow.sampling.cpu.engine import sample_cpu
from audioflow.sampling.cpu.forced import outputs_given
from audioflow.sampling.cuda.graph import sample_graph

STEPS = 24
LAWS = {"gaussian": Gaussian(), "gaussian_mixture": GaussianMixture(3), "logistic_mixture": LogisticMixture(3)}
HIDDEN = {"linear": (), "hidden": (12,), "two-hidden": (9, 14)}
PRECISIONS = ["float32", "int16"] + ["int8"] * int8_works()
needs_bytes = pytest.mark.skipif(not int8_works(), reason="the CPU has no AVX-512 VNNI")


def close(made, wanted, tolerance):
    assert wanted.unique().numel() > STEPS / 3 and wanted.abs().max() < 60, "nothing is shown"
    torch.testing.assert_close(made, wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize("samples", [1, 2, 4, 8, 20])
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_engines_are_alike(samples, name, hidden):
    network, law = group_model(LAWS[name], samples, HIDDEN[hidden])
    given = group_material(law, 2, STEPS)
    wanted = sample_naive(network, law, **given)
    assert wanted.shape == (2, samples, STEPS)
    close(sample_cached(network, law, **given), wanted, 1e-10)
    close(sample_graph(network, law, **given), wanted, 1e-10)
    close(sample_cpu(network, law, **given), wanted, 2e-5)
    close(sample_cpu(network, law, **given, precision="int16"), wanted, 5e-3)


def test_each_step_is_drawn_from_the_law_that_scoring_gives_it():
    network, law = group_model(Gaussian(), 4, (12,))
    given = group_material(law, 2, STEPS, frames=False)
    x = sample_cached(network, law, **given)
    with torch.inference_mode():
        outputs = network(x, network.project(given["cond"]))
        again = law.sample(law.at_level(outputs, given["level"]), given["noise"])
    torch.testing.assert_close(again, x, atol=1e-10, rtol=0)


@pytest.mark.parametrize("options", [{"front_kernel_size": 1, "linear_taps": 0}, {"kernel_size": 3, "linear_taps": 5}])
@pytest.mark.parametrize("cond", [0, GROUP_COND])
def test_other_networks(options, cond):
    network, law = group_model(GaussianMixture(2), 8, cond=cond, channels=37, gate_channels=24, **options)
    given = group_material(law, 5, STEPS, frames=False)
    close(sample_cpu(network, law, **given), sample_cached(network, law, **given), 2e-5)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("hidden", [(), (12,)], ids=["linear", "hidden"])
def test_temperature(temperature, name, hidden):
    network, law = group_model(LAWS[name], 4, hidden)
    given = {**group_material(law, 2, STEPS), "temperature": temperature}
    torch.testing.assert_close(
        sample_cpu(network, law, **given), sample_cached(network, law, **given), atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_batch_is_its_utterances_one_by_one(precision):
    network, law = group_model(Gaussian(), 8)
    given = group_material(law, 7, STEPS, frames=False)
    together = sample_cpu(network, law, **given, precision=precision)
    for row in range(7):
        own = utterance(given, row)
        assert torch.equal(sample_cpu(network, law, **own, precision=precision), together[row : row + 1])


@pytest.mark.parametrize("engine", ["cpu", "cpu-int16", pytest.param("cpu-int8", marks=needs_bytes)])
@pytest.mark.parametrize("samples", [1, 8])
def test_stretches_are_the_whole(engine, samples):
    network, law = group_model(Gaussian(), samples)
    given, done = group_material(law, 2, STEPS), []
    whole = ENGINES[engine](network, law, **given, progress=done.append)
    assert sum(done) == STEPS
    sampler = sampler_of(engine, network, law, 2, None, 1.0, 0.0, 64.0)
    pieces = []
    for start in range(0, STEPS, GROUP_HOP):
        steps = slice(start, start + GROUP_HOP)
        pieces += sampler.draw(
            given["cond"], given["level"][..., steps], given["noise"][..., steps], start // GROUP_HOP
        )
    made = torch.cat(pieces, dim=1)
    assert made.shape == (2, samples * STEPS)
    # Group after group, in order of time.
    assert torch.equal(made.double(), whole.transpose(1, 2).flatten(1))


@pytest.mark.parametrize("samples", [1, 4])
def test_samples_stay_within_the_limit(samples):
    network, law = group_model(Gaussian(), samples)
    given = {**group_material(law, 2, STEPS), "limit": 0.5}
    made = [engine(network, law, **given) for engine in (sample_naive, sample_cached, sample_graph, sample_cpu)]
    assert [x.abs().max() for x in made] == [0.5] * 4
    for other in made[1:]:
        torch.testing.assert_close(other, made[0], atol=2e-5, rtol=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_groups_are_not_made_with_preemphasis(engine):
    network, law = group_model(Gaussian(), 4)
    with pytest.raises(ValueError, match="without preemphasis"):
        ENGINES[engine](network, law, **group_material(law, 1, STEPS), preemphasis=0.9)


def test_levels_are_what_inputs_are_divided_by():
    network, law = group_model(Gaussian(), 4)
    given = group_material(law, 2, STEPS)
    given["level"] = given["level"] + torch.linspace(-0.5, 0.5, STEPS, dtype=torch.float64)
    close(sample_cpu(network, law, **given), sample_naive(network, law, **given), 2e-5)


@pytest.mark.parametrize(("engine", "instead"), [("cpu", sample_cached), ("cuda", sample_graph)])
@pytest.mark.parametrize("single", [DiscretizedLogisticMixture(2), MuLawCategorical(8)])
def test_a_law_that_a_loop_does_not_know_is_drawn_by_another(engine, instead, single, caplog):
    class Other(GroupLaw):
        """A group of laws on grids, which no loop knows, without what moves them."""

        def sample(self, params, noise, temperature=1.0):
            theta = self.split(params)[0].flatten(2)
            each = noise.unflatten(1, (self.samples, -1)).transpose(1, 2).flatten(2)
            return self.law.sample(theta, each, temperature).unflatten(2, (self.samples, -1)).flatten(1, 2)

    law = Other(single, 2)
    network, _ = group_model(Gaussian(), 2)
    network.end, network.linear, network.linear_taps = torch.nn.Conv1d(13, law.parameter_channels, 1).double(), None, 0
    given = group_material(law, 1, STEPS)
    with caplog.at_level(logging.WARNING):
        made = ENGINES[engine](network, law, **given)
    assert f"The engine {engine} cannot be used here" in caplog.text
    assert torch.equal(made, instead(network, law, **given))


@needs_bytes
@pytest.mark.parametrize("samples", [1, 8])
def test_8_bits_stay_near(samples):
    network, law = group_model(Gaussian(), samples)
    given = group_material(law, 3, STEPS)
    x = sample_cached(network, law, **given)
    with torch.inference_mode():
        exact = network(x, network.project(Conditioning(given["cond"].samples())))
    single, few = (
        outputs_given(network, law, given["cond"], given["level"], x, precision).double()
        for precision in ("float32", "int8")
    )
    torch.testing.assert_close(single, exact, atol=1e-5, rtol=0)
    error = (few - exact).square().mean().sqrt() / exact.std()
    assert 1e-5 < error < 0.01


@needs_bytes
def test_8_bits_sample_near():
    network, law = group_model(LogisticMixture(3), 8, (12,))
    given = group_material(law, 3, STEPS)
    made, wanted = sample_cpu(network, law, **given, precision="int8"), sample_cached(network, law, **given)
    # A mixture may choose another component now and then.
    assert (made - wanted).abs().median() < 0.02 * wanted.std()


def test_a_large_draw_does_not_say_that_the_next_is_larger():
    """Hidden units whose log-scale grows with what they see: without a bound the tenth sample would be infinite."""
    law = GroupLaw(Gaussian(), 20, (12,)).double()
    with torch.no_grad():
        for layer in law.made.layers:
            layer.weight.fill_(1.0)
            layer.bias.zero_()
    params = torch.zeros(1, law.parameter_channels, 1, dtype=torch.float64)
    drawn = law.sample(params, torch.full((1, 20, 1), 3.0, dtype=torch.float64))
    assert drawn.isfinite().all()
    scale = law.given_earlier(params, drawn)[0, 1, :, 0]
    assert scale[-1] == law.given_earlier(params, 1e6 * drawn)[0, 1, -1, 0] and scale.isfinite().all()
