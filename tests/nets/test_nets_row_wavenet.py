"""WaveFlow's network: what each row sees, by the gradient; row by row is all at once; the orders of its flows."""

from collections import deque

import pytest
import torch
from laws.flow_laws import close
from laws.models import perturb
from torch.nn import functional

from audioflow.flows import MAF, Chain, Permutation
from audioflow.flows.kernels import Affine
from audioflow.flows.reshape import squeeze
from audioflow.nets.row_order import row_orders
from audioflow.nets.row_wavenet import RowWaveNet
from audioflow.vocoders.waveflow import published_row_dilations

M, STEPS = 2, 19


def make(rows=6, row_dilations=(1, 1), seed=0, **options):
    torch.manual_seed(seed)
    return perturb(RowWaveNet(rows, 2, M, 4, row_dilations, **options), 0.4).double()


def normal(channels, steps=STEPS, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, steps, dtype=torch.float64, generator=generator)


def cond_of(net, steps=STEPS, batch=1):
    return normal(M if net.shared_cond else M * len(net.order), steps, batch, seed=1)


def row_by_row(net, x, cond, mask=None):
    """Parameters ``[B, P * h, W]`` by steps, the rows being those of ``x``."""
    state, previous = net.init_state(x, cond, mask), None
    params = x.new_zeros(len(x), net.outputs, *x.shape[1:])
    for channels, steps in net.slots(x.shape[-1]):
        row, state = net.step(state, previous)
        params[:, :, channels, steps] = row.unflatten(1, (net.outputs, 1))
        previous = x[:, channels, steps]
    return params.flatten(1, 2)


def rows_seen(net, place):
    """Places in the order whose rows reach the parameters of the row at ``place``."""
    x, cond = normal(len(net.order)).requires_grad_(), cond_of(net)
    params = net(x, cond).unflatten(1, (net.outputs, -1))[0, :, net.order[place]]
    weights = normal(net.outputs)[0]
    (gradient,) = torch.autograd.grad((params * weights).sum(), x, allow_unused=True)
    places = gradient[0].abs().sum(dim=1).nonzero().flatten().tolist()
    return {int(torch.argsort(net.order)[row]) for row in places}


@pytest.mark.parametrize("first_row_passes", [False, True])
@pytest.mark.parametrize("order", [None, [3, 0, 5, 1, 4, 2]])
@pytest.mark.parametrize(("row_dilations", "taps"), [([1, 1], 3), ([2, 1], 2), ([1], 2), ([1, 2, 4], 3)])
def test_each_row_sees_the_rows_before_it_that_its_taps_reach(row_dilations, taps, order, first_row_passes):
    options = {"kernel_size": (taps, 3), "order": order, "first_row_passes": first_row_passes}
    net = make(6, row_dilations, **options)
    # How far back the taps of all layers lie, together.
    offsets = {0}
    for dilation in row_dilations:
        offsets = {offset + tap * dilation for offset in offsets for tap in range(taps)}
    for place in range(6):
        wanted = {place - 1 - offset for offset in offsets if place - 1 - offset >= 0}
        assert rows_seen(net, place) == wanted


@pytest.mark.parametrize("rows", [32, 64, 128])
def test_with_the_dilations_of_the_paper_a_row_sees_all_before_it(rows):
    net = make(rows, published_row_dilations(rows, 8))
    assert rows_seen(net, rows - 1) == set(range(rows - 1))


