"""Every law of every flow, in float64, after every parameter was perturbed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import flow_laws as laws
from laws.models import FLOWS, MAFS, coupling, made, make_flow, perturb

from audioflow.flows import MAF, Bijection, Chain, Flow, Invert, InvertibleConv1x1
from audioflow.nets.weight_norm import fold_weight_norm

few = settings(max_examples=3, deadline=None, derandomize=True, database=None)
every_flow = pytest.mark.parametrize("name", FLOWS)
seeds = st.integers(0, 2**31)


def draw(flow, name, seed, batch, groups):
    """Inputs of ``groups`` times the least length that the flow takes."""
    generator = torch.Generator().manual_seed(seed)
    case, steps = FLOWS[name], groups * flow.time_multiple

    def normal(channels):
        return torch.randn(batch, channels, steps, generator=generator, dtype=torch.float64)

    return normal(case.channels), normal(case.cond_channels)


@every_flow
@few
@given(seed=seeds, batch=st.integers(1, 3), groups=st.integers(1, 9))
def test_there_and_back_gives_the_start(name, seed, batch, groups):
    flow = make_flow(name, seed)
    laws.check_round_trip(flow, *draw(flow, name, seed, batch, groups))


@every_flow
@few
@given(seed=seeds, groups=st.integers(1, 4))
def test_log_det_is_that_of_the_jacobian(name, seed, groups):
    flow = make_flow(name, seed)
    laws.check_log_det(flow, *draw(flow, name, seed, 1, groups))


@every_flow
def test_constant_log_det_is_told_truly(name):
    flow = make_flow(name)
    laws.check_constant_log_det(flow, *draw(flow, name, 0, 2, 3))


@every_flow
@few
@given(seed=seeds, lengths=st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_a_padded_batch_gives_what_single_utterances_give(name, seed, lengths):
    flow = make_flow(name, seed)
    x, cond = draw(flow, name, seed, len(lengths), max(lengths) + 1)
    laws.check_mask(flow, x, cond, [length * flow.time_multiple for length in lengths])


@every_flow
def test_the_state_dict_holds_the_whole_state(name):
    flow = make_flow(name, 1)
    other = make_flow(name, 2)
    laws.check_state_dict(flow, other, *draw(flow, name, 0, 2, 3))


@every_flow
def test_folding_changes_nothing_and_covers_every_layer(name):
    flow = make_flow(name)
    x, cond = draw(flow, name, 0, 2, 3)
    before = flow.to_noise(x, cond)
    fold_weight_norm(flow)
    assert not [key for key in flow.state_dict() if "parametrizations" in key]
    for first, second in zip(before, flow.to_noise(x, cond), strict=True):
        laws.close(second, first, 1e-12)


@every_flow
def test_dtype_is_kept(name):
    flow = make_flow(name)
    laws.check_dtype(flow, *draw(flow, name, 0, 2, 3))


@every_flow
def test_autocast_leaves_the_audio_path_in_float32(name):
    flow = make_flow(name)
    laws.check_autocast(flow, *draw(flow, name, 0, 2, 3))


@every_flow
def test_starting_from_data_hands_on_what_the_flow_makes_of_them(name):
    flow = make_flow(name)
    laws.check_initialize(flow, *draw(flow, name, 0, 2, 3))


COMPILED = [
    "permutation",
    "conv1x1",
    "conv1x1-lu",
    "actnorm",
    "batch-norm",
    "coupling-spline",
    "coupling-mixture",
    "coupling-front-wavenet",
    "checkerboard-pair",
    "factor-out-prior-norms",
    "squeezed",
    "invert-coupling",
    "maf-made",
    "maf-masked-wavenet",
    "maf-causal",
    "iaf-made",
    "causal-speaker",
]
"""A flow with each kind of layer, network and kernel: compiling takes about a second."""


@pytest.mark.parametrize("name", COMPILED)
def test_a_direction_that_is_one_pass_compiles_as_one_graph(name):
    flow = make_flow(name)
    fold_weight_norm(flow)
    x, cond = draw(flow, name, 0, 2, 3)
    mask = torch.ones_like(x[:, :1])
    mask[1, :, flow.time_multiple :] = 0
    for direction in {"to_noise", "to_data"} - {flow.sequential}:
        laws.check_compile(getattr(flow, direction), x, cond, mask)


@pytest.mark.parametrize("name", MAFS)
@few
@given(seed=seeds, steps=st.integers(1, 4))
def test_no_slot_sees_a_later_one(name, seed, steps):
    flow = make_flow(name, seed)
    laws.check_order(flow, *draw(flow, name, seed, 1, steps))


@every_flow
@few
@given(seed=seeds, groups=st.integers(1, 4))
def test_a_draw_has_the_likelihood_it_says(name, seed, groups):
    flow = make_flow(name, seed)
    laws.check_sample_and_log_prob(Flow(None, flow), *draw(flow, name, seed, 2, groups))


@pytest.mark.parametrize(
    ("name", "channels", "steps"),
    [
        ("conv1x1-pair", 2, 1),
        ("causal-kernel-2", 1, 1),
        ("causal-kernel-2", 1, 2),
        ("causal-kernel-3", 1, 2),
        ("invert-causal", 1, 2),
        ("causal-both-ways", 1, 2),
        ("coupling-unbounded", 2, 1),
        ("invert-coupling", 2, 1),
        ("chain", 2, 1),
        ("maf-made-pair", 2, 1),
        ("maf-causal", 1, 2),
        ("iaf-causal", 1, 2),
    ],
)
def test_the_density_integrates_to_one(name, channels, steps):
    laws.check_density(make_flow(name), channels, steps, reach=12.0)


# The laws must be able to fail: flows that are wrong on purpose.


class WrongSign(InvertibleConv1x1):
    """Says the opposite of its log-determinant, in both directions alike."""

    def to_noise(self, x, cond=None, mask=None):
        z, log_det = super().to_noise(x, cond, mask)
        return z, -log_det

    def to_data(self, z, cond=None, mask=None):
        x, log_det = super().to_data(z, cond, mask)
        return x, -log_det


class Unmasked(Bijection):
    """Lets its conditioner see the padding."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def to_noise(self, x, cond=None, mask=None):
        return self.inner.to_noise(x, cond)

    def to_data(self, z, cond=None, mask=None):
        return self.inner.to_data(z, cond)


