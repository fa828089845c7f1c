"""The gate in one pass against torch's five, in both precisions, and where it may not be used."""

import logging

import pytest
import torch
from numba.core.errors import TypingError

from audioflow.compiled import gate
from audioflow.nets import gated_stack
from audioflow.nets.gated_stack import gated


def wanted(sums, share):
    a, b = (sums.double() if share is None else sums.double() + share.double()).chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


def material(steps, dtype, channels=6):
    generator = torch.Generator().manual_seed(steps)
    sums, share = (3 * torch.randn(2, channels, steps, generator=generator).to(dtype) for _ in range(2))
    return sums, {"none": None, "all steps": share, "one for all": share[..., :1]}


@pytest.mark.parametrize("share", ["none", "all steps", "one for all"])
@pytest.mark.parametrize("steps", [16, 17, 31, 200])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-7), (torch.bfloat16, 2**-9 + 1e-6)])
@torch.no_grad()
def test_it_is_tanh_times_sigmoid(dtype, tolerance, steps, share):
    sums, shares = material(steps, dtype)
    assert gate.fits(sums, shares[share])
    made = gate.gate_in_one_pass(sums, shares[share])
    assert made.dtype == dtype
    torch.testing.assert_close(made.double(), wanted(sums, shares[share]), atol=tolerance, rtol=0)
    assert torch.equal(gated(sums, shares[share]), made)


@torch.no_grad()
def test_it_saturates():
    sums = torch.tensor([-1e4, 1e4, -60.0, 60.0] * 4).expand(1, 2, 16).contiguous()
    torch.testing.assert_close(gate.gate_in_one_pass(sums, None), wanted(sums, None).float(), atol=1e-6, rtol=0)


def test_gradients_go_through_torch():
    sums, shares = material(32, torch.float32)
    sums.requires_grad_()
    assert not gate.fits(sums, None)
    gated(sums, shares["all steps"]).sum().backward()
    assert sums.grad.abs().sum() > 0


@torch.no_grad()
def test_what_does_not_fit_goes_through_torch():
    short, _ = material(15, torch.float32)
    double, _ = material(32, torch.float64)
    turned = material(32, torch.float32)[0].transpose(0, 2).contiguous().transpose(0, 2)
    for sums in (short, double, turned):
        assert not gate.fits(sums, None)
        torch.testing.assert_close(gated(sums).double(), wanted(sums, None), atol=1e-6, rtol=0)


@torch.no_grad()
def test_where_it_does_not_compile_torch_does_it(monkeypatch, caplog):
    def fails(*_args):
        raise TypingError("no such type")

    monkeypatch.setattr(gate, "gate_in_one_pass", fails)
    gated_stack._compiled_gate.cache_clear()
    sums, shares = material(32, torch.float32)
    with caplog.at_level(logging.INFO):
        made = gated(sums, shares["all steps"])
    gated_stack._compiled_gate.cache_clear()
    torch.testing.assert_close(made.double(), wanted(sums, shares["all steps"]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("share", ["none", "all steps", "one for all", "a part"])
@pytest.mark.parametrize("steps", [1, 31, 700])
@torch.no_grad()
def test_on_a_gpu_it_is_the_same(steps, share):
    cuda_gate = pytest.importorskip("audioflow.compiled.cuda_gate", reason="needs Triton")
    sums, shares = material(steps, torch.float32)
    # Layers' shares may be channels of one tensor.
    whole = torch.cat([sums, shares["all steps"], sums], dim=1)
    added = whole[:, 6:12] if share == "a part" else shares[share]
    if torch.cuda.is_available():  # else Triton's interpreter runs the kernel
        sums, added = (
            sums.cuda(),
            None if added is None else whole.cuda()[:, 6:12] if share == "a part" else added.cuda(),
        )
    made = cuda_gate.gate_in_one_pass(sums, added)
    torch.testing.assert_close(made.double(), wanted(sums, added), atol=5e-7, rtol=0)
    if sums.is_cuda:
        assert torch.equal(gated(sums, added), made)


@torch.no_grad()
def test_on_a_gpu_it_keeps_to_what_it_can_read():
    cuda_gate = pytest.importorskip("audioflow.compiled.cuda_gate", reason="needs Triton")
    sums, shares = material(32, torch.float32)
    assert not cuda_gate.fits(sums, None), "these are on the CPU"
    assert cuda_gate._lies_well(sums, shares["all steps"]) and cuda_gate._lies_well(sums, shares["one for all"])
    assert not cuda_gate._lies_well(sums, shares["all steps"][..., :7])
    assert not cuda_gate._lies_well(sums, shares["all steps"].double())
    assert not cuda_gate._lies_well(sums, shares["all steps"].transpose(1, 2).contiguous().transpose(1, 2))
