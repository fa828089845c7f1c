"""The laws of a bijection as functions: each raises AssertionError where a flow breaks it."""

import torch
from torch import Tensor

from audioflow.flows import MAF, Bijection, Flow

GARBAGE = 1e4
"""What padding is filled with: finite, and far beyond anything valid."""


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-8) -> None:
    """Both the same, dtype included, with a tolerance that is absolute and relative."""
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


def check_round_trip(flow: Bijection, x: Tensor, cond: Tensor) -> None:
    """There and back gives the start, from either end, and the two log-determinants cancel."""
    for there, back in ((flow.to_noise, flow.to_data), (flow.to_data, flow.to_noise)):
        y, log_det = there(x, cond)
        again, log_det_back = back(y, cond)
        close(again, x)
        close(log_det + log_det_back, torch.zeros_like(log_det))


def check_log_det(flow: Bijection, x: Tensor, cond: Tensor) -> None:
    """The log-determinant of each direction is that of its Jacobian; ``x [1, C, T]``, ``cond [1, M, T]``."""
    for direction in ("to_noise", "to_data"):
        function = getattr(flow, direction)
        stated = function(x, cond)[1]
        numeric = difference_jacobian(function, x, cond)
        close(stated, torch.linalg.slogdet(numeric)[1][None], 1e-6)
        # Gradients too, entry by entry: a triangular map has the right determinant even where they are cut off.
        exact = autograd_jacobian(function, x, cond)
        close(exact, numeric, 1e-4)
        close(stated, torch.linalg.slogdet(exact)[1][None])


def autograd_jacobian(function, x: Tensor, cond: Tensor) -> Tensor:
    """``[C T, C T]`` by automatic differentiation."""
    jacobian = torch.autograd.functional.jacobian(lambda value: function(value, cond)[0], x)
    return jacobian.reshape(x.numel(), x.numel())


@torch.no_grad()
def difference_jacobian(function, x: Tensor, cond: Tensor, step: float = 1e-5) -> Tensor:
    """``[C T, C T]`` by central differences, all of them as one batch."""
    size = x.numel()
    shifts = step * torch.eye(size, dtype=x.dtype).reshape(size, *x.shape[1:])
    both = function(torch.cat([x + shifts, x - shifts]), cond.expand(2 * size, -1, -1))[0].reshape(2, size, size)
    return ((both[0] - both[1]) / (2 * step)).t()


def check_constant_log_det(flow: Bijection, x: Tensor, cond: Tensor) -> None:
    """The log-determinant is the same for every input exactly where the flow says so."""
    first, second = flow.to_noise(x, cond)[1], flow.to_noise(2 * x + 0.5, cond)[1]
    assert torch.equal(first, second) == flow.constant_log_det, "constant_log_det says otherwise"


def check_mask(flow: Bijection, x: Tensor, cond: Tensor, lengths: list[int]) -> None:
    """A padded batch gives what the utterances give alone, zeros after their ends, whatever the padding holds."""
    mask = torch.zeros(x.shape[0], 1, x.shape[-1], dtype=x.dtype)
    for row, length in enumerate(lengths):
        mask[row, :, :length] = 1
    dirty = torch.where(mask > 0, x, torch.full_like(x, GARBAGE))
    dirty_cond = torch.where(mask > 0, cond, torch.full_like(cond, GARBAGE))
    for function in (flow.to_noise, flow.to_data):
        y, log_det = function(dirty, cond * mask, mask)
        assert torch.equal(function(dirty, dirty_cond, mask)[0], y), "conditioning beyond the end matters"
        for row, length in enumerate(lengths):
            alone, log_det_alone = function(x[row : row + 1, :, :length], cond[row : row + 1, :, :length])
            close(y[row : row + 1, :, :length], alone)
            close(log_det[row : row + 1], log_det_alone)
            assert not y[row, :, length:].any(), "the output after the end is not zero"


