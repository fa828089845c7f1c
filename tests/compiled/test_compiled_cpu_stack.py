"""The stack by rows against the plain one in float64: sums and every gradient; and where it leaves the work to that."""

import copy
import random

import pytest
import torch
from laws.models import perturb

from audioflow.compiled import cpu_stack
from audioflow.nets import gated_stack
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.front_wavenet import FrontWaveNet
from audioflow.nets.gated_stack import GatedStack
from audioflow.nets.masked_wavenet import MaskedWaveNet
from audioflow.nets.wavenet import CausalWaveNet, WaveNetConditioner

CONDS = ["none", "steps", "frames", "frames and something steady"]
MELS, VOICES = 9, 3


def a_mask(lengths, steps):
    return (torch.arange(steps) < torch.tensor(lengths)[:, None]).float()[:, None]


class Case:
    """A stack of sizes drawn at random, and what it is given."""

    def __init__(self, seed):
        draw = random.Random(seed)
        self.cond = CONDS[seed % len(CONDS)]
        self.voiced, masked = draw.random() < 0.5, draw.random() < 0.5
        kernel_size, sight = draw.choice([(1, "past"), (2, "past"), (3, "past"), (3, "all"), (5, "all")])
        channels, frames, self.hop = draw.choice([16, 24, 32]), draw.choice([1, 2, 7]), draw.choice([1, 5, 12])
        self.batch, self.steps, self.frames = draw.choice([1, 2, 5]), frames * self.hop, frames
        gates, self.skips = draw.choice([channels, 16, 20, 48]), draw.choice([16, 7])
        dilations = [draw.choice([1, 2, 4, 16]) for _ in range(draw.choice([1, 2, 4]))]
        torch.manual_seed(seed)
        stack = GatedStack(
            channels,
            self.skips,
            0 if self.cond == "none" else MELS,
            dilations,
            kernel_size,
            sight=sight,
            gate_channels=gates,
            speaker_channels=VOICES if self.voiced else 0,
            residual_scale=0.7,
            degrees=None if draw.random() < 0.5 or not channels == gates == self.skips else torch.arange(channels),
        )
        self.stack = perturb(stack, 0.1)
        self.mask = a_mask([draw.randint(1, self.steps) for _ in range(self.batch)], self.steps) if masked else None
        sizes = {
            "x": (self.batch, channels, self.steps),
            "steps": (self.batch, MELS, self.steps),
            "frames": (self.batch, MELS, frames),
            "weight": (self.hop, 3),
            "steady": (self.batch, MELS, 1),
            "speaker": (self.batch, VOICES),
        }
        self.inputs = {name: torch.randn(*size) for name, size in sizes.items()}
        self.probe = torch.randn(self.batch, self.skips, self.steps)

    def shares(self, stack, inputs):
        frames = inputs["frames"], inputs["weight"]
        cond = {
            "none": lambda: None,
            "steps": lambda: Conditioning(inputs["steps"]),
            "frames": lambda: Conditioning(*frames),
            "frames and something steady": lambda: Conditioning(*frames, inputs["steady"]),
        }[self.cond]()
        return stack.shares(cond, inputs["speaker"] if self.voiced else None)

    def made(self, by_rows, dtype):
        """The result, the same without gradients, and all gradients."""
        stack = copy.deepcopy(self.stack).to(dtype)
        inputs = {name: x.to(dtype, copy=True).requires_grad_() for name, x in self.inputs.items()}
        mask = None if self.mask is None else self.mask.to(dtype)
        x = inputs["x"] if mask is None else inputs["x"] * mask
        shares = self.shares(stack, inputs)
        assert stack.runs_by_rows(x, shares) == by_rows
        result = stack(x, shares, mask)
        (result * self.probe.to(dtype)).sum().backward()
        with torch.no_grad():
            found = {"result": result.detach(), "without gradients": stack(x, self.shares(stack, inputs), mask)}
        leaves = [*stack.named_parameters(), *inputs.items()]
        return {**found, **{name: leaf.grad for name, leaf in leaves}}


