"""The output laws against formulas written down independently, and against their own draws."""

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch

from audioflow.audio import AMPLITUDE_STEP
from audioflow.distributions import (
    DiscretizedLogisticMixture,
    Gaussian,
    GaussianMixture,
    MuLawCategorical,
)
from audioflow.distributions.base import soft_floor
from audioflow.distributions.logistic import log1mexp

LAWS = {
    "gaussian": Gaussian(),
    "gaussian-mixture": GaussianMixture(3),
    "logistic-mixture": DiscretizedLogisticMixture(3),
    "mu-law": MuLawCategorical(32),
}
every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)

LOGITS, MEANS, RAWS = [0.3, -0.7, 1.1], [-0.2, 0.05, 0.3], [-2.0, -4.0, -1.5]
GRID = torch.arange(-32768, 32768, dtype=torch.float64) * AMPLITUDE_STEP


def mixture_params(logits=LOGITS, means=MEANS, raws=RAWS):
    return torch.tensor([*logits, *means, *raws], dtype=torch.float64).reshape(1, -1, 1)


def density(law, params, x):
    """``exp(log_prob)`` at the amplitudes ``x`` (a number or an array), under ``params [1, P, 1]``."""
    values = torch.as_tensor(np.atleast_1d(x), dtype=torch.float64).reshape(1, 1, -1)
    return law.log_prob(params.expand(-1, -1, values.shape[-1]), values).exp()[0].numpy()


def draws(law, params, count=100_000, seed=0):
    noise = np.random.default_rng(seed).standard_normal((1, law.noise_channels, count))
    return law.sample(params.expand(-1, -1, count), torch.from_numpy(noise))[0, 0].numpy()


def weights_and_scales():
    return scipy.special.softmax(LOGITS), np.exp(-11.5 + np.logaddexp(0, np.array(RAWS) + 11.5))


@pytest.mark.parametrize(("mean", "raw", "floor"), [(0.1, -3.0, -11.5), (-0.5, 0.4, -11.5), (0.0, -30.0, -4.0)])
def test_gaussian_is_the_normal_law(mean, raw, floor):
    law = Gaussian(floor)
    scale = np.exp(floor + np.logaddexp(0, raw - floor))
    reference = scipy.stats.norm(mean, scale)
    params = torch.tensor([[[mean], [raw]]], dtype=torch.float64)
    x = mean + scale * np.linspace(-6, 6, 25)
    np.testing.assert_allclose(density(law, params, x), reference.pdf(x), rtol=1e-12)
    total, _ = scipy.integrate.quad(lambda v: density(law, params, v)[0], mean - 12 * scale, mean + 12 * scale)
    assert total == pytest.approx(1, abs=1e-8)
    assert scipy.stats.kstest(draws(law, params), reference.cdf).pvalue > 1e-3


def test_gaussian_mixture_is_the_weighted_sum():
    law, params = GaussianMixture(3), mixture_params()
    weights, scales = weights_and_scales()
    parts = list(zip(weights, MEANS, scales, strict=True))
    x = np.linspace(-1, 1, 41)
    expected = sum(w * scipy.stats.norm.pdf(x, m, s) for w, m, s in parts)
    np.testing.assert_allclose(density(law, params, x), expected, rtol=1e-11)
    total, _ = scipy.integrate.quad(lambda v: density(law, params, v)[0], -3, 3, points=MEANS, limit=200)
    assert total == pytest.approx(1, abs=1e-7)
    cdf = lambda v: sum(w * scipy.stats.norm.cdf(v, m, s) for w, m, s in parts)  # noqa: E731
    assert scipy.stats.kstest(draws(law, params), cdf).pvalue > 1e-3


def test_logistic_mixture_is_a_difference_of_distribution_functions():
    law, params = DiscretizedLogisticMixture(3), mixture_params()
    weights, scales = weights_and_scales()
    parts = list(zip(weights, MEANS, scales, strict=True))
    cdf = lambda v: sum(w * scipy.stats.logistic.cdf(v, m, s) for w, m, s in parts)  # noqa: E731
    x = GRID[1000:-1000:997].numpy()
    half = AMPLITUDE_STEP / 2
    np.testing.assert_allclose(density(law, params, x) * AMPLITUDE_STEP, cdf(x + half) - cdf(x - half), rtol=1e-7)
    lowest, highest = density(law, params, [-1.0, 1.0]) * AMPLITUDE_STEP
    assert lowest == pytest.approx(cdf(-1 + half), rel=1e-9)
    assert highest == pytest.approx(1 - cdf(1 - 1.5 * AMPLITUDE_STEP), rel=1e-9)


