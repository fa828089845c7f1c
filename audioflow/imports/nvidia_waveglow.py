"""NVIDIA's WaveGlow, in the layouts that its projects have saved.

The network is the same in all of them; the names of its layers differ, the oldest first:

==============================  ===================================
conditioning of a coupling      residual and skip outputs
==============================  ===================================
``cond_layers.i``, one a layer  ``res_layers.i``, ``skip_layers.i``
``cond_layers.i``               ``res_skip_layers.i``
``cond_layer``, for all layers  ``res_skip_layers.i``
==============================  ===================================

In the first release (now ``glow_old.py``) every second coupling maps the first half of the channels, told about the
second; later all of them map the second half.

References:
    Prenger, Valle and Catanzaro, "WaveGlow", 2018, https://arxiv.org/abs/1811.00002
    https://github.com/NVIDIA/waveglow
"""

from typing import Any, Literal

from audioflow.audio import MelContract, get_contract
from audioflow.errors import CheckpointError, OptionError
from audioflow.flows import InvertibleConv1x1
from audioflow.imports.base import Converted, ImportSettings
from audioflow.imports.unpickle import Checkpoint
from audioflow.imports.weights import Weights
from audioflow.nets.upsample import TransposedUpsampler
from audioflow.nets.wavenet import WaveNetConditioner
from audioflow.vocoders import Glow, build

FAMILY = "NVIDIA WaveGlow"
ALTERNATES = "k%2"
"""What the program text of a model with alternating halves says, and that of a later one does not."""


class WaveGlowSettings(ImportSettings):
    """What the shapes do not tell.

    Attributes:
        mel: preset of the mel front-end.
        halves: whether every coupling maps the second half of the channels (``fixed``), or every second one the first
            (``alternating``); ``auto`` finds out from a pickled module and takes ``fixed`` for bare weights.
    """

    halves: Literal["auto", "fixed", "alternating"] = "auto"


def convert(checkpoint: Checkpoint, settings: WaveGlowSettings) -> Converted:
    """Make a ``glow`` with the weights of a WaveGlow.

    Raises:
        CheckpointError: the weights are not those of a WaveGlow.
        OptionError: the mel front-end does not fit the weights.
    """
    weights = Weights(checkpoint, FAMILY)
    contract = _contract(weights, settings.mel)
    config = _config(weights, contract)
    alternating = _alternating(checkpoint, settings)
    if alternating:
        config["alternating"] = True
    vocoder = build("glow", contract, config)
    assert isinstance(vocoder, Glow)  # noqa: S101  (that is its class)
    _move(weights, vocoder)
    weights.require_all_taken()
    halves = "alternating" if alternating else "fixed"
    condition = "one conditioning layer a coupling" if "WN.0.cond_layer" in weights else "one a layer"
    return Converted(vocoder, f"{condition}, {halves} halves")


def _contract(weights: Weights, mel: str) -> MelContract:
    contract = get_contract(mel)
    n_mels, _, taps = weights.shape("upsample")
    if n_mels != contract.n_mels:
        raise OptionError(
            f"This WaveGlow has {n_mels} mel bands, but {mel} has {contract.n_mels}; name its front-end: mel=PRESET."
        )
    if taps % contract.hop_length:
        raise OptionError(
            f"The upsampler's {taps} taps are no multiple of the {contract.hop_length} samples that a frame of {mel} "
            "stands for; name the front-end with mel=PRESET."
        )
    return contract


def _config(weights: Weights, contract: MelContract) -> dict[str, Any]:
    """Settings of ``glow``, from the shapes."""
    flows = weights.count("convinv.{}")
    widths = [weights.shape(f"convinv.{k}.conv")[0] for k in range(flows)] or [weights.shape("convinv.0.conv")[0]]
    narrower = [k for k in range(1, flows) if widths[k] != widths[k - 1]]
    every = narrower[0] if narrower else max(flows, 1)
    early = widths[0] - widths[every] if narrower else 0
    if widths != [widths[0] - k // every * early for k in range(flows)]:
        raise CheckpointError(f"{weights.checkpoint.path}: channels leave irregularly, {widths}, unlike in a WaveGlow.")
    _, channels, kernel_size = weights.shape("WN.0.in_layers.0")
    return {
        "squeeze": widths[0],
        "flows": flows,
        "early_every": every,
        "early_channels": early,
        "channels": channels,
        "layers": weights.count("WN.0.in_layers.{}"),
        "kernel_size": kernel_size,
        "upsampler": "transposed",
        "upsample_taps": weights.shape("upsample")[2] // contract.hop_length,
        "log_scale_limit": 0.0,
        "follow_level": False,
    }


def _alternating(checkpoint: Checkpoint, settings: WaveGlowSettings) -> bool:
    if settings.halves != "auto":
        return settings.halves == "alternating"
    text = checkpoint.sources.get(checkpoint.kind)
    if text is not None:
        return ALTERNATES in text.replace(" ", "")
    return "glow_old." in checkpoint.kind


def _move(weights: Weights, vocoder: Glow) -> None:
    assert isinstance(vocoder.upsampler, TransposedUpsampler)  # noqa: S101  (as in its settings)
    weights.move(vocoder.upsampler.upsample, "upsample")
    inside = list(vocoder.flow.modules())
    mixers = [module for module in inside if isinstance(module, InvertibleConv1x1)]
    nets = [module for module in inside if isinstance(module, WaveNetConditioner)]
    for k, (mixer, net) in enumerate(zip(mixers, nets, strict=True)):
        weight, _ = weights.layer(f"convinv.{k}.conv")
        weights.put_tensor(mixer.weight, weight[..., 0], f"convinv.{k}.conv")
        _move_net(weights, net, f"WN.{k}")


def _move_net(weights: Weights, net: WaveNetConditioner, name: str) -> None:
    layers = len(net.stack.dilations)
    weights.move(net.start, f"{name}.start")
    weights.move(net.end, f"{name}.end")
    assert net.stack.condition is not None  # noqa: S101  (it has mel features)
    fused = f"{name}.cond_layer" in weights
    weights.move(
        net.stack.condition,
        *([f"{name}.cond_layer"] if fused else [f"{name}.cond_layers.{layer}" for layer in range(layers)]),
    )
    for layer in range(layers):
        weights.move(net.stack.convolutions[layer], f"{name}.in_layers.{layer}")
        if f"{name}.res_skip_layers" in weights:
            sources = [f"{name}.res_skip_layers.{layer}"]
        else:
            parts = ("res_layers", "skip_layers") if layer < layers - 1 else ("skip_layers",)
            sources = [f"{name}.{part}.{layer}" for part in parts]
        weights.move(net.stack.outputs[layer], *sources)
    # What the last layer would pass on, nobody reads.
    weights.drop(f"{name}.res_layers.{layers - 1}")
