r"""r9y9's wavenet_vocoder, in its final layout and in that of release 0.1.1.

==================  ===============================================  ===============================================
part                final                                            0.1.1
==================  ===============================================  ===============================================
upsampler           ``upsample_net``: a convolution over frames,     ``upsample_conv``: transposed convolutions with
                    then values repeated and smoothed                kernels as long as their factors, and ReLU
sum of skips        divided by the root of the number of layers      halved in power after each layer but the first
condition, speaker  without biases                                   with biases
==================  ===============================================  ===============================================

References:
    https://github.com/r9y9/wavenet_vocoder
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from audioflow.audio import MelContract, get_contract
from audioflow.errors import CheckpointError, OptionError
from audioflow.imports.base import Converted, ImportSettings
from audioflow.imports.unpickle import Checkpoint
from audioflow.imports.wavenets import (
    SHIFT,
    LayerNames,
    cycle_of,
    less,
    move_stack,
    move_transposed,
    require_bands,
    require_hop,
    upsample_layers,
)
from audioflow.imports.weights import Weights
from audioflow.nets.upsample_published import StretchUpsampler
from audioflow.vocoders import WaveNet, build

FAMILY = "r9y9 WaveNet"
STACKS = {16: 2, 20: 2, 24: 4, 30: 3}
"""Stacks of the published models, by their number of layers."""

STATISTICS = (
    "It was trained on mels of mean 0 and variance 1: give the mean and standard deviation of its corpus by "
    "mel_mean=FILE and mel_std=FILE, or normalise the mels yourself."
)
LWS = (
    "Its mel frames were cut and windowed by the lws package, which no front-end here does: expect worse sound than "
    "from its own mels."
)
FLOORED = (
    "It rounds an amplitude down to a mu-law class where ours takes the nearest, and puts out the middle of a class "
    "where ours draws from all of it."
)


class WaveNetSettings(ImportSettings):
    """What the shapes do not tell.

    Attributes:
        mel: preset of the mel front-end; ``auto`` takes the one of the layout.
        stacks: how often the dilations start at 1; 0 for that of the published model with as many layers.
        head: whether a mixture is one of logistics, as ``auto`` takes it to be, or of Gaussians.
        skips: how the skips of ``L`` layers are summed: ``mean`` divides by the root of ``L``, ``legacy`` halves the
            power after each, ``sum`` does neither; ``auto`` goes by the layout.
        mel_mean: file of the mean of each mel band, ``.npy`` or ``.json``.
        mel_std: file of the standard deviation of each mel band.
        preemphasis: coefficient of the filter that the audio went through; 0 for none. The project's presets of the
            final layout for scalar input have 0.85.
        gain: by which the audio was multiplied then; their presets have 0.55.
        min_log_scale: floor of log-scales; the default is as good as none, as in the project's own sampling.
    """

    mel: str = "auto"
    stacks: Annotated[int, Field(ge=0, le=512)] = 0
    head: Literal["auto", "logistic_mixture", "gaussian_mixture"] = "auto"
    skips: Literal["auto", "mean", "legacy", "sum"] = "auto"
    mel_mean: str = ""
    mel_std: str = ""
    preemphasis: Annotated[float, Field(ge=0, lt=1)] = 0.0
    gain: Annotated[float, Field(gt=0, le=100)] = 1.0
    min_log_scale: Annotated[float, Field(ge=-40, le=0)] = -40.0


def convert(checkpoint: Checkpoint, settings: WaveNetSettings) -> Converted:
    """Make a ``wavenet`` with the weights of a WaveNet of r9y9's.

    Raises:
        CheckpointError: the weights are not those of such a WaveNet, or it has no upsampler.
        OptionError: the mel front-end or the number of stacks does not fit.
        RecipeError: a setting of the model is one that ours does not have.
    """
    weights = Weights(checkpoint, FAMILY)
    final = _is_final(weights)
    contract = _contract(settings.mel, final=final)
    config = _config(weights, contract, settings, final=final)
    vocoder = build("wavenet", contract, config)
    assert isinstance(vocoder, WaveNet)  # noqa: S101  (that is its class)
    skips = settings.skips if settings.skips != "auto" else "mean" if final else "legacy"
    _move(weights, vocoder, _skip_shares(config["layers"], skips))
    weights.require_all_taken()
    with torch.no_grad():
        vocoder.level.offset.fill_(-math.log(settings.gain))
    normalized = _set_statistics(vocoder, settings)
    return Converted(vocoder, "final" if final else "0.1.1", _notes(config, final=final, normalized=normalized))


def _is_final(weights: Weights) -> bool:
    if "upsample_net" in weights:
        return True
    if "upsample_conv" in weights or "first_conv" not in weights:
        return False
    raise CheckpointError(
        f"{weights.checkpoint.path} has no upsampler, so that it does not say how a mel becomes features at the sample "
        "rate; only models with upsampling layers can be imported."
    )


def _contract(mel: str, *, final: bool) -> MelContract:
    if mel != "auto":
        return get_contract(mel)
    return get_contract("r9y9-22k") if final else get_contract({"preset": "clarinet-22k", "power": 1})


def _config(weights: Weights, contract: MelContract, settings: WaveNetSettings, *, final: bool) -> dict[str, Any]:
    """Settings of ``wavenet``, from the shapes."""
    channels, inputs, _ = weights.shape("first_conv")
    gates, _, kernel_size = weights.shape("conv_layers.0.conv")
    bands = weights.shape("conv_layers.0.conv1x1c")[1]
    require_bands(weights, bands, contract.n_mels, settings.mel)
    layers = weights.count("conv_layers.{}")
    config: dict[str, Any] = {
        "layers": layers,
        "cycle": cycle_of(layers, settings.stacks or STACKS.get(layers, 0), "stacks"),
        "residual_channels": channels,
        "gate_channels": gates // 2,
        "skip_channels": weights.shape("conv_layers.0.conv1x1_skip")[0],
        "kernel_size": kernel_size,
        "linear_taps": 0,
        "cond_channels": bands,
        "min_log_scale": settings.min_log_scale,
        "preemphasis": settings.preemphasis,
        "follow_level": False,
        **_head(weights, inputs, settings),
        **_upsampler(weights, final=final),
    }
    require_hop(weights, config["upsample_scales"], contract.hop_length, settings.mel)
    if "embed_speakers" in weights:
        config["speakers"], config["speaker_channels"] = weights.shape("embed_speakers")
    return config


def _head(weights: Weights, inputs: int, settings: WaveNetSettings) -> dict[str, Any]:
    outputs = weights.shape("last_conv_layers.3")[0]
    if inputs > 1:
        if outputs != inputs:
            raise CheckpointError(f"{weights.checkpoint.path} sees {inputs} classes, but puts out {outputs} numbers.")
        return {"head": "mu_law", "classes": inputs, "one_hot": True}
    if outputs == 2:
        return {"head": "gaussian"}
    if outputs % 3:
        raise CheckpointError(f"{weights.checkpoint.path} puts out {outputs} numbers, which are no mixture's.")
    head = "logistic_mixture" if settings.head == "auto" else settings.head
    return {"head": head, "components": outputs // 3}


def _upsampler(weights: Weights, *, final: bool) -> dict[str, Any]:
    if final:
        return {
            "upsampler": "stretch",
            "upsample_scales": [weights.shape(name)[3] // 2 for name in _smoothing_layers(weights)],
            "upsample_context": weights.shape("upsample_net.conv_in")[2] // 2,
        }
    return {
        "upsampler": "transposed2d",
        "upsample_scales": [weights.shape(name)[3] for name in upsample_layers(weights)],
        "upsample_overlap": False,
        "upsample_slope": 0.0,
    }


def _smoothing_layers(weights: Weights) -> list[str]:
    """Names of the smoothing layers; between them lie layers without weights, one or two each."""
    layers = "upsample_net.upsample.up_layers"
    return [f"{layers}.{number}" for number in range(64) if f"{layers}.{number}" in weights]


def _skip_shares(layers: int, how: str) -> list[float]:
    """By what each layer's skip is multiplied in the sum; legacy, of three layers: 1/2, 1/2, the root of 1/2."""
    if how == "legacy":
        return [0.5 ** ((layers - max(layer, 1)) / 2) for layer in range(layers)]
    return [layers**-0.5 if how == "mean" else 1.0] * layers


