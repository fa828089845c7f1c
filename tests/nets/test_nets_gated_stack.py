"""The gated stack against its equations written out, and what it may see."""

import pytest
import torch
from laws.models import perturb

from audioflow.nets.conditioning import Conditioning
from audioflow.nets.gated_stack import GatedStack, dilation_cycle


def written_out(stack, x, cond, speaker, causal):
    """One output step at a time, one layer at a time, from the equations in the docstring."""
    batch, _, steps = x.shape
    h, skip = x, torch.zeros(())
    layers = len(stack.dilations)
    for layer, dilation in enumerate(stack.dilations):
        weight, bias = stack.convolutions[layer].weight, stack.convolutions[layer].bias
        taps = weight.shape[-1]
        rows = slice(2 * stack.gate_channels * layer, 2 * stack.gate_channels * (layer + 1))
        told = torch.einsum("om,bmt->bot", stack.condition.weight[rows, :, 0], cond)
        told = told + stack.condition.bias[rows][:, None]
        told = told + (speaker @ stack.speaker.weight[rows, :, 0].t())[..., None]
        a = []
        for t in range(steps):
            value = bias.expand(batch, -1)
            for tap in range(taps):
                back = (taps - 1 - tap) if causal else (taps // 2 - tap)
                source = t - back * dilation
                if 0 <= source < steps:
                    value = value + h[..., source] @ weight[..., tap].t()
            a.append(value)
        a = torch.stack(a, dim=-1) + told
        g = torch.tanh(a[:, : stack.gate_channels]) / (1 + torch.exp(-a[:, stack.gate_channels :]))
        out = stack.outputs[layer]
        y = torch.einsum("oi,bit->bot", out.weight[..., 0], g) + out.bias[:, None]
        if layer < layers - 1:
            h = (h + y[:, : stack.channels]) * stack.residual_scale
            y = y[:, stack.channels :]
        skip = skip + y
    return skip


@pytest.mark.parametrize("gate_channels", [None, 5])
@pytest.mark.parametrize(("kernel_size", "sight"), [(2, "past"), (3, "past"), (3, "all"), (5, "all")])
def test_the_stack_is_its_equations(kernel_size, sight, gate_channels):
    torch.manual_seed(0)
    stack = GatedStack(
        3,
        4,
        2,
        [1, 2, 4],
        kernel_size,
        sight=sight,
        gate_channels=gate_channels,
        speaker_channels=2,
        residual_scale=0.7,
    ).double()
    perturb(stack)
    x, cond = torch.randn(2, 3, 12, dtype=torch.float64), torch.randn(2, 2, 12, dtype=torch.float64)
    speaker = torch.randn(2, 2, dtype=torch.float64)
    actual = stack(x, stack.project(Conditioning(cond), speaker))
    torch.testing.assert_close(actual, written_out(stack, x, cond, speaker, sight == "past"), atol=1e-12, rtol=1e-12)


def test_an_even_kernel_cannot_look_both_ways():
    with pytest.raises(ValueError, match="odd"):
        GatedStack(3, 4, 2, [1], 2, sight="all")


def test_dilations_start_again_after_a_cycle():
    assert dilation_cycle(7, 3) == [1, 2, 4, 1, 2, 4, 1]


def test_unconditional_stack_takes_no_conditioning():
    torch.manual_seed(0)
    stack = GatedStack(3, 4, 0, [1, 2], 2, sight="past")
    assert stack.project(None) is None
    assert stack(torch.randn(1, 3, 5), None).shape == (1, 4, 5)
