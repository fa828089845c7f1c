"""What single maps do, beside the laws: worked examples."""

import pytest
import torch
from laws.models import causal_net, coupling, perturb

from audioflow.distributions import Gaussian
from audioflow.flows import CausalAffine, Chain, FactorOut, Invert, InvertibleConv1x1, Permutation, Squeezed
from audioflow.flows.kernels import affine, affine_inverse, soft_clip
from audioflow.flows.reshape import squeeze, unsqueeze
from audioflow.nets.conditioning import Conditioning


def test_squeeze_is_the_picture_in_its_docstring():
    x = torch.tensor([[[0, 1, 2, 3], [10, 11, 12, 13]]])
    assert squeeze(x, 2).tolist() == [[[0, 2], [1, 3], [10, 12], [11, 13]]]
    assert torch.equal(unsqueeze(squeeze(x, 2), 2), x)


def test_permutation_names_every_channel_once():
    x = torch.tensor([[[1.0], [2.0], [3.0]]])
    assert Permutation([2, 0, 1]).to_noise(x)[0].flatten().tolist() == [3, 1, 2]
    with pytest.raises(ValueError, match="every channel once"):
        Permutation([0, 0, 1])


@pytest.mark.parametrize("channels", [2, 5, 8])
def test_a_fresh_1x1_convolution_is_a_rotation(channels):
    weight = InvertibleConv1x1(channels).weight.detach().double()
    torch.testing.assert_close(weight @ weight.t(), torch.eye(channels, dtype=torch.float64), atol=1e-5, rtol=0)
    assert torch.linalg.det(weight).item() == pytest.approx(1, abs=1e-5)


def test_a_fresh_coupling_is_the_identity():
    x = torch.randn(2, 4, 6)
    z, log_det = coupling(4, 2).to_noise(x, torch.randn(2, 2, 6))
    assert torch.equal(z, x)
    assert not log_det.any()


def test_early_channels_leave_untouched():
    flow = perturb(FactorOut(1, coupling(2, 1)))
    x, cond = torch.randn(2, 3, 6), torch.randn(2, 2, 6)
    z, _ = flow.to_noise(x, cond)
    assert torch.equal(z[:, :1], x[:, :1])
    assert not torch.equal(z[:, 1:], x[:, 1:])


def test_causal_map_is_its_loop_of_whole_passes():
    torch.manual_seed(0)
    for kernel_size in (2, 3):
        flow = perturb(CausalAffine(causal_net(kernel_size), Gaussian())).double()
        z, cond = torch.randn(2, 1, 15, dtype=torch.float64), torch.randn(2, 2, 15, dtype=torch.float64)
        x = torch.zeros_like(z)
        with torch.no_grad():
            for t in range(15):
                params = flow.network(x, flow.network.project(Conditioning(cond)))[..., t]
                log_scale = -11.5 + torch.nn.functional.softplus(params[:, 1:] + 11.5)
                x[..., t] = z[..., t] * log_scale.exp() + params[:, :1]
        torch.testing.assert_close(flow.to_data(z, cond)[0], x, atol=1e-10, rtol=1e-10)


def test_sequential_directions_pass_through_combinators():
    causal = CausalAffine(causal_net(2), Gaussian())
    assert InvertibleConv1x1(1).sequential is None
    assert causal.sequential == "to_data"
    assert Invert(causal).sequential == "to_noise"
    assert Chain([InvertibleConv1x1(1), Invert(causal)]).sequential == "to_noise"
    assert Squeezed(2, FactorOut(1, causal)).sequential == "to_data"
    assert Chain([InvertibleConv1x1(1), Permutation([0])]).sequential is None


def test_time_multiples_combine():
    one = InvertibleConv1x1(1)
    chain = Chain([Squeezed(2, Squeezed(3, one)), Squeezed(4, one), Invert(Squeezed(5, one))])
    assert chain.time_multiple == 60


def test_kernels_undo_each_other_and_clip_smoothly():
    x, shift, log_scale = torch.randn(3, 5, dtype=torch.float64).unbind(0)
    y, log_derivative = affine(x, shift, log_scale)
    back, log_derivative_back = affine_inverse(y, shift, log_scale)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_derivative_back, -log_derivative)
    raw = torch.tensor([-1e6, -0.01, 0.0, 0.01, 1e6], dtype=torch.float64)
    assert soft_clip(raw, 5.0).tolist() == pytest.approx([-5, -0.01, 0, 0.01, 5], abs=1e-7)
    assert torch.equal(soft_clip(raw, None), raw)
