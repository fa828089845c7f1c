"""Models of other projects as state dicts with random weights, and what those projects compute with them.

Written from the layouts, with nothing of ours: convolutions, tanh and sums.
"""

import math

import torch
from torch import nn
from torch.nn import functional


def layer(name, *shape, spread=1.0, normed=True, bias=True):
    """Entries of a random convolution; ``shape`` is that of its weight."""
    fan_in = math.prod(shape[1:])
    direction = spread * torch.randn(shape) / math.sqrt(fan_in)
    entries = {f"{name}.weight": direction}
    if normed:
        ones = [1] * (len(shape) - 1)
        magnitude = direction.flatten(1).norm(dim=1).reshape(-1, *ones)
        entries = {f"{name}.weight_g": magnitude, f"{name}.weight_v": 3 * direction}
    if bias:
        entries[f"{name}.bias"] = 0.1 * torch.randn(shape[0])
    return entries


def weight(state, name):
    if f"{name}.weight" in state:
        return state[f"{name}.weight"]
    v = state[f"{name}.weight_v"]
    norm = v.flatten(1).norm(dim=1).reshape(-1, *[1] * (v.ndim - 1))
    return state[f"{name}.weight_g"] * v / norm


def bias(state, name):
    return state.get(f"{name}.bias")


def causal(state, name, x, dilation=1):
    taps = weight(state, name)
    padded = functional.pad(x, ((taps.shape[2] - 1) * dilation, 0))
    return functional.conv1d(padded, taps, bias(state, name), dilation=dilation)


def two_transposed(state, mel, slope=0.4):
    """Upsampling by 16 and 16, kernels twice as long."""
    c = mel[:, None]
    for name in ("upsample_conv.0", "upsample_conv.2"):
        c = functional.conv_transpose2d(c, weight(state, name), bias(state, name), stride=(1, 16), padding=(1, 8))
        c = functional.leaky_relu(c, slope)
    return c[:, 0]


def two_transposed_layers():
    entries = {}
    for name in ("upsample_conv.0", "upsample_conv.2"):
        entries[f"{name}.weight_v"] = torch.rand(1, 1, 3, 32)
        entries[f"{name}.weight_g"] = torch.full((1, 1, 1, 1), 3.0)
        entries[f"{name}.bias"] = torch.zeros(1)
    return entries


def clarinet_network(prefix, layers, kernel_size, channels=6, gates=5, skips=7, bands=80):
    """A causal WaveNet of ksw0306's."""
    entries = layer(f"{prefix}front_conv.0.conv", channels, 1, 32)
    for number in range(layers):
        block = f"{prefix}res_blocks.{number}"
        for part in ("filter", "gate"):
            entries |= layer(f"{block}.{part}_conv.conv", gates, channels, kernel_size)
            entries |= layer(f"{block}.{part}_conv_c", gates, bands, 1)
        entries |= layer(f"{block}.res_conv", channels, gates, 1) | layer(f"{block}.skip_conv", skips, gates, 1)
    entries |= layer(f"{prefix}final_conv.1.conv", skips, skips, 1)
    return entries | layer(f"{prefix}final_conv.3.conv", 2, skips, 1, spread=0.3)


def clarinet_forward(state, prefix, x, c, cycle):
    """Mean and log standard deviation ``[B, 2, T]`` of what follows each step of ``x``."""
    h, skips = functional.relu(causal(state, f"{prefix}front_conv.0.conv", x)), 0
    number = 0
    while f"{prefix}res_blocks.{number}.res_conv.bias" in state:
        block = f"{prefix}res_blocks.{number}"
        halves = [
            causal(state, f"{block}.{part}_conv.conv", h, 2 ** (number % cycle))
            + causal(state, f"{block}.{part}_conv_c", c)
            for part in ("filter", "gate")
        ]
        gated = torch.tanh(halves[0]) * torch.sigmoid(halves[1])
        h = (h + causal(state, f"{block}.res_conv", gated)) * math.sqrt(0.5)
        skips = skips + causal(state, f"{block}.skip_conv", gated)
        number += 1
    hidden = causal(state, f"{prefix}final_conv.1.conv", functional.relu(skips))
    return causal(state, f"{prefix}final_conv.3.conv", functional.relu(hidden))