def check_state_dict(flow: Bijection, other: Bijection, x: Tensor, cond: Tensor) -> None:
    """A state dict carries everything: ``other``, the same flow with other weights, becomes ``flow``."""
    other.load_state_dict(flow.state_dict())
    for first, second in zip(flow.to_noise(x, cond), other.to_noise(x, cond), strict=True):
        assert torch.equal(first, second), "the state dict does not hold the whole state"


def check_dtype(flow: Bijection, x: Tensor, cond: Tensor) -> None:
    """float32 and float64 stay what they are, in both directions and log-determinants."""
    for dtype in (torch.float64, torch.float32):
        flow = flow.to(dtype)
        for function in (flow.to_noise, flow.to_data):
            assert {value.dtype for value in function(x.to(dtype), cond.to(dtype))} == {dtype}


def check_autocast(flow: Bijection, x: Tensor, cond: Tensor) -> None:
    """Under bfloat16 autocast everything that carries audio is float32 and stays near the exact result."""
    flow, x, cond = flow.float(), x.float(), cond.float()
    for function in (flow.to_noise, flow.to_data):
        exact = function(x, cond)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = function(x, cond)
        for rough_value, exact_value in zip(rough, exact, strict=True):
            assert torch.isfinite(rough_value).all()
            torch.testing.assert_close(rough_value, exact_value, atol=0.1, rtol=0.05)


def check_initialize(flow: Bijection, x: Tensor, cond: Tensor) -> None:
    """Starting from data hands on what the started flow makes of them, in either direction; no other layer changes."""
    for direction in ("to_noise", "to_data"):
        handed_on = flow.initialize(x, cond, None, direction)
        close(handed_on, getattr(flow, direction)(x, cond)[0])


@torch.no_grad()
def check_compile(function, x: Tensor, cond: Tensor, mask: Tensor) -> None:
    """One direction of a flow compiles as one graph, which gives the same."""
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for first, second in zip(compiled(x, cond, mask), function(x, cond, mask), strict=True):
        close(first, second, 1e-12)


def check_order(flow: MAF, x: Tensor, cond: Tensor) -> None:
    """Each slot of the noise depends on its own slot of the data and on earlier ones; ``x [1, C, T]``."""
    jacobian = autograd_jacobian(flow.to_noise, x, cond)
    places = torch.empty(x.shape[1:], dtype=torch.long)
    for place, (channels, steps) in enumerate(flow.network.slots(x.shape[-1])):
        places[channels, steps] = place
    places = places.flatten()
    later = places[None, :] > places[:, None]
    assert not jacobian[later].any(), "a slot sees one that comes after it"
    assert jacobian.diagonal().abs().min() > 0, "a slot does not see itself"
    earlier = (places[None, :] < places[:, None]).any() and jacobian[places[None, :] < places[:, None]].any()
    assert earlier or places.max() == 0, "no slot sees an earlier one: nothing is shown"


def check_sample_and_log_prob(flow: Flow, noise: Tensor, cond: Tensor) -> None:
    """A draw's own likelihood is the likelihood of the draw, and both are differentiable or both detached."""
    x, log_prob = flow.rsample_and_log_prob(noise, cond)
    close(flow.sample(noise, cond), x)
    close(flow.log_prob(x, cond), log_prob)
    detached = flow.sample_and_log_prob(noise, cond)
    close(detached[0], x.detach())
    close(detached[1], log_prob.detach())


def check_density(flow: Bijection, channels: int, steps: int, reach: float, points: int = 161) -> None:
    """``exp(log N(z) + log_det)`` integrates to one over a grid in one or two dimensions."""
    line = torch.linspace(-reach, reach, points, dtype=torch.float64)
    grid = torch.cartesian_prod(*[line] * (channels * steps)).reshape(-1, channels, steps)
    cond = torch.full((1, 2, steps), 0.3, dtype=torch.float64).expand(len(grid), -1, -1)
    with torch.no_grad():
        z, log_det = flow.to_noise(grid, cond)
    log_base = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(dim=(1, 2))
    mass = (log_base + log_det).exp().sum() * (line[1] - line[0]) ** (channels * steps)
    assert abs(mass.item() - 1) < 1e-3, f"the density integrates to {mass.item()}"