def test_logistic_mixture_draws_follow_its_masses():
    law, params = DiscretizedLogisticMixture(3), mixture_params()
    mass = density(law, params, GRID) * AMPLITUDE_STEP
    drawn = np.rint(draws(law, params) / AMPLITUDE_STEP).astype(int) + 32768
    edges = np.searchsorted(mass.cumsum(), np.linspace(0, 1, 41)[1:-1])
    expected = np.diff(np.concatenate([[0], mass.cumsum()[edges - 1], [1]]))
    observed = np.bincount(np.searchsorted(edges, drawn, side="right"), minlength=40)
    assert scipy.stats.chisquare(observed, expected * len(drawn)).pvalue > 1e-3


@pytest.mark.parametrize(
    "params",
    [
        mixture_params(),
        mixture_params(raws=[-100.0, -100.0, -100.0]),
        mixture_params(means=[AMPLITUDE_STEP / 2, 0.5 + AMPLITUDE_STEP / 3, -1.0], raws=[-11.5, -11.5, -11.5]),
        mixture_params(raws=[2.0, 0.0, 5.0]),
        mixture_params(raws=[100.0, 30.0, 50.0]),
        mixture_params(means=[-1.7, 3.0, 1.0]),
        mixture_params(means=[-1.7, 3.0, 40.0], raws=[-9.0, -9.0, -9.0]),
    ],
    ids=["ordinary", "narrowest", "between-cells", "wide", "absurdly-wide", "out-of-range", "far-and-narrow"],
)
def test_logistic_mixture_sums_to_one_over_the_16_bit_grid(params):
    law = DiscretizedLogisticMixture(3)
    assert density(law, params, GRID).sum() * AMPLITUDE_STEP == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("classes", [2, 16, 256])
def test_mu_law_is_a_histogram_over_companded_cells(classes):
    law, mu = MuLawCategorical(classes), classes - 1
    logits = np.random.default_rng(classes).standard_normal(classes)
    params = torch.from_numpy(logits).reshape(1, -1, 1)
    x = np.random.default_rng(1).uniform(-1, 1, 500)
    companded = np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
    index = np.rint((companded + 1) / 2 * mu).astype(int)
    borders = np.clip(-1 + (np.arange(classes + 1) - 0.5) * 2 / mu, -1, 1)
    edges = np.sign(borders) * np.expm1(np.abs(borders) * np.log1p(mu)) / mu
    expected = scipy.special.softmax(logits)[index] / np.diff(edges)[index]
    np.testing.assert_allclose(density(law, params, x), expected, rtol=1e-9)
    middles = (edges[1:] + edges[:-1]) / 2
    assert (density(law, params, middles) * np.diff(edges)).sum() == pytest.approx(1, abs=1e-12)

    drawn = draws(law, params)
    observed, _ = np.histogram(drawn, edges)
    assert scipy.stats.chisquare(observed, scipy.special.softmax(logits) * len(drawn)).pvalue > 1e-3
    within = (drawn - edges[np.searchsorted(edges, drawn) - 1]) / np.diff(edges)[np.searchsorted(edges, drawn) - 1]
    assert scipy.stats.kstest(within, "uniform").pvalue > 1e-3


def test_mu_law_shows_a_network_companded_amplitude():
    x = torch.tensor([-1.0, -0.01, 0.0, 0.01, 1.0], dtype=torch.float64)
    seen = MuLawCategorical(256).network_input(x, torch.full_like(x, -3.0))
    expected = np.sign(x.numpy()) * np.log(1 + 255 * np.abs(x.numpy())) / np.log(256)
    np.testing.assert_allclose(seen.numpy(), expected, rtol=1e-12)