@pytest.mark.parametrize("taps", [2, 3])
@pytest.mark.parametrize("shared_cond", [False, True])
@pytest.mark.parametrize("first_row_passes", [False, True])
@pytest.mark.parametrize(
    ("rows", "row_dilations"),
    [
        (2, [1, 1]),
        (3, [2, 5]),
        (8, [1] * 4),
        (16, [1] * 8),
        (16, [1, 2, 3, 4]),
        (32, [1, 2, 4, 1, 2, 4, 1, 2]),
        (64, [1, 2, 4, 8, 16, 1, 2, 4]),
    ],
)
def test_row_by_row_is_all_at_once(rows, row_dilations, first_row_passes, shared_cond, taps):
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(rows)).tolist()
    options = {"kernel_size": (taps, 3), "order": order, "shared_cond": shared_cond}
    net = make(rows, row_dilations, first_row_passes=first_row_passes, **options)
    mask = torch.ones(2, 1, STEPS, dtype=torch.float64)
    mask[1, :, 11:] = 0
    x, cond = normal(rows, batch=2) * mask, cond_of(net, batch=2)
    with torch.no_grad():
        close(row_by_row(net, x, cond, mask), net(x, cond, mask), 1e-12)


def test_one_row_is_told_by_the_conditioning_alone():
    net = make(1, [1, 1])
    x, cond = normal(1), cond_of(net)
    assert torch.equal(net(x, cond), net(x + 1, cond))
    close(row_by_row(net, x, cond), net(x, cond), 1e-12)
    with pytest.raises(ValueError, match="second row"):
        RowWaveNet(1, 2, M, 4, [1], first_row_passes=True)


def test_row_by_row_has_the_gradients_of_all_at_once():
    net = make(6, [1, 2])
    x, cond = normal(6).requires_grad_(), cond_of(net)
    wanted = torch.autograd.grad(net(x, cond).square().sum(), [x, *net.parameters()])
    found = torch.autograd.grad(row_by_row(net, x, cond).square().sum(), [x, *net.parameters()])
    for first, second in zip(found, wanted, strict=True):
        close(first, second, 1e-10)


def test_a_cache_that_is_right_for_dilation_one_only_is_caught():
    def short(net):
        """Keeps two rows for each layer, whatever its dilation."""
        start = net.init_state

        def init_state(*args):
            state = start(*args)
            state.past = [deque(maxlen=3) for _ in state.past]
            return state

        net.init_state = init_state
        return net

    x = normal(8)
    net = make(8, [1, 1])
    close(row_by_row(short(net), x, cond_of(net)), net(x, cond_of(net)), 1e-12)
    net = make(8, [1, 2])
    with pytest.raises(AssertionError):
        close(row_by_row(short(net), x, cond_of(net)), net(x, cond_of(net)), 1e-12)


def steps_seen(out, inputs, step):
    """How far from ``step`` each input lies that reaches this step of ``out [1, C, W]``."""
    weights = normal(out.shape[1], 1, seed=2)[0, :, 0]
    gradients = torch.autograd.grad((out[0, :, step] * weights).sum(), inputs, retain_graph=True)
    seen = (gradient[0].abs().sum(dim=0).nonzero().flatten() - step for gradient in gradients)
    return [(int(found.min()), int(found.max())) for found in seen]


@pytest.mark.parametrize("first_row_passes", [False, True])
@pytest.mark.parametrize("taps", [3, 5])
def test_the_stated_context_is_exact(taps, first_row_passes):
    rows, half = 3, (taps - 1) // 2
    net = make(rows, [1, 1], kernel_size=(3, taps), first_row_passes=first_row_passes)
    flow, steps = MAF(net, Affine()), 80
    assert net.context_steps == half * (1 + 2)
    # Of the mel the first layer's taps see nothing, and the rows go on from there.
    told = (rows - int(first_row_passes)) * net.context_steps - half
    assert flow.reach("to_noise") == net.context_steps
    assert flow.reach("to_data") == max(told, 2 * net.context_steps)
    x, cond = normal(rows, steps).requires_grad_(), cond_of(net, steps).requires_grad_()
    step, context = steps // 2, net.context_steps
    assert steps_seen(net(x, cond), (x, cond), step) == [(-context, context), (half - context, context - half)]
    data = flow.to_data(x, cond)[0]
    assert steps_seen(data, (x, cond), step) == [(-2 * context, 2 * context), (-told, told)]


