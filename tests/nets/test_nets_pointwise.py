"""One tap: the same numbers by either of torch's libraries, and when which is asked."""

import pytest
import torch

from audioflow.nets import pointwise
from audioflow.nets.masked_convolution import MaskedConv1d
from audioflow.nets.pointwise import conv1x1


@pytest.fixture
def by_amd(monkeypatch):
    monkeypatch.setattr(pointwise, "made_by_amd", lambda: True)


@torch.no_grad()
def test_it_is_a_product_at_every_step(by_amd):
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*shape, generator=generator) for shape in ((1, 40, 900), (70, 40, 1), (70,)))
    wanted = torch.einsum("oi,bit->bot", weight[..., 0].double(), x.double()) + bias.double()[:, None]
    torch.testing.assert_close(conv1x1(x, weight, bias).double(), wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(conv1x1(x, weight).double(), wanted - bias.double()[:, None], atol=1e-4, rtol=0)


def asked(monkeypatch, x, layer):
    """Dilations that torch's convolution is called with."""
    found, conv1d = [], torch.nn.functional.conv1d

    def noted(*args, dilation=1, **options):
        found.append(dilation)
        return conv1d(*args, dilation=dilation, **options)

    monkeypatch.setattr(torch.nn.functional, "conv1d", noted)
    layer(x)
    return found


@pytest.mark.parametrize("processor", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_onednn_is_asked_for_synthesis_on_one_thread_of_amds(processor, dtype, gradients, threads, monkeypatch):
    monkeypatch.setattr(pointwise, "made_by_amd", lambda: processor)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    layer = MaskedConv1d(3, 4).to(dtype)
    with torch.set_grad_enabled(gradients):
        dilations = asked(monkeypatch, torch.randn(2, 3, 5, dtype=dtype), layer)
    onednn = processor and dtype == torch.float32 and not gradients and threads == 1
    assert dilations == [2 if onednn else 1]


def test_other_layers_keep_their_dilation(by_amd, monkeypatch):
    with torch.no_grad():
        assert asked(monkeypatch, torch.randn(1, 3, 9), MaskedConv1d(3, 4, 3, dilation=4)) == [(4,)]
