"""What each network sees, by the gradient: nothing it must not, everything it says it does."""

import pytest
import torch
from laws.models import perturb

from audioflow.nets.conditioning import Conditioning
from audioflow.nets.wavenet import CausalWaveNet, WaveNetConditioner

STEPS = 48


def seen(function, x, step):
    """Steps of ``x [1, C, T]`` that reach output ``step``, by the gradient of a random mixture of its channels."""
    x = x.clone().requires_grad_()
    out = function(x)[..., step]
    weights = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((out * weights).sum(), x)
    return set(gradient[0].abs().sum(dim=0).nonzero().flatten().tolist())


def assert_sees_exactly(function, x, step, steps):
    assert seen(function, x, step) == set(steps), f"output {step} sees other steps than it may"


def causal(kernel_size, front_kernel_size=1, linear_taps=0):
    torch.manual_seed(0)
    net = CausalWaveNet(2, 3, 2, 4, 2, 4, 16, kernel_size, front_kernel_size, linear_taps).double()
    return perturb(net, 0.4)


def inputs(channels=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, STEPS, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(("kernel_size", "front_kernel_size"), [(2, 1), (3, 1), (2, 3), (3, 2)])
def test_causal_net_sees_its_receptive_field_and_not_the_present(kernel_size, front_kernel_size):
    net = causal(kernel_size, front_kernel_size)
    projected = net.project(Conditioning(inputs())).detach()
    reach = net.receptive_field
    assert reach == (kernel_size - 1) * (1 + 2 + 1 + 2) + front_kernel_size
    for step in (0, 1, reach, STEPS - 1):
        assert_sees_exactly(lambda x: net(x, projected), inputs(), step, range(max(0, step - reach), step))


@pytest.mark.parametrize("linear_taps", [3, 20])
def test_linear_prediction_sees_its_taps_and_not_the_present(linear_taps):
    net = causal(2, linear_taps=linear_taps)
    projected = net.project(Conditioning(inputs())).detach()
    assert net.receptive_field == max(7, linear_taps)
    for step in (0, 1, STEPS - 1):
        reached = range(max(0, step - net.receptive_field), step)
        assert_sees_exactly(lambda x: net(x, projected), inputs(), step, reached)


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_causal_net_sees_conditioning_up_to_the_present(kernel_size):
    net, x = causal(kernel_size), inputs()
    # It enters after the first convolution, so that one's taps do not count.
    step, reach = STEPS - 2, net.stack.context - (kernel_size - 1) * net.stack.dilations[0]
    assert_sees_exactly(
        lambda cond: net(x, net.project(Conditioning(cond))), inputs(), step, range(step - reach, step + 1)
    )


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_conditioner_sees_its_context_on_both_sides(kernel_size):
    torch.manual_seed(0)
    net = perturb(WaveNetConditioner(2, 4, 2, 4, layers=3, kernel_size=kernel_size).double(), 0.4)
    cond, step = inputs(), STEPS // 2
    around = range(step - net.context_steps, step + net.context_steps + 1)
    assert net.context_steps == (kernel_size - 1) // 2 * (1 + 2 + 4)
    assert_sees_exactly(lambda x: net(x, cond), inputs(), step, around)


def test_a_stack_that_looks_ahead_is_caught():
    net = causal(3)
    net.stack.convolutions[0].offsets = [-1, 0, 1]
    projected = net.project(Conditioning(inputs())).detach()
    with pytest.raises(AssertionError, match="sees other steps"):
        assert_sees_exactly(lambda x: net(x, projected), inputs(), 20, range(max(0, 20 - net.receptive_field), 20))


@pytest.mark.parametrize("linear_taps", [0, 1, 20])
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_step_by_step_is_all_at_once(kernel_size, linear_taps):
    net, x = causal(kernel_size, 2, linear_taps), inputs()
    projected = net.project(Conditioning(inputs(2)))
    state, rows = net.init_state(1), []
    previous = torch.zeros(1, 2, dtype=torch.float64)
    for step in range(STEPS):
        out, state = net.step(state, previous, projected[..., step])
        rows.append(out)
        previous = x[..., step]
    torch.testing.assert_close(torch.stack(rows, dim=-1), net(x, projected), atol=1e-12, rtol=1e-12)


def test_a_fresh_conditioner_says_nothing():
    net = WaveNetConditioner(2, 4, 2, 4, layers=2)
    assert not net(torch.randn(1, 2, 6), torch.randn(1, 2, 6)).any()
