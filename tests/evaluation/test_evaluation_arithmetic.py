"""Multiply-accumulates of a sample against what the layers' sizes say."""

import pytest

from audioflow.audio import PRESETS
from audioflow.evaluation.arithmetic import multiply_accumulates
from audioflow.vocoders import build


def test_a_wavenet_costs_what_its_layers_say():
    channels, skips, layers, mels = 8, 12, 3, 5
    config = {"layers": layers, "cycle": 2, "residual_channels": channels, "skip_channels": skips, "kernel_size": 2}
    contract = PRESETS["speech-16k"].model_copy(update={"n_mels": 80})
    vocoder = build("wavenet", contract, {**config, "cond_channels": mels, "linear_taps": 4}).eval()
    # Conditioning is multiplied at the rate of frames, and interpolated for each sample, with its bias: of the one
    # frame that is asked for, of one on either side, and of what is padded around them.
    conditioning = layers * 2 * channels * (5 * mels / contract.hop_length + 4 * 3)
    gate = layers * 2 * channels * 2 * channels + conditioning
    outputs = (layers - 1) * channels * (channels + skips) + channels * skips
    head = channels + skips * skips + 2 * skips + 2 * 4
    upsampler = 5 * 80 * mels / contract.hop_length
    assert multiply_accumulates(vocoder, "cached") == pytest.approx(gate + outputs + head + upsampler, rel=0.02)


@pytest.mark.slow
def test_waveglow_costs_what_was_published():
    vocoder = build("glow", PRESETS["nvidia-22k"], {"channels": 64}).eval()
    found = multiply_accumulates(vocoder, "auto")
    assert all(parameter.requires_grad for parameter in vocoder.parameters())
    steps, layers, channels = 12, 8, 64
    widths = [8] * 4 + [6] * 4 + [4] * 4
    ends = sum(width / 2 * channels + channels * width + width * width for width in widths)
    layer = 3 * channels * 2 * channels + 640 * 2 * channels
    outputs = (layers - 1) * 2 * channels * channels + channels * channels
    upsampler = 80 * 80 * 4
    assert found == pytest.approx((ends + steps * (layers * layer + outputs)) / 8 + upsampler, rel=0.02)
