"""What the importers of autoregressive WaveNets have in common: one foreign layer after another into our stack."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audioflow.errors import CheckpointError, OptionError
from audioflow.imports.weights import Convolution, Weights
from audioflow.nets.gated_stack import GatedStack
from audioflow.nets.upsample import Upsampler
from audioflow.nets.upsample_published import TransposedUpsampler2d
from audioflow.nets.wavenet import CausalWaveNet

SHIFT = (
    "In training it was told at each sample the features of the one before; its own sampling, like ours, tells it "
    "those of the sample itself."
)


@dataclass(frozen=True)
class LayerNames:
    """Names of the parts of a gated layer.

    Attributes:
        convolution: the dilated convolutions: one for filter and gate, or one for each.
        condition: what sees the mel features, likewise.
        residual: what leads to the next layer.
        skip: what leads to the head.
        speaker: what sees the speaker, where there are speakers.
    """

    convolution: tuple[str, ...]
    condition: tuple[str, ...]
    residual: str
    skip: str
    speaker: str | None = None


def move_stack(
    weights: Weights, net: CausalWaveNet, names: Callable[[int], LayerNames], skip_shares: list[float]
) -> None:
    """Move the gated layers of a foreign WaveNet.

    Args:
        weights: of the foreign model.
        net: ours.
        names: of the parts of a layer, by its number.
        skip_shares: by what each layer's skip is multiplied in the foreign sum of skips.
    """
    stack, layers = net.stack, len(skip_shares)
    parts = [names(layer) for layer in range(layers)]
    for layer, part in enumerate(parts):
        weights.move(stack.convolutions[layer], *part.convolution)
        skip = _scaled(weights.layer(part.skip), skip_shares[layer] / net.skip_scale)
        sources = [skip] if layer == layers - 1 else [weights.layer(part.residual), skip]
        weights.put(stack.outputs[layer], _stacked(sources), part.skip)
    # What the last layer would pass on, nobody reads.
    weights.drop(parts[-1].residual)
    conditions = [weights.rows(*part.condition) for part in parts]
    speakers = [weights.layer(part.speaker) for part in parts if part.speaker is not None]
    _move_conditions(weights, stack, _stacked(conditions), _stacked(speakers) if speakers else None, parts[0])


def _move_conditions(
    weights: Weights, stack: GatedStack, condition: Convolution, speaker: Convolution | None, names: LayerNames
) -> None:
    """What a speaker always adds goes to the mel features: our layer that sees the speaker has no bias."""
    weight, bias = condition
    if speaker is not None:
        assert stack.speaker is not None  # noqa: S101  (as in its settings)
        if speaker[1] is not None:
            bias = speaker[1] if bias is None else bias + speaker[1]
        weights.put(stack.speaker, (speaker[0], None), str(names.speaker))
    assert stack.condition is not None  # noqa: S101  (it has mel features)
    weights.put(stack.condition, (weight, bias), names.condition[0])


def move_transposed(weights: Weights, upsampler: Upsampler, names: list[str]) -> None:
    """Move the transposed convolutions of an upsampler."""
    assert isinstance(upsampler, TransposedUpsampler2d)  # noqa: S101  (as in its settings)
    for layer, name in zip(upsampler.upsample, names, strict=True):
        weights.move(layer, name)


def upsample_layers(weights: Weights) -> list[str]:
    """Names of the layers of an upsampler in which every second one is an activation without weights."""
    return [f"upsample_conv.{2 * number}" for number in range(weights.count("upsample_conv.{}", step=2))]


def cycle_of(layers: int, stacks: int, option: str) -> int:
    """Layers after which the dilations start again.

    Raises:
        OptionError: the layers cannot be divided so.
    """
    if stacks < 1 or layers % stacks:
        raise OptionError(
            f"The weights of {layers} layers do not say how often their dilations start at 1: set {option}=NUMBER, a "
            f"number that divides {layers}."
        )
    return layers // stacks


def require_hop(weights: Weights, scales: list[int], hop_length: int, mel: str) -> None:
    """Make sure that an upsampler makes a hop of each frame.

    Raises:
        OptionError: the mel front-end is another.
    """
    if math.prod(scales) != hop_length:
        raise OptionError(
            f"The upsampler of this {weights.family} makes {math.prod(scales)} samples of a frame, but {mel} has a hop "
            f"of {hop_length}; name its front-end: mel=PRESET."
        )


def require_bands(weights: Weights, bands: int, n_mels: int, mel: str) -> None:
    """Make sure that a model sees as many bands as its front-end has.

    Raises:
        OptionError: the mel front-end is another.
    """
    if bands != n_mels:
        raise OptionError(
            f"This {weights.family} has {bands} mel bands, but {mel} has {n_mels}; name its front-end: mel=PRESET."
        )


def less(layer: Convolution, bias: Tensor) -> Convolution:
    """A layer with something taken off its bias."""
    weight, own = layer
    return weight, (torch.zeros_like(bias) if own is None else own) - bias


def _scaled(layer: Convolution, factor: float) -> Convolution:
    weight, bias = layer
    return factor * weight, None if bias is None else factor * bias


def _stacked(layers: list[Convolution]) -> Convolution:
    """Layers that see the same, as one."""
    try:
        weight = torch.cat([weight for weight, _ in layers])
    except RuntimeError as error:
        shapes = ", ".join(str(list(weight.shape)) for weight, _ in layers)
        raise CheckpointError(f"Layers of the shapes {shapes} do not see the same; take another copy.") from error
    if all(bias is None for _, bias in layers):
        return weight, None
    return weight, torch.cat([weight.new_zeros(len(weight)) if bias is None else bias for weight, bias in layers])
