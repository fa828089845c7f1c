"""MADE and the masked WaveNet: what each output sees, by the gradient; place by place is all at once."""

import itertools

import pytest
import torch
from laws.flow_laws import close
from laws.models import perturb

from audioflow.distributions import Gaussian, GaussianMixture
from audioflow.flows import MADEDensity
from audioflow.nets.made import MADE
from audioflow.nets.masked_wavenet import MaskedWaveNet

C, M, P, STEPS = 5, 2, 3, 7

NETS = {
    "made": lambda: MADE(C, P, [16, 16], M),
    "made-one-layer": lambda: MADE(C, P, [20], M),
    "made-reversed": lambda: MADE(C, P, [16, 16], M, order="reversed"),
    "made-random-order": lambda: MADE(C, P, [40, 40], M, order="random", numbers="random", seed=3),
    "made-given-order": lambda: MADE(C, P, [16, 16], M, order=[3, 0, 4, 1, 2]),
    "made-residual": lambda: MADE(C, P, [16, 16, 16], M, residual=True),
    "made-random-residual": lambda: MADE(C, P, [40, 40], M, numbers="random", residual=True, seed=1),
    "made-of-three-masks": lambda: MADE(C, P, [40, 40], M, masks=3, seed=2).under(2),
    "masked-wavenet": lambda: MaskedWaveNet(C, P, M, 12, 3),
    "masked-wavenet-order": lambda: MaskedWaveNet(C, P, M, 12, 2, order=[3, 0, 4, 1, 2]),
    "masked-wavenet-few-channels": lambda: MaskedWaveNet(C, P, M, 3, 2),
}
every_net = pytest.mark.parametrize("name", NETS)


def make(name):
    torch.manual_seed(0)
    return perturb(NETS[name](), 0.4).double()


def inputs(channels=C, batch=1):
    return torch.randn(batch, channels, STEPS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def sight(net):
    """Which channels, and which conditioning, reach the parameters of each channel at any distance: ``[C, C + M]``."""
    x, cond = inputs().requires_grad_(), inputs(M).requires_grad_()
    params = net(x, cond).reshape(P, C, STEPS)
    rows = []
    for channel in range(C):
        weights = torch.randn(P, STEPS, dtype=torch.float64, generator=torch.Generator().manual_seed(channel))
        gradients = torch.autograd.grad((params[:, channel] * weights).sum(), (x, cond), retain_graph=True)
        rows.append(torch.cat([gradient[0].abs().sum(dim=1) > 0 for gradient in gradients]))
    return torch.stack(rows)


def wanted_sight(order):
    """Every channel sees the channels before it in the order, and all of the conditioning."""
    place = torch.argsort(torch.as_tensor(order))
    return torch.cat([place[None, :] < place[:, None], torch.ones(C, M, dtype=torch.bool)], dim=1)


@every_net
def test_each_channel_sees_those_before_it_and_the_conditioning(name):
    net = make(name)
    if name == "masked-wavenet-few-channels":  # too few for every degree: it sees less, and nothing that it must not
        assert not (sight(net) & ~wanted_sight(net.order)).any()
    else:
        assert torch.equal(sight(net), wanted_sight(net.order))


@every_net
@pytest.mark.parametrize("gradients", [True, False])
def test_place_by_place_is_all_at_once(name, gradients):
    net, x, cond = make(name), inputs(batch=3), inputs(M, batch=3)
    with torch.set_grad_enabled(gradients):
        params = net(x, cond).unflatten(1, (P, C))
        state, previous, pieces = net.init_state(x, cond), None, []
        for channels, steps in net.slots(STEPS):
            piece, state = net.step(state, previous)
            close(piece, params[:, :, channels.start, steps], 1e-12)
            previous = x[:, channels, steps]
            pieces.append(previous)
        assert torch.equal(net.joined(pieces), x)


@every_net
def test_gradients_are_the_same_both_ways(name):
    """Every weight of the network has the gradient place by place that it has all at once."""
    net, x, cond = make(name), inputs(), inputs(M)
    net(x, cond).square().sum().backward()
    at_once = {key: value.grad.clone() for key, value in net.named_parameters()}
    net.zero_grad()
    state, previous, total = net.init_state(x, cond), None, 0.0
    for channels, steps in net.slots(STEPS):
        params, state = net.step(state, previous)
        total = total + params.square().sum()
        previous = x[:, channels, steps]
    total.backward()
    for key, value in net.named_parameters():
        close(value.grad, at_once[key], 1e-9)


@pytest.mark.parametrize(("layer", "shift"), [(0, -1), (3, 1)], ids=["inputs", "outputs"])
def test_a_wrong_mask_is_caught(layer, shift):
    net = make("made")
    degrees = net.degrees()[layer]
    degrees += shift
    net.see()
    assert (sight(net) & ~wanted_sight(net.order)).any()


@pytest.mark.parametrize("layer", [1, 2])
def test_no_choice_of_hidden_degrees_lets_anything_through(layer):
    net = make("made")
    net.degrees()[layer].random_(-1, C, generator=torch.Generator().manual_seed(0))
    net.see()
    assert not (sight(net) & ~wanted_sight(net.order)).any()


def test_a_wrong_order_is_caught():
    net = make("made")
    net.order.copy_(torch.arange(C).flip(0))
    assert not torch.equal(sight(net), wanted_sight(net.order))


def test_connection_numbers_are_at_least_the_smallest_of_the_layer_before():
    for seed in range(5):
        rows = MADE(8, 2, [6, 6, 6], numbers="random", seed=seed).degrees()
        for before, after in itertools.pairwise(rows[1:-1]):
            assert after.min() >= before.min()
        assert torch.cat(rows[1:-1]).max() <= 6, "a unit that sees the last channel is of no use"


def test_one_channel_sees_the_conditioning_only():
    torch.manual_seed(0)
    net = perturb(MADE(1, 2, [8], M), 0.4).double()
    cond = inputs(M)
    params = net(inputs(1), cond)
    assert torch.equal(params, net(2 * inputs(1), cond))
    assert not torch.equal(params, net(inputs(1), 2 * cond))
    close(net.step(net.init_state(inputs(1), cond), None)[0], params, 1e-12)


def test_steps_do_not_see_each_other():
    net, x = make("made"), inputs().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x, inputs(M))[..., 2].sum(), x)
    assert set(gradient[0].abs().sum(dim=0).nonzero().flatten().tolist()) == {2}


