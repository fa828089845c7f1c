"""Every law of every kernel, in both directions, in float64 with parameters drawn at random."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioflow.flows.kernels import Additive, Affine, Inverted, Kernel, LogisticMixtureCDF, RationalQuadratic

KERNELS: dict[str, Kernel] = {
    "additive": Additive(),
    "affine": Affine(),
    "affine-unbounded": Affine(None),
    "affine-inverted": Inverted(Affine()),
    "spline-2": RationalQuadratic(2, bound=3.0),
    "spline-8": RationalQuadratic(8),
    "spline-inverted": Inverted(RationalQuadratic(5, bound=2.0, min_width=1e-2, min_height=2e-2, min_derivative=0.1)),
    "mixture-1": LogisticMixtureCDF(1),
    "mixture-4": LogisticMixtureCDF(4),
    "mixture-unbounded": LogisticMixtureCDF(3, limit=None, component_limit=2.0, spread=1.0),
    "mixture-inverted": Inverted(LogisticMixtureCDF(2)),
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
few = settings(max_examples=5, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**31)

FURTHEST_AT_ZERO = {"mixture-4": 0.0684, "mixture-unbounded": 0.35, "mixture-inverted": 0.1202}
"""How far from the identity kernels are whose docstring says that they are not quite it."""


def draw(kernel, seed=0, shape=(2, 3, 6), spread=1.0):
    """``x [B, C, T]`` twice as wide as a standard normal, and parameters."""
    generator = torch.Generator().manual_seed(seed)
    B, C, T = shape
    x = 2 * torch.randn(B, C, T, generator=generator, dtype=torch.float64)
    return x, spread * torch.randn(B, kernel.parameters * C, T, generator=generator, dtype=torch.float64)


def close(actual, expected, tolerance):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


def directions(kernel):
    return kernel.to_noise, kernel.to_data


# The laws: each raises AssertionError where a kernel breaks it.


def check_round_trip(kernel, x, params, tolerance=1e-9):
    for there, back in (directions(kernel), directions(kernel)[::-1]):
        y, log_derivative = there(x, params)
        again, log_derivative_back = back(y, params)
        close(again, x, tolerance)
        close(log_derivative_back, -log_derivative, tolerance)


def check_log_derivative(kernel, x, params, step=1e-5):
    for direction in directions(kernel):
        value = x.clone().requires_grad_()
        y, stated = direction(value, params)
        (exact,) = torch.autograd.grad(y.sum(), value)
        close(stated, exact.log(), 1e-9)
        numeric = (direction(x + step, params)[0] - direction(x - step, params)[0]) / (2 * step)
        close(stated.exp(), numeric, 1e-4)


def check_gradients(kernel, x, params):
    for direction in directions(kernel):
        inputs = x.clone().requires_grad_(), params.clone().requires_grad_()
        assert torch.autograd.gradcheck(direction, inputs, atol=1e-5, rtol=1e-4, raise_exception=False)


def check_increases(kernel, params, reach=12.0):
    """``params [1, P, 1]``: one map, over a grid."""
    x = torch.linspace(-reach, reach, 4001, dtype=params.dtype)[None, None]
    for direction in directions(kernel):
        assert (direction(x, params.expand(-1, -1, x.shape[-1]))[0].diff() > 0).all(), "the map does not increase"


def check_finite(kernel, dtype):
    """Outputs and gradients at extreme values under extreme parameters."""
    bound = 5.0
    values = [0.0, *(sign * v for v in (1e4, 30.0, bound, bound / 4, 3.75, 1.0, 3.0, 2.0) for sign in (1, -1))]
    generator = torch.Generator().manual_seed(0)
    draws = 30 * torch.randint(-1, 2, (40, kernel.parameters, 1), generator=generator, dtype=dtype)
    constant = [torch.full((1, kernel.parameters, 1), value, dtype=dtype) for value in (0, -30, 30)]
    for direction in directions(kernel):
        params = torch.cat([*constant, draws]).expand(-1, -1, len(values)).clone().requires_grad_()
        x = torch.tensor(values, dtype=dtype).expand(len(params), 1, -1).clone().requires_grad_()
        y, log_derivative = direction(x, params)
        (y.sum() + log_derivative.sum()).backward()
        for name, value in {"output": y, "log": log_derivative, "x": x.grad, "params": params.grad}.items():
            assert torch.isfinite(value).all(), f"{name} is not finite"


def check_identity_at_zero(kernel, x, furthest):
    params = x.new_zeros(x.shape[0], kernel.parameters * x.shape[1], x.shape[2])
    for direction in directions(kernel):
        y, log_derivative = direction(x, params)
        torch.testing.assert_close(y, x, atol=furthest + 10 * torch.finfo(x.dtype).eps, rtol=0)
        assert log_derivative.abs().max() <= furthest + 10 * torch.finfo(x.dtype).eps


def check_dtype(kernel, x, params):
    for dtype in (torch.float64, torch.float32):
        for direction in directions(kernel):
            outputs = direction(x.to(dtype), params.to(dtype))
            assert [value.dtype for value in outputs] == [dtype] * 2, "the dtype is not kept"


def check_float32(kernel, x, params):
    for direction in directions(kernel):
        for rough, exact in zip(direction(x.float(), params.float()), direction(x, params), strict=True):
            close(rough.double(), exact, 1e-4)


def check_compiles(kernel, x, params):
    """As one graph, with the same values and gradients."""
    for direction in directions(kernel):
        torch.compiler.reset()
        results = []
        for function in (direction, torch.compile(direction, fullgraph=True, backend="aot_eager")):
            inputs = x.clone().requires_grad_(), params.clone().requires_grad_()
            y, log_derivative = function(*inputs)
            gradients = torch.autograd.grad((y + 0.3 * log_derivative).square().sum(), inputs, allow_unused=True)
            results.append([y, log_derivative, *gradients])
        for compiled, plain in zip(*results[::-1], strict=True):
            close(compiled, plain, 1e-12)


def check_constant_log_det(kernel, x, params):
    changes = not torch.equal(kernel.to_noise(x, params)[1], kernel.to_noise(x, 2 * params)[1])
    assert changes != kernel.constant_log_det, "constant_log_det says otherwise"


@every_kernel
@few
@given(seed=seeds)
def test_there_and_back_gives_the_start(kernel, seed):
    check_round_trip(kernel, *draw(kernel, seed))


@every_kernel
@few
@given(seed=seeds)
def test_log_derivative_is_that_of_the_map(kernel, seed):
    check_log_derivative(kernel, *draw(kernel, seed, spread=0.7))


@every_kernel
def test_gradients_are_those_of_finite_differences(kernel):
    check_gradients(kernel, *draw(kernel, shape=(2, 2, 2), spread=0.7))


@every_kernel
def test_gradients_are_right_where_training_starts(kernel):
    x = torch.tensor([[[0.625, 1.5, -0.8]]], dtype=torch.float64)  # middles of bins, in which signs change
    check_gradients(kernel, x, x.new_zeros(1, kernel.parameters, 3))


@every_kernel
@few
@given(seed=seeds)
def test_the_map_increases(kernel, seed):
    check_increases(kernel, draw(kernel, seed, (1, 1, 1))[1])


@every_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_extremes_stay_finite(kernel, dtype):
    check_finite(kernel, dtype)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_parameters_of_zero_are_the_identity_or_as_near_as_said(name, dtype):
    x = torch.tensor([[[-7.0, -5.0, -2.5, -0.1, 0.0], [0.3, 1.25, 3.75, 5.0, 1e3]]], dtype=dtype)
    tolerance = 2e-7 * 1e3 if name == "mixture-1" and dtype == torch.float32 else 0.0
    check_identity_at_zero(KERNELS[name], x, FURTHEST_AT_ZERO.get(name, tolerance))


@every_kernel
def test_dtype_is_kept_and_float32_is_enough(kernel):
    check_dtype(kernel, *draw(kernel))
    check_float32(kernel, *draw(kernel, spread=0.5))


@pytest.mark.parametrize("name", ["additive", "affine-inverted", "spline-8", "mixture-4"])
def test_both_directions_compile_as_one_graph(name):
    check_compiles(KERNELS[name], *draw(KERNELS[name]))


@every_kernel
def test_constant_log_det_is_told_truly(kernel):
    check_constant_log_det(kernel, *draw(kernel))


# The laws must be able to fail: kernels that are wrong on purpose.


class Wrong(Affine):
    """An affine map of which one thing is changed: ``change(self, direction, x, params)`` gives the result."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def to_noise(self, x, params):
        return self.change(super().to_noise, x, params)

    def to_data(self, z, params):
        return self.change(super().to_data, z, params)


