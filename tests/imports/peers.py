"""The models of other projects, from their own packages, with random weights."""

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import nn

glow = pytest.importorskip("waveglow.glow", reason="pip install --no-deps waveglow==22.12.28")
glow_old = pytest.importorskip("waveglow.glow_old")

TINY = {
    "n_mel_channels": 80,
    "n_flows": 6,
    "n_group": 8,
    "n_early_every": 2,
    "n_early_size": 2,
    "WN_config": {"n_layers": 3, "n_channels": 6, "kernel_size": 3},
}
PUBLISHED = {
    "n_mel_channels": 80,
    "n_flows": 12,
    "n_group": 8,
    "n_early_every": 4,
    "n_early_size": 2,
    "WN_config": {"n_layers": 8, "n_channels": 256, "kernel_size": 3},
}
"""The settings of the checkpoint that NVIDIA publishes."""


def waveglow(config=TINY, module=glow, seed=0):
    """A WaveGlow whose every weight is random, the last layers of its couplings too."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = module.WaveGlow(**config)
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    for net in model.WN:
        nn.init.normal_(net.end.weight, std=0.05)
        nn.init.normal_(net.end.bias, std=0.05)
    model.upsample.weight.data *= 0.1
    return model.eval()


def folded(model):
    """The model after its own removal of weight normalisation, as it is used for synthesis."""
    return type(model).remove_weightnorm(model)


def split_outputs(model):
    """The state dict in the layout of the first release: separate layers for condition, residual and skip."""
    state = {}
    for name, tensor in folded(model).state_dict().items():
        layers, channels = model.WN[0].n_layers, model.WN[0].n_channels
        if ".cond_layer." in name:
            for layer, part in enumerate(tensor.chunk(layers)):
                state[name.replace("cond_layer.", f"cond_layers.{layer}.")] = part
        elif f".res_skip_layers.{layers - 1}." in name:
            state[name.replace("res_skip", "skip")] = tensor
            state[name.replace("res_skip", "res")] = torch.full_like(tensor, 7.0)
        elif ".res_skip_layers." in name:
            state[name.replace("res_skip", "res")], state[name.replace("res_skip", "skip")] = tensor.split(channels)
        else:
            state[name] = tensor
    return state


class NoiseOf:
    """Stands for ``torch.cuda.FloatTensor``, with which the package draws its noise: gives that of a sequence."""

    def __init__(self, parts):
        self.parts: Iterator = iter(parts)

    def __call__(self, *shape):
        self.shape = shape
        return self

    def normal_(self):
        part = next(self.parts)
        assert part.shape == self.shape
        return part


def infer(model, mel, noise, monkeypatch):
    """Audio of a WaveGlow, ``[B, T]``, from ``noise [B, n_group, T / n_group]``: first what leaves first."""
    early = model.n_early_size
    exits = (model.n_flows - 1) // model.n_early_every
    parts = list(noise.split([early] * exits + [model.n_group - early * exits], dim=1))
    monkeypatch.setattr(torch.cuda, "FloatTensor", NoiseOf(reversed(parts)))
    with torch.no_grad():
        return model.infer(mel)