@every_law
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("raw", [-100.0, -11.5, 0.0, 30.0, 100.0])
def test_values_and_gradients_stay_finite_everywhere(law, dtype, raw):
    params = torch.full((1, law.parameter_channels, 5), 0.1, dtype=dtype)
    params[:, -max(1, law.parameter_channels // 3) :] = raw
    if isinstance(law, Gaussian):
        params[:, 1] = raw
    params.requires_grad_()
    x = torch.tensor([[[-1.0, -0.3, 0.0, 0.1, 1.0]]], dtype=dtype)
    log_prob = law.log_prob(params, x)
    assert log_prob.shape == (1, 5)
    assert log_prob.dtype == dtype
    assert torch.isfinite(log_prob).all()
    log_prob.sum().backward()
    assert torch.isfinite(params.grad).all()


@every_law
def test_log_prob_has_the_gradient_of_its_differences(law):
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(2, law.parameter_channels, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    x = (torch.randint(-9000, 9000, (2, 1, 3), generator=generator) * AMPLITUDE_STEP).double()
    assert torch.autograd.gradcheck(lambda value: law.log_prob(value, x), params)


@every_law
def test_temperature_zero_ignores_the_noise_and_one_does_not(law):
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(2, law.parameter_channels, 50, dtype=torch.float64, generator=generator)
    noise = torch.randn(2, 2, law.noise_channels, 50, dtype=torch.float64, generator=generator)
    cold = [law.sample(params, one, temperature=0.0) for one in noise]
    assert cold[0].shape == (2, 1, 50)
    assert torch.equal(cold[0], cold[1])
    assert not torch.equal(law.sample(params, noise[0]), law.sample(params, noise[1]))


def test_a_lower_temperature_narrows_a_gaussian_in_proportion():
    law, params = Gaussian(), torch.tensor([[[0.2], [-3.0]]], dtype=torch.float64)
    noise = torch.tensor([[[1.5]]], dtype=torch.float64)
    full, half = law.sample(params, noise), law.sample(params, noise, temperature=0.5)
    assert (half - 0.2).item() == pytest.approx(0.5 * (full - 0.2).item())


@every_law
@pytest.mark.parametrize("spread", [0.002, 0.05, 0.3])
def test_outputs_of_zero_say_as_wide_as_the_speech(law, spread):
    level = torch.full((1, 1, 1), np.log(spread), dtype=torch.float64)
    params = law.at_level(torch.zeros(1, law.parameter_channels, 1, dtype=torch.float64), level)
    assert params.shape == (1, law.parameter_channels, 1)
    width = draws(law, params).std()
    if isinstance(law, MuLawCategorical):
        assert not params.any()
    else:
        assert spread / 2 < width < 3 * spread


@pytest.mark.parametrize("law", [Gaussian(-30.0), GaussianMixture(3, -30.0)], ids=["gaussian", "gaussian-mixture"])
def test_louder_speech_is_the_same_law_in_other_units(law):
    outputs = torch.randn(1, law.parameter_channels, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    quiet, loud = (torch.full((1, 1, 1), np.log(spread), dtype=torch.float64) for spread in (0.01, 0.1))
    x = np.linspace(-0.05, 0.05, 21)
    np.testing.assert_allclose(
        density(law, law.at_level(outputs, quiet), x), 10 * density(law, law.at_level(outputs, loud), 10 * x), rtol=1e-6
    )


@pytest.mark.parametrize("name", ["gaussian", "gaussian-mixture", "logistic-mixture"])
def test_other_laws_show_amplitude_in_units_of_the_level(name):
    x = torch.tensor([[[0.1, -0.2]]], dtype=torch.float64)
    level = torch.tensor([[[0.1, 0.5]]], dtype=torch.float64).log()
    torch.testing.assert_close(LAWS[name].network_input(x, level), torch.tensor([[[1.0, -0.4]]], dtype=torch.float64))


def test_soft_floor_is_a_smooth_maximum():
    raw = torch.tensor([-50.0, -4.0, 3.0, 50.0], dtype=torch.float64, requires_grad=True)
    value = soft_floor(raw, -4.0)
    np.testing.assert_allclose(value.detach(), -4 + np.logaddexp(0, raw.detach().numpy() + 4), rtol=1e-12)
    value.sum().backward()
    np.testing.assert_allclose(raw.grad, scipy.special.expit(raw.detach().numpy() + 4), rtol=1e-9)


def test_log1mexp_is_accurate_from_tiny_to_huge():
    for log_x in (-60.0, -500.0):  # so far below one that the result is log(x) itself
        assert log1mexp(torch.tensor(log_x, dtype=torch.float64)).item() == pytest.approx(log_x, rel=1e-14)
    x = np.logspace(-12, 3, 200)
    expected = np.where(x < 0.7, np.log(-np.expm1(-x)), np.log1p(-np.exp(-x)))
    np.testing.assert_allclose(log1mexp(torch.from_numpy(np.log(x))).numpy(), expected, rtol=1e-12, atol=1e-15)