class Forgetful(InvertibleConv1x1):
    """Keeps its matrix outside the state dict."""

    def state_dict(self, *args, **kwargs):
        return {name: torch.zeros_like(value) for name, value in super().state_dict(*args, **kwargs).items()}


class CountsPadding(InvertibleConv1x1):
    """Gives zeros after the end, but counts the log-determinant of every step."""

    def to_noise(self, x, cond=None, mask=None):
        return super().to_noise(x, cond, mask)[0], super().to_noise(x, cond)[1]


class OneWay(InvertibleConv1x1):
    """Its way back is not the inverse of its way there."""

    def to_data(self, z, cond=None, mask=None):
        return super().to_data(1.001 * z, cond, mask)


def normals(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_laws_catch_a_wrong_log_det():
    flow = perturb(WrongSign(2)).double()
    x, cond = normals(1, 2, 4), normals(1, 2, 4)
    laws.check_round_trip(flow, x, cond)
    with pytest.raises(AssertionError):
        laws.check_log_det(flow, x, cond)
    with pytest.raises(AssertionError):
        laws.check_density(Chain([flow]), 2, 1, reach=12.0)


def test_the_laws_catch_padding_that_leaks():
    torch.manual_seed(0)
    flow = perturb(coupling(2, 1)).double()
    x, cond = normals(2, 2, 6), normals(2, 2, 6)
    laws.check_mask(flow, x, cond, [6, 3])
    for broken in (Unmasked(flow), perturb(CountsPadding(2)).double()):
        with pytest.raises(AssertionError):
            laws.check_mask(broken, x, cond, [6, 3])


def test_the_laws_catch_a_map_that_is_not_inverted():
    flow = perturb(OneWay(2)).double()
    for direction in (flow, Invert(flow)):
        with pytest.raises(AssertionError):
            laws.check_round_trip(direction, normals(1, 2, 4), normals(1, 2, 4))


def test_the_laws_catch_state_that_is_not_saved():
    flow, other = perturb(Forgetful(2)).double(), InvertibleConv1x1(2).double()
    with pytest.raises(AssertionError):
        laws.check_state_dict(flow, other, normals(1, 2, 4), normals(1, 2, 4))


def test_the_laws_catch_a_constant_that_is_not_one():
    flow = perturb(coupling(2, 1)).double()
    laws.check_constant_log_det(flow, normals(1, 2, 4), normals(1, 2, 4))
    flow.__class__ = type("Boastful", (type(flow),), {"constant_log_det": True})
    with pytest.raises(AssertionError):
        laws.check_constant_log_det(flow, normals(1, 2, 4), normals(1, 2, 4))


def test_the_laws_catch_a_wrong_order():
    flow = perturb(MAF(made())).double()
    laws.check_order(flow, normals(1, 3, 2), normals(1, 2, 2))
    flow.network.order.copy_(torch.tensor([2, 1, 0]))
    for law in (laws.check_order, laws.check_round_trip):
        with pytest.raises(AssertionError):
            law(flow, normals(1, 3, 2), normals(1, 2, 2))


@pytest.mark.parametrize("layer", ["degrees_0", "degrees_3"])
def test_the_laws_catch_a_wrong_mask(layer):
    """Parameters that see their own channel; shifted once more, they see one that comes after it."""
    flow = perturb(MAF(made())).double()
    for law in (laws.check_log_det, laws.check_order):
        getattr(flow.network, layer).add_(1 if layer == "degrees_3" else -1)
        flow.network.see()
        with pytest.raises(AssertionError):
            law(flow, normals(1, 3, 1), normals(1, 2, 1))
