"""The fused stack against the plain one: compiled on a GPU, elsewhere by Triton's interpreter (without bfloat16)."""

import copy

import pytest
import torch
from laws.models import perturb

from audioflow.nets import gated_stack
from audioflow.nets.conditioning import Conditioning
from audioflow.nets.front_wavenet import FrontWaveNet
from audioflow.nets.gated_stack import GatedStack
from audioflow.nets.kept import Kept
from audioflow.nets.upsample import interpolation_weights
from audioflow.nets.wavenet import CausalWaveNet, WaveNetConditioner

triton = pytest.importorskip("triton", reason="needs Triton")
CUDA = torch.cuda.is_available()
if not CUDA and not triton.knobs.runtime.interpret:
    pytest.skip("needs a GPU, or TRITON_INTERPRET=1 before Triton is imported", allow_module_level=True)

from audioflow.compiled import cuda_stack  # noqa: E402
from audioflow.compiled.cuda_stack import Blocks, Choice  # noqa: E402

DEVICE = "cuda" if CUDA else "cpu"
HALF = torch.bfloat16 if CUDA else torch.float16
LARGE = Choice(*[Blocks(128, 64, 64, 4, 2)] * 3)
CHOICES = [cuda_stack.HOPPER, cuda_stack.FEW, cuda_stack.SMALL] if CUDA else [LARGE, cuda_stack.SMALL]
OPERANDS = [(HALF, 1e-2)] if CUDA else [(torch.float32, 1e-5), (HALF, 1e-3)]


def a_stack(
    kernel_size=3, sight="all", cond_channels=10, channels=40, skip_channels=24, dilations=(1, 2, 4), **options
):
    torch.manual_seed(0)
    stack = GatedStack(channels, skip_channels, cond_channels, dilations, kernel_size, sight=sight, **options)
    return perturb(stack, 0.05).to(DEVICE).eval()


def material(stack, batch=2, steps=77):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, stack.channels, steps, generator=generator)
    cond_channels = 0 if stack.condition is None else stack.condition.in_channels
    cond = torch.randn(batch, cond_channels, steps, generator=generator) if cond_channels else None
    return x.to(DEVICE), None if cond is None else cond.to(DEVICE)


def mask_of(lengths, steps):
    return (torch.arange(steps) < torch.tensor(lengths)[:, None]).float()[:, None].to(DEVICE)


@torch.no_grad()
def plain(stack, x, cond, mask=None):
    """In float64."""
    exact = copy.deepcopy(stack).double()
    shares = exact.shares(None if cond is None else Conditioning(cond.double()))
    return exact(x.double(), shares, None if mask is None else mask.double())


@torch.no_grad()
def fused(stack, x, cond, mask=None, dtype=HALF, choice=CHOICES[0]):
    return cuda_stack.run(stack.fused_weights(dtype), x, cond, mask, stack.residual_scale, choice)