def test_the_state_dict_holds_what_was_drawn():
    first, second = MADE(C, P, [16], order="random", numbers="random", seed=1), MADE(C, P, [16], order="random", seed=2)
    perturb(first)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(inputs().float()), first(inputs().float()))
    assert torch.equal(second.order, first.order)


@pytest.mark.parametrize(
    "arguments",
    [{"order": [0, 1]}, {"order": [0, 1, 2, 3, 3]}, {"order": "sideways"}, {"hidden": []},
     {"hidden": [4, 5], "residual": True}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match=r"order|hidden|wide"):
        MADE(**{"channels": C, "outputs": P, "hidden": [4, 4], **arguments})


def density(masks=1, law=None, channels=2):
    torch.manual_seed(0)
    law = law or GaussianMixture(3, min_log_scale=-4.0)
    net = MADE(channels, law.parameter_channels, [24, 24], masks=masks, seed=4)
    return perturb(MADEDensity(net, law)).double()


@pytest.mark.parametrize("masks", [1, 3])
def test_a_density_of_mixtures_integrates_to_one(masks):
    line = torch.linspace(-15, 15, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)[..., None]
    with torch.no_grad():
        mass = density(masks).eval().log_prob(grid).exp().sum() * (line[1] - line[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=2e-3)


def test_the_density_averages_over_masks_and_training_takes_one():
    model = density(4, channels=5)
    x = inputs(batch=2)
    each = torch.stack([model.log_prob_under(which, x) for which in range(4)])
    close(model.eval().log_prob(x), each.exp().mean(dim=0).log())
    torch.manual_seed(0)
    seen = {round(model.train().log_prob(x)[0].item(), 9) for _ in range(40)}
    assert seen == {round(value, 9) for value in each[:, 0].tolist()}


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_draw_is_made_of_its_noise(which):
    """With a Gaussian law the noise of a draw can be read back from the conditionals."""
    model = density(3, Gaussian(min_log_scale=-4.0), channels=5).eval()
    noise = inputs(batch=2)
    x = model.sample(noise, which=which)
    params = model.network(x, which=which).unflatten(1, (2, 5)).flatten(2)
    mean, log_scale = model.law.mean_and_log_scale(params)
    close((x - mean.reshape(x.shape)) * torch.exp(-log_scale.reshape(x.shape)), noise)


def test_a_law_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="9 numbers"):
        MADEDensity(MADE(2, 2, [8]), GaussianMixture(3))


def test_masks_follow_the_degrees_that_are_loaded():
    """Two networks whose connection numbers were drawn apart."""
    drawn, other = (MADE(C, 2, [9, 9], numbers="random", zero_start=False, seed=seed).double() for seed in (1, 2))
    assert not torch.equal(drawn.degrees()[1], other.degrees()[1])
    x = torch.randn(2, C, 3, dtype=torch.float64)
    other.load_state_dict(drawn.state_dict())
    close(other(x), drawn(x), 1e-12)