def assert_near(made, wanted, tolerance=1e-5):
    assert made.keys() == wanted.keys()
    for name, exact in wanted.items():
        assert (made[name] is None) == (exact is None), name
        if exact is not None:
            assert made[name].shape == exact.shape, name
            assert (made[name] - exact).norm() <= tolerance * exact.norm() + 1e-7, name


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_plain_stack_and_so_are_its_gradients(seed):
    case = Case(seed)
    assert_near(case.made(by_rows=True, dtype=torch.float32), case.made(by_rows=False, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(4))
def test_several_threads_share_the_work(seed, monkeypatch):
    monkeypatch.setattr(cpu_stack, "SHARE", 1)
    torch.set_num_threads(3)
    case = Case(seed)
    assert_near(case.made(by_rows=True, dtype=torch.float32), case.made(by_rows=False, dtype=torch.float64))


NETWORKS = {
    "conditioner": (4, lambda: WaveNetConditioner(4, 8, 6, channels=16, layers=3)),
    "causal": (2, lambda: CausalWaveNet(2, 3, 6, 3, 2, 16, 16, 2, front_kernel_size=3, linear_taps=4)),
    "causal, as in ClariNet": (1, lambda: CausalWaveNet(1, 2, 6, 3, 2, 16, 32, 3, front_relu=True)),
    "front": (4, lambda: FrontWaveNet(4, 8, 6, channels=16, layers=2)),
    "masked": (4, lambda: MaskedWaveNet(4, 2, 6, channels=16, layers=2)),
}


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_use_it(name, autocast, monkeypatch):
    channels, make = NETWORKS[name]
    torch.manual_seed(0)
    network = perturb(make(), 0.1)
    x, cond, mask = torch.randn(2, channels, 40), torch.randn(2, 6, 40), a_mask([40, 23], 40)

    def made(net, dtype, autocast=False):
        given, told = (x * mask).to(dtype, copy=True).requires_grad_(), cond.to(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            causal = isinstance(net, CausalWaveNet)
            result = net(given, net.shares(Conditioning(told)) if causal else told, mask.to(dtype))
        result.square().sum().backward()
        grads = {key: parameter.grad for key, parameter in net.named_parameters()}
        return {"result": result.detach(), "x": given.grad, **grads}

    wanted = made(copy.deepcopy(network).double(), torch.float64)
    made(copy.deepcopy(network), torch.float32, autocast)  # the first use of all also compiles
    runs, calls = cpu_stack.run, []
    monkeypatch.setattr(cpu_stack, "run", lambda *given: calls.append(1) or runs(*given))
    assert_near(made(network, torch.float32, autocast), wanted)
    assert calls == [1]


def test_a_padded_batch_gives_what_single_utterances_give():
    case = next(case for case in map(Case, range(3, 99, 4)) if case.mask is not None and case.batch > 1)
    x, lengths = case.inputs["x"] * case.mask, case.mask.sum(dim=(1, 2)).int().tolist()
    rows = case.stack(x, case.shares(case.stack, case.inputs), case.mask)
    for number, length in enumerate(lengths):
        frames = -(-length // case.hop)
        own = {name: part[number : number + 1] for name, part in case.inputs.items() if name != "weight"}
        own |= {"frames": own["frames"][..., :frames], "weight": case.inputs["weight"]}
        padded = slice(number, number + 1), slice(None), slice(0, frames * case.hop)
        told = case.inputs["frames"].clone()
        told[number, :, frames:] = 0
        whole = case.stack(x, case.shares(case.stack, {**case.inputs, "frames": told}), case.mask)
        alone = case.stack(x[padded], case.shares(case.stack, own), case.mask[padded])
        torch.testing.assert_close(whole[padded], alone, atol=1e-5, rtol=1e-5)
        assert not rows[number, :, length:].any()


@pytest.fixture
def stack():
    torch.manual_seed(0)
    return perturb(GatedStack(16, 16, 5, [1, 2, 4], 3, sight="all", residual_scale=0.7), 0.1)


def test_gradients_of_gradients_are_those_of_the_plain_stack(stack, monkeypatch):
    cond, probe = torch.randn(2, 5, 12), torch.randn(2, 16, 12)

    def made(by_rows):
        monkeypatch.setattr(gated_stack, "BY_ROWS", by_rows)
        x = torch.linspace(-1, 1, 2 * 16 * 12).view(2, 16, 12).requires_grad_()
        (grad,) = torch.autograd.grad((stack(x, stack.shares(Conditioning(cond))) * probe).sum(), x, create_graph=True)
        stack.zero_grad()
        grad.square().sum().backward()
        return {"x": x.grad, **{name: parameter.grad for name, parameter in stack.named_parameters()}}

    made_by_rows, wanted = made(True), made(False)
    for name, grad in wanted.items():
        # What the result does not depend on but linearly has no gradient there, or one of zeros.
        if grad is not None and grad.norm() > 1e-6:
            assert (made_by_rows[name] - grad).norm() < 1e-4 * grad.norm(), name


def test_frozen_weights_get_no_gradient_but_pass_it_on(stack):
    stack.requires_grad_(False)
    x = torch.randn(2, 16, 12, requires_grad=True)
    stack(x, stack.shares(Conditioning(torch.randn(2, 5, 12)))).sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in stack.parameters())


def test_the_way_back_can_be_gone_twice(stack):
    x = torch.randn(2, 16, 12, requires_grad=True)
    result = stack(x, stack.shares(Conditioning(torch.randn(2, 5, 12)))).sum()
    first, second = (torch.autograd.grad(result, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@torch.no_grad()
def test_what_is_given_is_not_written_to_and_what_is_no_number_is_passed_on(stack):
    rows = torch.randn(12, 2, 16)
    x, cond = rows.permute(1, 2, 0), torch.randn(2, 5, 12)
    kept = x.clone()
    assert stack(x, stack.shares(Conditioning(cond))).isfinite().all()
    assert torch.equal(x, kept)
    x[0, 3, 11] = torch.nan
    made = stack(x, stack.shares(Conditioning(cond)))
    assert made[0, :, 11].isnan().all()
    assert made[1].isfinite().all()
    assert stack(x[1:] * 1e30, stack.shares(Conditioning(cond[1:]))).isfinite().all(), "gates saturate"


def test_what_it_does_not_know_goes_the_plain_way(stack, monkeypatch):
    x, cond = torch.randn(2, 16, 12), torch.randn(2, 5, 12)
    assert stack.runs_by_rows(x, stack.shares(Conditioning(cond)))
    assert stack.runs_by_rows(x, None)
    assert not stack.runs_by_rows(x, stack.project(Conditioning(cond)))
    assert not stack.runs_by_rows(x, list(stack.shares(Conditioning(cond))))
    assert not stack.runs_by_rows(x, stack.shares(Conditioning(cond[..., :1])))
    assert not stack.runs_by_rows(x, stack.shares(Conditioning(cond[:1])))
    assert not stack.runs_by_rows(x.double(), stack.shares(Conditioning(cond)))
    assert not stack.runs_by_rows(x[..., :0], stack.shares(Conditioning(cond[..., :0])))
    assert not GatedStack(8, 16, 5, [1], 2, sight="past").runs_by_rows(x, None), "too narrow"
    with torch.autocast("cpu", torch.bfloat16):
        assert stack.runs_by_rows(x, stack.shares(Conditioning(cond)))
        with torch.no_grad():
            shares = stack.shares(Conditioning(cond))
            assert not stack.runs_by_rows(x, shares), "synthesis in bfloat16 is asked for by its name"
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
        assert stack.runs_by_rows(x, stack.shares(Conditioning(cond)))
        assert not GatedStack(128, 16, 5, [1], 2, sight="past").runs_by_rows(torch.randn(2, 128, 12), None)
    monkeypatch.setattr(cpu_stack, "run", None)
    hidden = []
    assert stack(x, stack.shares(Conditioning(cond)), hidden=hidden).shape == (2, 16, 12)
    assert len(hidden) == 3


def test_it_can_be_compiled_traced_and_transformed(stack, monkeypatch):
    x, cond = torch.randn(2, 16, 12), torch.randn(2, 5, 12)
    with torch.no_grad():
        wanted = stack(x, stack.shares(Conditioning(cond)))
    monkeypatch.setattr(cpu_stack, "run", None)

    def function(x, cond):
        return stack(x, stack.shares(Conditioning(cond)))

    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, cond), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        torch.func.vmap(lambda x, cond: function(x[None], cond[None])[0])(x, cond), wanted, atol=1e-5, rtol=1e-5
    )


def test_without_a_compiler_there_is_the_plain_way(stack, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "audioflow.compiled.cpu_stack", None)
    monkeypatch.delattr("audioflow.compiled.cpu_stack")
    gated_stack._row_stack.cache_clear()
    assert not stack.runs_by_rows(torch.randn(2, 16, 12), None)
    gated_stack._row_stack.cache_clear()