def error(made, wanted):
    assert made.shape == wanted.shape
    return float((made.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(("dtype", "tolerance"), OPERANDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel_size": 2, "sight": "past", "residual_scale": 0.5**0.5},
        {"kernel_size": 3, "sight": "past", "cond_channels": 0},
        {"kernel_size": 5, "channels": 12, "gate_channels": 70, "skip_channels": 65, "dilations": (3, 1)},
        {"kernel_size": 1, "sight": "past", "dilations": (1,)},
        {"channels": 8, "skip_channels": 8, "degrees": torch.arange(8)},
    ],
    ids=str,
)
def test_it_is_the_plain_stack(options, dtype, tolerance):
    stack = a_stack(**options)
    x, cond = material(stack)
    kept = x.clone()
    assert error(fused(stack, x, cond, dtype=dtype), plain(stack, x, cond)) < tolerance
    assert torch.equal(x, kept)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_of_blocks_gives_it(choice):
    stack = a_stack()
    x, cond = material(stack, steps=150)
    assert error(fused(stack, x, cond, choice=choice), plain(stack, x, cond)) < 1e-2


def test_skips_of_many_layers_are_added_up(monkeypatch):
    monkeypatch.setattr(cuda_stack, "TOGETHER", 2)
    stack = a_stack(dilations=(1, 2, 4, 1, 2))
    x, cond = material(stack, batch=1)
    assert error(fused(stack, x, cond), plain(stack, x, cond)) < 1e-2


def test_a_padded_batch_gives_what_single_utterances_give():
    stack, lengths = a_stack(dilations=(1, 2)), [77, 30]
    x, cond = material(stack)
    mask = mask_of(lengths, 77)
    together = fused(stack, x * mask, cond, mask)
    assert error(together, plain(stack, x * mask, cond, mask)) < 1e-2
    for row, length in enumerate(lengths):
        alone = fused(stack, x[row : row + 1, :, :length], cond[row : row + 1, :, :length])
        torch.testing.assert_close(together[row : row + 1, :, :length], alone, atol=1e-5, rtol=1e-5)
        assert not together[row, :, length:].any()


def test_rows_that_lie_right_are_not_copied_and_not_written_to():
    stack = a_stack(channels=64, skip_channels=64, cond_channels=0)
    x, _ = material(stack)
    rows = x.transpose(1, 2).contiguous()
    assert cuda_stack.rows_of(rows.transpose(1, 2), 64, HALF, wide=True)[0].data_ptr() == rows.data_ptr()
    assert error(fused(stack, rows.transpose(1, 2), None), plain(stack, x, None)) < 1e-2
    assert torch.equal(rows, x.transpose(1, 2))


@pytest.mark.filterwarnings("ignore:overflow")
def test_the_gate_saturates_and_passes_on_what_is_no_number():
    stack = a_stack(channels=64, skip_channels=64, cond_channels=0, dilations=(1,))
    x, _ = material(stack, batch=1)
    huge = 200 * x
    # So large numbers of 8 bits are off by one.
    assert error(fused(stack, huge, None), plain(stack, huge, None)) < (5e-2 if CUDA else 1e-2)
    x[0, 0, 5] = torch.nan
    assert fused(stack, x, None)[..., 4:7].isnan().all()


@pytest.fixture
def always_fused(monkeypatch):
    """The hook as on a GPU under autocast; on a CPU with float32 operands."""
    if CUDA:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            yield 1e-2
        return
    prepared, calls = GatedStack.fused_weights, []
    monkeypatch.setattr(GatedStack, "fuses", lambda self, x, shares: self._can_fuse(x, shares))
    monkeypatch.setattr(
        GatedStack, "fused_weights", lambda self, dtype: calls.append(dtype) or prepared(self, torch.float32)
    )
    yield 1e-5
    assert set(calls) == {torch.bfloat16}


NETWORKS = {
    "conditioner": lambda: WaveNetConditioner(4, 8, 6, channels=16, layers=3),
    "causal": lambda: CausalWaveNet(1, 2, 6, 3, 2, 16, 16, 2),
    "front": lambda: FrontWaveNet(4, 8, 6, channels=16, layers=2),
}


# FloWaveNet's network is told the steps only.
@pytest.mark.parametrize(
    ("name", "features"), [*((name, "steps") for name in NETWORKS), ("conditioner", "frames"), ("causal", "frames")]
)
@torch.no_grad()
def test_networks_use_it(name, features, always_fused):
    torch.manual_seed(0)
    network = perturb(NETWORKS[name](), 0.1).to(DEVICE)
    x = torch.randn(2, 1 if name == "causal" else 4, 40, device=DEVICE)
    steps = torch.randn(2, 6, 40, device=DEVICE)
    cond = Conditioning(steps)
    if features == "frames":
        cond = Conditioning(steps[..., :5], interpolation_weights(8).to(DEVICE), steps[..., :1])
    mask = mask_of([40, 23], 40)

    def outputs():
        if name == "causal":
            return network(x * mask, network.shares(cond), mask)
        return network(x * mask, steps, mask) if features == "steps" else network.conditioned(x * mask, cond, mask)

    made = outputs()
    with torch.autocast(DEVICE, enabled=False), pytest.MonkeyPatch.context() as patch:
        patch.setattr(GatedStack, "fuses", lambda *_: False)
        wanted = outputs()
    assert error(made, wanted.double()) < 2 * always_fused


@torch.no_grad()
def test_what_it_does_not_know_goes_the_plain_way():
    stack = a_stack(speaker_channels=3)
    x, cond = material(stack)
    speaker = torch.randn(2, 3, device=DEVICE)
    assert stack._can_fuse(x, stack.shares(Conditioning(cond)))
    assert not stack._can_fuse(x, stack.shares(Conditioning(cond), speaker))
    assert not stack._can_fuse(x, stack.shares(Conditioning(cond[..., :1])))
    assert not stack._can_fuse(x, stack.project(Conditioning(cond)))
    assert not stack._can_fuse(x, None)
    assert not stack.fuses(x, stack.shares(Conditioning(cond))), "no autocast"
    with torch.autocast(DEVICE, torch.bfloat16):
        assert stack.fuses(x, stack.shares(Conditioning(cond))) == CUDA
        with torch.enable_grad():
            assert not stack.fuses(x, stack.shares(Conditioning(cond)))
    assert list(stack.shares(Conditioning(cond)))[1].shape == (2, 80, 77)


@torch.no_grad()
def test_without_a_compiler_there_is_the_plain_way(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "audioflow.compiled.cuda_stack", None)
    monkeypatch.delattr("audioflow.compiled.cuda_stack")
    gated_stack._fused_stack.cache_clear()
    assert gated_stack._fused_stack() is None
    gated_stack._fused_stack.cache_clear()


def test_what_is_made_of_weights_is_made_anew_when_they_change():
    kept, calls = Kept(), []
    layer = torch.nn.Linear(2, 2)

    def of():
        return kept.of(layer, lambda: calls.append(1) or layer.weight.sum().item())

    assert of() == of()
    assert len(calls) == 1
    with torch.no_grad():
        layer.weight.add_(1)
    assert of() == of() == layer.weight.sum().item()
    layer.weight.data = layer.weight.data + 1
    assert of() == layer.weight.sum().item()
    layer.weight = torch.nn.Parameter(torch.ones(2, 2))
    assert of() == 4
    assert len(calls) == 4
    with torch.inference_mode():
        unseen = torch.nn.Linear(2, 2)
        kept.of(unseen, lambda: calls.append(1))
        kept.of(unseen, lambda: calls.append(1))
    assert len(calls) == 6