def test_every_row_is_told_its_own_conditioning():
    rows = 3
    net = make(rows, [1, 1], order=[2, 0, 1])
    # One feature after the other, each of three rows, as squeezing lays them out.
    cond = squeeze(normal(M, rows * STEPS), rows).requires_grad_()
    for place, row in enumerate(net.order.tolist()):
        (gradient,) = torch.autograd.grad(net(normal(rows), cond)[:, row::rows].sum(), cond)
        told = gradient[0].abs().sum(dim=1).unflatten(0, (M, rows)).sum(dim=0).nonzero().flatten().tolist()
        assert set(told) == set(net.order[: place + 1].tolist())


def test_conditioning_that_is_shared_is_the_same_for_all_rows():
    apart, together = make(4, [1, 1]), make(4, [1, 1], shared_cond=True)
    together.load_state_dict(apart.state_dict())
    x, cond = normal(4), normal(M)
    close(together(x, cond), apart(x, cond.repeat_interleave(4, dim=1)), 1e-12)


def test_a_first_row_that_passes_is_the_published_network():
    """The rows but the last go in, the rows but the first come out, and above them there is nothing but zeros."""
    rows = 5
    net = make(rows, [1, 2], first_row_passes=True)
    x, cond = normal(rows), cond_of(net)
    h = functional.conv2d(x[:, None, :-1], net.start.weight, net.start.bias)
    told = cond.unflatten(1, (M, rows))[:, :, 1:]
    skips = 0
    for layer, (convolution, mixer) in enumerate(zip(net.convolutions, net.mixers, strict=True)):
        across, down = 2**layer, convolution.dilation[0]
        a = functional.conv2d(
            functional.pad(h, (across, across, 2 * down, 0)),
            convolution.weight,
            convolution.bias,
            dilation=(down, across),
        )
        own = slice(8 * layer, 8 * (layer + 1))
        a = a + functional.conv2d(told, net.condition.weight[own, :, :, None], net.condition.bias[own])
        y = functional.conv2d(torch.tanh(a[:, :4]) * torch.sigmoid(a[:, 4:]), mixer.weight, mixer.bias)
        h, skips = h + y[:, :4], skips + y[:, -4:]
    params = functional.conv2d(skips, net.end.weight, net.end.bias)
    found = net(x, cond).unflatten(1, (2, rows))
    close(found[:, :, 1:], params, 1e-12)
    assert not found[:, :, 0].any()


@pytest.mark.parametrize("kind", ["reverse", "bipartite"])
@pytest.mark.parametrize(("rows", "flows"), [(2, 3), (4, 4), (8, 8), (6, 5), (5, 4)])
def test_orders_are_what_permutations_between_the_flows_do(rows, flows, kind):
    reverse = list(range(rows))[::-1]
    halves = list(range(rows // 2))[::-1] + list(range(rows // 2, rows))[::-1]
    permutations = [halves if kind == "bipartite" and flow >= flows // 2 else reverse for flow in range(flows)]
    orders = row_orders(rows, flows, kind)
    ordered = Chain(MAF(make(rows, [1], seed, order=order), Affine()) for seed, order in enumerate(orders)).double()
    chain = []
    for seed, permutation in enumerate(permutations):
        chain += [MAF(make(rows, [1], seed), Affine()), Permutation(permutation)]
    # The published chain permutes the conditioning along with the rows, and the noise as well.
    x, x_permuted, told = normal(rows, batch=2), normal(rows, batch=2), normal(M * rows, batch=2, seed=1)
    z, log_det = ordered.to_noise(x, told)
    total, moved = 0, torch.arange(rows)
    for bijection in chain:
        x_permuted, part = bijection.to_noise(x_permuted, told.unflatten(1, (M, rows))[:, :, moved].flatten(1, 2))
        total = total + part
        if isinstance(bijection, Permutation):
            moved = moved[bijection.order]
    close(x_permuted, z[:, moved], 1e-10)
    close(total, log_det, 1e-10)


def test_a_fresh_network_says_nothing():
    net = RowWaveNet(4, 2, M, 4, [1, 1])
    assert not net(torch.randn(1, 4, 6), torch.randn(1, 4 * M, 6)).any()