def doubled_logarithm(direction, x, params):
    return direction(x, params)[0], 2 * direction(x, params)[1]


def no_inverse(direction, x, params):
    return direction(1.001 * x, params)


def cut_off(direction, x, params):
    return direction(x, params.detach() + 0 * params)


def logarithm_cut_off(direction, x, params):
    return direction(x, params)[0], direction(x, params)[1].detach() + 0 * x


def mirrored(direction, x, params):
    return direction(-x, params)


def roots(direction, x, params):
    return direction(x, params)[0] + 0 * x.abs().sqrt(), direction(x, params)[1]


def widened(direction, x, params):
    return tuple(value.double() for value in direction(x, params))


def coarse_in_float32(direction, x, params):
    steps = 512 if x.dtype == torch.float32 else 2**40
    return tuple((value * steps).round() / steps for value in direction(x, params))


def broken_off(direction, x, params):
    torch._dynamo.graph_break()
    return direction(x, params)


def shifted(direction, x, params):
    return direction(x, params + 1e-3)


WRONG = {
    "doubled logarithm": (check_log_derivative, doubled_logarithm),
    "no inverse": (check_round_trip, no_inverse),
    "parameters cut off": (check_gradients, cut_off),
    "logarithm cut off": (check_gradients, logarithm_cut_off),
    "mirrored": (lambda kernel, x, params: check_increases(kernel, params[:1, ::3, :1]), mirrored),
    "infinite gradient": (lambda kernel, x, params: check_finite(kernel, torch.float64), roots),
    "wider dtype": (check_dtype, widened),
    "coarse": (check_float32, coarse_in_float32),
    "two graphs": (check_compiles, broken_off),
    "no identity": (lambda kernel, x, params: check_identity_at_zero(kernel, x, 1e-6), shifted),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_laws_catch_what_is_wrong(name):
    check, change = WRONG[name]
    right, wrong = Wrong(lambda direction, x, params: direction(x, params)), Wrong(change)
    check(right, *draw(right))
    with pytest.raises((AssertionError, torch._dynamo.exc.TorchDynamoException)):
        check(wrong, *draw(wrong))


def test_the_laws_catch_a_constant_that_is_not_one():
    right, wrong = Affine(), type("Boastful", (Affine,), {"constant_log_det": True})()
    check_constant_log_det(right, *draw(right))
    with pytest.raises(AssertionError):
        check_constant_log_det(wrong, *draw(wrong))