def clarinet_student(state, z, c, flows, cycle):
    """What the student makes of ``z [B, 1, T]``, and the sum of its log-scales; the first sample is zero."""
    total = 0
    for flow in range(flows):
        mean, log_scale = clarinet_forward(state, f"iafs.{flow}.", z, c, cycle)[..., :-1].chunk(2, dim=1)
        z = functional.pad(z[..., 1:] * torch.exp(log_scale) + mean, (1, 0))
        total = total + log_scale.sum(dim=(1, 2))
    return z, total


def waveflow(flows=4, layers=3, channels=6, bands=80):
    """A WaveFlow of L0SG's final version."""
    entries = two_transposed_layers()
    for flow in range(flows):
        net = f"flows.{flow}.coupling.net"
        entries |= layer(f"{net}.front_conv.0.conv", channels, 1, 1, 1)
        for number in range(layers):
            block = f"{net}.res_blocks.{number}"
            entries |= layer(f"{block}.filter_gate_conv.conv", 2 * channels, channels, 3, 3)
            entries |= layer(f"{block}.filter_gate_conv_c", 2 * channels, bands, 1, 1)
            entries |= layer(f"{block}.res_skip_conv", 2 * channels, channels, 1, 1, spread=0.5)
        entries |= layer(f"flows.{flow}.coupling.proj_log_s_t.conv", 2, channels, 1, 1, spread=0.3, normed=False)
    return entries


def waveflow_forward(state, wav, mel, rows, height_cycle, bipartite):
    """Noise ``[B, rows, T / rows]`` of ``wav [B, T]``, and the log-determinant."""
    c = two_transposed(state, mel)
    x = wav.reshape(len(wav), -1, rows).transpose(1, 2)[:, None]
    c = c.reshape(*c.shape[:2], -1, rows).transpose(2, 3)
    flows = len({name.split(".")[1] for name in state if name.startswith("flows.")})
    total = 0
    for flow in range(flows):
        log_scale, shift = waveflow_rows(state, f"flows.{flow}.coupling", x, c, height_cycle)
        x = torch.cat([x[:, :, :1], x[:, :, 1:] * torch.exp(log_scale) + shift], dim=2)
        total = total + log_scale.sum(dim=(1, 2, 3))
        x, c = (permuted(value, bipartite and flow >= flows // 2) for value in (x, c))
    return x[:, 0], total


def waveflow_rows(state, name, x, c, height_cycle):
    h, c, skips, number = conv2d(state, f"{name}.net.front_conv.0.conv", x[:, :, :-1]), c[:, :, 1:], 0, 0
    while f"{name}.net.res_blocks.{number}.res_skip_conv.bias" in state:
        block = f"{name}.net.res_blocks.{number}"
        down, along = 2 ** (number % height_cycle), 2**number
        padded = functional.pad(h, (along, along, 2 * down, 0))
        a = conv2d(state, f"{block}.filter_gate_conv.conv", padded, (down, along))
        a = a + conv2d(state, f"{block}.filter_gate_conv_c", c)
        filter_, gate = a.chunk(2, dim=1)
        residual, skip = conv2d(state, f"{block}.res_skip_conv", torch.tanh(filter_) * torch.sigmoid(gate)).chunk(
            2, dim=1
        )
        h, skips, number = h + residual, skips + skip, number + 1
    return conv2d(state, f"{name}.proj_log_s_t.conv", skips).chunk(2, dim=1)


def conv2d(state, name, x, dilation=(1, 1)):
    return functional.conv2d(x, weight(state, name), bias(state, name), dilation=dilation)


def permuted(x, bipartite):
    """Rows in reverse, of the whole or of each half."""
    if not bipartite:
        return x.flip(2)
    return torch.cat([half.flip(2) for half in x.chunk(2, dim=2)], dim=2)


def stretched(state, mel, scales):
    """Upsampling of r9y9's final layout: edges repeated, a convolution, then repeated and smoothed."""
    taps = state["upsample_net.conv_in.weight"]
    pad = taps.shape[2] // 2
    c = functional.conv1d(functional.pad(mel, (pad, pad), mode="replicate"), taps)[:, None]
    for number, scale in enumerate(scales):
        c = nn.Upsample(scale_factor=(1, scale))(c)
        smooth = weight(state, f"upsample_net.upsample.up_layers.{2 * number + 1}")
        c = functional.conv2d(c, smooth, padding=(0, scale))
    return c[:, 0]
