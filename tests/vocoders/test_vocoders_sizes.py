"""Numbers of weights, at the sizes that papers publish."""

import pytest
import torch

from audioflow.audio import get_contract
from audioflow.nets.front_wavenet import FrontWaveNet
from audioflow.nets.weight_norm import fold_weight_norm
from audioflow.vocoders import build, flowavenet


def millions(vocoder):
    return sum(weight.numel() for weight in vocoder.parameters()) / 1e6


@pytest.mark.parametrize(("channels", "published"), [(64, 5.91), (96, 12.78), (128, 22.25), (256, 86.18)])
def test_waveflow_has_its_published_size(channels, published):
    vocoder = build("waveflow", get_contract("nvidia-22k"), {"channels": channels})
    assert vocoder.squeeze == 16
    assert millions(vocoder) == pytest.approx(published, abs=0.01)


CLARINET = {
    "layers": 20,
    "cycle": 10,
    "residual_channels": 128,
    "gate_channels": 256,
    "skip_channels": 128,
    "front_kernel_size": 32,
    "front_relu": True,
    "linear_taps": 0,
    "upsampler": "transposed2d",
    "min_log_scale": -9.0,
    "follow_level": False,
}


def test_the_clarinet_teacher_has_its_published_size():
    vocoder = build("wavenet", get_contract("clarinet-22k"), CLARINET).fold_weight_norm()
    # That project counts a layer after the last one, which nothing reads.
    assert millions(vocoder) + (256 * 128 + 128) / 1e6 == pytest.approx(4.80, abs=0.005)
    assert vocoder.network.receptive_field == 2078


def test_flowavenet_has_its_published_size(monkeypatch):
    """The published network has one layer more in each WaveNet, the last residual output, which nothing reads."""

    def without_memory(*arguments):
        with torch.device("meta"):
            return FrontWaveNet(*arguments)

    monkeypatch.setattr(flowavenet, "FrontWaveNet", without_memory)
    vocoder = build("flowavenet", get_contract("nvidia-22k"), {})
    fold_weight_norm(vocoder)
    networks = sum(isinstance(module, FrontWaveNet) for module in vocoder.modules())
    assert networks == 8 * 6 + 1
    assert vocoder.group == 256
    unread = networks * (256 * 256 + 256)
    assert round(millions(vocoder) * 1e6) == 179_245_362
    assert round(millions(vocoder) + unread / 1e6, 2) == 182.47