def _move(weights: Weights, vocoder: WaveNet, skip_shares: list[float]) -> None:
    speakers = vocoder.speaker_embedding is not None

    def names(layer: int) -> LayerNames:
        name = f"conv_layers.{layer}"
        return LayerNames(
            convolution=(f"{name}.conv",),
            condition=(f"{name}.conv1x1c",),
            residual=f"{name}.conv1x1_out",
            skip=f"{name}.conv1x1_skip",
            speaker=f"{name}.conv1x1g" if speakers else None,
        )

    network = vocoder.network
    weight, bias = weights.layer("first_conv")
    if vocoder.config["one_hot"]:
        # Our network sees a class less the middle one, which comes before the start.
        middle = weight[:, (weight.shape[1] - 1) // 2, 0]
        bias = middle if bias is None else bias + middle
    weights.put(network.front, (weight, bias), "first_conv")
    move_stack(weights, network, names, skip_shares)
    weights.move(network.hidden, "last_conv_layers.1")
    # Our mixtures give each component a place of its own to start from.
    centres = vocoder.law.at_level(torch.zeros(1, network.end.out_channels, 1), torch.zeros(1, 1, 1))
    weights.put(network.end, less(weights.layer("last_conv_layers.3"), centres[0, :, 0].double()), "last_conv_layers.3")
    if vocoder.speaker_embedding is not None:
        weights.put_tensor(vocoder.speaker_embedding.weight, weights.tensor("embed_speakers.weight"), "embed_speakers")
    if isinstance(vocoder.upsampler, StretchUpsampler):
        _move_stretch(weights, vocoder.upsampler)
    else:
        move_transposed(weights, vocoder.upsampler, upsample_layers(weights))


def _move_stretch(weights: Weights, upsampler: StretchUpsampler) -> None:
    weights.move(upsampler.frames, "upsample_net.conv_in")
    for layer, name in zip(upsampler.smooth, _smoothing_layers(weights), strict=True):
        weight, bias = weights.layer(name)
        weights.put(layer, (weight[:, :, 0] if weight.shape[2] == 1 else weight, bias), name)


def _set_statistics(vocoder: WaveNet, settings: WaveNetSettings) -> bool:
    """Put the statistics of the mels, if given, where ours keeps them."""
    if not settings.mel_mean and not settings.mel_std:
        return False
    if not settings.mel_mean or not settings.mel_std:
        raise OptionError("mel_mean and mel_std go together: give both, or neither.")
    mean, std = (
        _statistics(Path(name), len(vocoder.normalizer.mean)) for name in (settings.mel_mean, settings.mel_std)
    )
    if bool((std <= 0).any()):
        raise OptionError(f"{settings.mel_std} holds a standard deviation that is not above zero.")
    vocoder.normalizer.mean.copy_(mean)
    vocoder.normalizer.std.copy_(std)
    return True


def _statistics(path: Path, bands: int) -> Tensor:
    try:
        if path.suffix == ".json":
            values = np.asarray(json.loads(path.read_text(encoding="utf-8")), dtype=np.float64)
        else:
            values = np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise OptionError(f"{path} holds no numbers that can be read ({error}); give a .npy or .json file.") from error
    if values.shape != (bands,) or not np.isfinite(values).all():
        raise OptionError(
            f"{path} has the shape {list(values.shape)}, but one finite number for each of {bands} bands is needed."
        )
    return torch.from_numpy(values)


def _notes(config: dict[str, Any], *, final: bool, normalized: bool) -> tuple[str, ...]:
    layout = () if normalized else (STATISTICS,)
    return (*(layout if final else (LWS,)), SHIFT, *((FLOORED,) if config["head"] == "mu_law" else ()))
