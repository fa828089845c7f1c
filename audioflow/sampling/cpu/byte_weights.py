"""A causal WaveNet's weights in 8 bits, as the loop of the engine ``cpu-int8`` reads them."""

import numpy as np

from audioflow.distributions import OutputLaw
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling.cpu.byte_loop import ByteState, ByteWeights
from audioflow.sampling.cpu.loop import Sizes
from audioflow.sampling.cpu.places import aligned, placed
from audioflow.sampling.cpu.quantized import LEVELS
from audioflow.sampling.cpu.weights import ends_of, gate_units, gated_layers


def byte_weights_of(network: CausalWaveNet, law: OutputLaw, sizes: Sizes) -> ByteWeights:
    """The weights, weight normalisation worked out."""
    conv, out, out_bias = gated_layers(network, sizes)
    conv_whole, conv_scale = rounded(conv)
    out_whole, out_scale = rounded(out)
    taps = conv_whole.reshape(sizes.layers, sizes.taps, sizes.channels, sizes.conv_width)
    return ByteWeights(
        conv=placed(in_quads(taps)),
        conv_start=placed(start_of(taps)),
        conv_scale=placed(conv_scale * gate_units(sizes)),
        out=placed(in_quads(out_whole)),
        out_start=placed(start_of(out_whole)),
        out_scale=placed(out_scale / np.float32(LEVELS)),
        out_bias=placed(out_bias),
        **ends_of(network, law, sizes),
    )


def rounded(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights ``[..., rows, columns]`` as whole numbers of 8 bits and their columns' scales ``[..., columns]``."""
    largest = np.abs(matrix).max(axis=-2, keepdims=True)
    step = np.where(largest > 0, largest / LEVELS, 1.0)
    return np.rint(matrix / step).astype(np.int8), step[..., 0, :].astype(np.float32)


def in_quads(whole: np.ndarray) -> np.ndarray:
    """``[..., rows, columns]`` -> ``[..., rows / 4, columns, 4]``."""
    quads = whole.reshape(*whole.shape[:-2], whole.shape[-2] // 4, 4, whole.shape[-1])
    return np.ascontiguousarray(np.swapaxes(quads, -1, -2))


def start_of(whole: np.ndarray) -> np.ndarray:
    """What sums begin with: inputs come with 128 added to them, which adds that often the sum of a column."""
    start: np.ndarray = (-128 * whole.astype(np.int64).sum(axis=-2)).astype(np.int32)
    return start


def byte_state(sizes: Sizes, rings: int, batch: int) -> ByteState:
    """Silence.

    Args:
        sizes: of the network.
        rings: numbers in the rings of all layers.
        batch: utterances.
    """
    kept = aligned(rings, np.uint8)
    kept[:] = 128
    return ByteState(
        rings=kept,
        scales=aligned(rings // sizes.channels),
        gated=aligned(sizes.gates, np.uint8),
        sums=aligned(max(sizes.taps * sizes.conv_width, sizes.out_width), np.int32),
        steps=aligned(sizes.taps),
    )
