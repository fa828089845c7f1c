"""Splines and mixtures against computations written down independently; tails, knots, gaps; kernels by name."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import torch

from audioflow.flows.kernels import (
    Additive,
    Affine,
    LogisticMixtureCDF,
    RationalQuadratic,
    kernel_named,
    logistic_mixture_logit,
)


def column(values):
    """Numbers of one value as parameters ``[1, P, 1]``."""
    return torch.tensor(np.asarray(values), dtype=torch.float64).reshape(1, -1, 1)


def evaluate(direction, values, params):
    """``direction`` at many values under the same ``params [1, P, 1]``, as two arrays."""
    x = torch.tensor(np.asarray(values), dtype=torch.float64).reshape(1, 1, -1)
    return [output[0, 0].numpy() for output in direction(x, params.expand(-1, -1, x.shape[-1]))]


class ReferenceSpline:
    """The formulas of Gregory and Delbourgo, value by value, bin by bin."""

    def __init__(self, raw, bins, bound, min_width, min_height, min_derivative):
        def knots(raw_sizes, least):
            sizes = least + (1 - bins * least) * scipy.special.softmax(raw_sizes)
            return -bound + 2 * bound * np.concatenate([[0], np.cumsum(sizes)])

        self.x, self.y = knots(raw[:bins], min_width), knots(raw[bins : 2 * bins], min_height)
        inner = np.log1p(np.exp(raw[2 * bins :])) / np.log(2)
        self.d = np.concatenate([[1], min_derivative + (1 - min_derivative) * inner, [1]])
        self.bound = bound

    def __call__(self, x):
        """``y`` and ``dy/dx``."""
        if abs(x) >= self.bound:
            return x, 1.0
        for k in range(len(self.x) - 1):
            if x < self.x[k + 1]:
                break
        x0, x1, y0, y1, d0, d1 = *self.x[k : k + 2], *self.y[k : k + 2], *self.d[k : k + 2]
        s, t = (y1 - y0) / (x1 - x0), (x - x0) / (x1 - x0)
        denominator = s + (d0 + d1 - 2 * s) * t * (1 - t)
        y = y0 + (y1 - y0) * (s * t**2 + d0 * t * (1 - t)) / denominator
        return y, s**2 * (d1 * t**2 + 2 * s * t * (1 - t) + d0 * (1 - t) ** 2) / denominator**2

    def inverse(self, y):
        if abs(y) >= self.bound:
            return y
        return scipy.optimize.brentq(lambda x: self(x)[0] - y, -self.bound, self.bound, xtol=1e-14, rtol=1e-14)


SHAPES = [(2, 3.0, 1e-3, 1e-3, 1e-3), (5, 1.0, 1e-2, 3e-2, 0.1), (8, 5.0, 1e-3, 1e-3, 1e-3)]


@pytest.fixture(params=SHAPES, ids=str)
def spline(request):
    """A kernel, its parameters, and the reference for them."""
    kernel = RationalQuadratic(*request.param)
    raw = 1.5 * np.random.default_rng(0).standard_normal(kernel.parameters)
    return kernel, column(raw), ReferenceSpline(raw, *request.param)


def test_spline_is_the_formula_of_gregory_and_delbourgo(spline):
    kernel, params, reference = spline
    values = np.linspace(-1.2, 1.2, 61) * reference.bound
    z, log_derivative = evaluate(kernel.to_noise, values, params)
    expected = np.array([reference(v) for v in values])
    np.testing.assert_allclose(z, expected[:, 0], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(np.exp(log_derivative), expected[:, 1], rtol=1e-10)
    x, log_derivative = evaluate(kernel.to_data, values, params)
    np.testing.assert_allclose(x, [reference.inverse(v) for v in values], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(np.exp(-log_derivative), [reference(v)[1] for v in x], rtol=1e-9)


def test_spline_meets_its_knots_with_their_derivatives(spline):
    kernel, params, reference = spline
    z, log_derivative = evaluate(kernel.to_noise, reference.x, params)
    np.testing.assert_allclose(z, reference.y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.exp(log_derivative), reference.d, rtol=1e-10)
    x, log_derivative = evaluate(kernel.to_data, reference.y, params)
    np.testing.assert_allclose(x, reference.x, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.exp(-log_derivative), reference.d, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_spline_has_finite_gradients_at_its_knots(spline, dtype):
    kernel, params, reference = spline
    for direction, knots in ((kernel.to_noise, reference.x), (kernel.to_data, reference.y)):
        around = np.concatenate([knots, np.nextafter(knots, np.inf), np.nextafter(knots, -np.inf)])
        x = torch.tensor(around, dtype=dtype).reshape(1, 1, -1).requires_grad_()
        own = params.to(dtype).expand(-1, -1, x.shape[-1]).clone().requires_grad_()
        y, log_derivative = direction(x, own)
        slope, through = torch.autograd.grad(y.sum(), [x, own], retain_graph=True)
        torch.testing.assert_close(slope, log_derivative.exp(), rtol=1e-3, atol=1e-3)
        assert torch.isfinite(through).all()
        assert all(torch.isfinite(g).all() for g in torch.autograd.grad(log_derivative.sum(), [x, own]))


def test_spline_has_right_gradients_where_the_root_changes_its_form():
    kernel = RationalQuadratic(4, 4.0, 2**-10, 2**-10)  # bins of size 2 exactly
    params = column([0.0] * 8 + [0.7] * 3).requires_grad_()
    z = torch.full((1, 1, 1), -1.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(kernel.to_data, (z, params))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_spline_is_finite_at_the_knots_of_extreme_parameters(dtype):
    kernel = RationalQuadratic(8)
    draws = 30 * np.random.default_rng(0).integers(-1, 2, (300, kernel.parameters))
    draws[:, 16:] = -30
    references = [ReferenceSpline(raw, 8, 5.0, 1e-3, 1e-3, 1e-3) for raw in draws.astype(float)]
    params = torch.tensor(draws, dtype=dtype)[:, :, None].expand(-1, -1, 27).clone().requires_grad_()
    for direction, side in ((kernel.to_noise, "x"), (kernel.to_data, "y")):
        knots = torch.tensor(np.array([getattr(reference, side) for reference in references]), dtype=dtype)
        nudges = [knots, knots + 4e-7, knots - 4e-7]
        x = torch.cat(nudges, dim=1)[:, None].clone().requires_grad_()
        outputs = direction(x, params)
        gradients = torch.autograd.grad(sum(output.sum() for output in outputs), [x, params])
        assert all(torch.isfinite(value).all() for value in [*outputs, *gradients])


def test_spline_leaves_what_lies_outside():
    kernel = RationalQuadratic(8)
    x = torch.tensor([[[-np.inf, -1e30, -5.1, -5.0, 5.0, 5.1, 1e30, np.inf]]])
    for direction in (kernel.to_noise, kernel.to_data):
        params = torch.randn(1, kernel.parameters, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        y, log_derivative = direction(x, params)
        assert torch.equal(y, x)
        assert not log_derivative.any()
        assert not torch.autograd.grad(y.sum() + log_derivative.sum(), params)[0].any()


def mixture_numbers(K, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(K), 2 * rng.standard_normal(K), rng.standard_normal(K), [0.3], [-0.4]]


class ReferenceMixture:
    """The same map through ``scipy.stats.logistic``."""

    def __init__(self, logits, locations, raw, shift, own, limit=5.0, spread=0.5):
        K = len(logits)
        centres = np.linspace(-spread, spread, K) if K > 1 else np.zeros(1)
        self.weights = scipy.special.softmax(logits)
        self.law = scipy.stats.logistic(locations + centres, np.exp(limit * np.tanh(np.array(raw) / limit)))
        self.shift, self.scale = shift[0], np.exp(limit * np.tanh(own[0] / limit))

    def __call__(self, x):
        cdf, survival = self.weights @ self.law.cdf(x), self.weights @ self.law.sf(x)
        z = self.scale * np.log(cdf / survival) + self.shift
        return z, self.scale * (self.weights @ self.law.pdf(x)) / (cdf * survival)

    def inverse(self, z):
        return scipy.optimize.brentq(lambda x: self(x)[0] - z, -200, 200, xtol=1e-13, rtol=1e-14)


@pytest.mark.parametrize("K", [1, 2, 4, 7])
def test_mixture_is_that_of_scipy(K):
    numbers = mixture_numbers(K)
    kernel, params, reference = LogisticMixtureCDF(K), column(np.concatenate(numbers)), ReferenceMixture(*numbers)
    values = np.linspace(-9, 9, 31)
    z, log_derivative = evaluate(kernel.to_noise, values, params)
    expected = np.array([reference(v) for v in values])
    np.testing.assert_allclose(z, expected[:, 0], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(np.exp(log_derivative), expected[:, 1], rtol=1e-9)
    x, log_derivative = evaluate(kernel.to_data, values, params)
    np.testing.assert_allclose(x, [reference.inverse(v) for v in values], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.exp(-log_derivative), [reference(v)[1] for v in x], rtol=1e-8)


@pytest.mark.parametrize("K", [1, 4])
@pytest.mark.parametrize("x", [-1e4, -100.0, 100.0, 1e4])
def test_tails_of_a_mixture_are_lines_also_in_float32(K, x):
    numbers = mixture_numbers(K)
    params = column(np.concatenate(numbers))
    log_scale = 5 * np.tanh(numbers[2] / 5)
    kernel = LogisticMixtureCDF(K)
    z, log_derivative = kernel.to_noise(torch.full((1, 1, 1), x), params.float())
    # Far out the widest component alone is left.
    assert log_derivative.item() == pytest.approx(5 * np.tanh(-0.4 / 5) - log_scale.max(), abs=1e-5)
    assert z.item() == pytest.approx(kernel.to_noise(torch.full((1, 1, 1), x).double(), params)[0].item(), rel=1e-5)
    assert kernel.to_data(z, params.float())[0].item() == pytest.approx(x, rel=1e-5)


@pytest.mark.parametrize("K", [1, 4])
def test_mixture_comes_back_in_float32(K):
    kernel = LogisticMixtureCDF(K)
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(50, 1, 40, generator=generator)
    params = 0.5 * torch.randn(50, kernel.parameters, 40, generator=generator)
    torch.testing.assert_close(kernel.to_data(kernel.to_noise(x, params)[0], params)[0], x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("far", [1, 1000])
def test_quantiles_are_found_between_components_far_apart(far):
    K = 3
    log_weights = column(np.log([0.2, 0.3, 0.5]))[:, :, None]
    mean, log_scale = far * column([-30.0, 5.0, 40.0])[:, :, None], column([-4.0, 1.0, -4.0])[:, :, None]
    params = torch.cat([log_weights, mean - column([-0.5, 0, 0.5])[:, :, None], log_scale], dim=1)[..., 0]
    params = torch.cat([params, torch.zeros(1, 2, 1, dtype=torch.float64)], dim=1)
    params[:, 2 * K : 3 * K] = 5 * torch.atanh(params[:, 2 * K : 3 * K] / 5)
    targets = scipy.special.logit(np.array([1e-9, 0.05, 0.19, 0.201, 0.35, 0.499, 0.51, 0.9, 1 - 1e-9]))
    x, _ = evaluate(LogisticMixtureCDF(K).to_data, targets, params)
    reached, _ = logistic_mixture_logit(torch.tensor(x)[None, None], log_weights, mean, log_scale)
    np.testing.assert_allclose(reached[0, 0], targets, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("far", [30.0, 1e8])
def test_gradients_stay_finite_in_a_gap_that_no_component_fills(dtype, far):
    kernel = LogisticMixtureCDF(2)
    params = torch.tensor([0, 0, -far, far, -30, -30, 0, 0], dtype=dtype).reshape(1, -1, 1).requires_grad_()
    z = torch.zeros(1, 1, 1, dtype=dtype, requires_grad=True)
    x, log_derivative = kernel.to_data(z, params)
    (x + log_derivative).sum().backward()
    assert abs(x.item()) < far + 1
    assert log_derivative.item() > 10
    torch.testing.assert_close(kernel.to_noise(x, params)[0], z, rtol=0, atol=1e-6)
    assert torch.isfinite(z.grad).all()
    assert torch.isfinite(params.grad).all()


def test_components_differ_from_the_beginning():
    kernel = LogisticMixtureCDF(4)
    params = torch.zeros(1, kernel.parameters, 1, dtype=torch.float64, requires_grad=True)
    kernel.to_noise(torch.full((1, 1, 1), 0.7, dtype=torch.float64), params)[0].sum().backward()
    assert len({round(value, 6) for value in params.grad[0, 4:8, 0].tolist()}) == 4


def test_kernels_have_names():
    assert isinstance(kernel_named("additive"), Additive)
    affine, spline = kernel_named("affine", limit=2.0), kernel_named("spline", bins=3, bound=2.0)
    mixture = kernel_named("mixture", components=5, limit=None)
    assert isinstance(affine, Affine)
    assert affine.limit == 2.0
    assert isinstance(spline, RationalQuadratic)
    assert (spline.parameters, spline.limits.bound) == (8, 2.0)
    assert isinstance(mixture, LogisticMixtureCDF)
    assert (mixture.parameters, mixture.limit) == (17, None)
    with pytest.raises(ValueError, match="no kernel 'cubic'; kernels are additive, affine, spline, mixture"):
        kernel_named("cubic")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 1}, "two bins or more"),
        ({"bound": 0.0}, "needs an interval"),
        ({"min_width": 0.2}, "min_width must lie between 0 and 0.125"),
        ({"min_height": 0.0}, "min_height must lie"),
        ({"min_derivative": 1.0}, "min_derivative must lie between 0 and 1"),
    ],
)
def test_splines_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RationalQuadratic(**settings)


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="one component or more"):
        LogisticMixtureCDF(0)
