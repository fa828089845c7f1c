"""A causal WaveNet's weights as the compiled loop reads them: padded, one row for each input, in 32 or 16 bits."""

import math
from typing import Any

import numpy as np
from torch import Tensor, nn

from audioflow.distributions import OutputLaw
from audioflow.nets.masked_convolution import bias_of
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling.autoregressive import Precision
from audioflow.sampling.cpu.group_weights import numbers_of_group
from audioflow.sampling.cpu.loop import Sizes, Weights
from audioflow.sampling.cpu.places import padded, placed

PACKED = {"float32": 1, "int16": 2, "int8": 4}
"""Weights in one number of 32 bits."""
LARGEST = 32_000
"""Of the 16-bit numbers of a column; what the lower of a pair adds to the upper one still fits above it."""


def sizes_of(network: CausalWaveNet, law: OutputLaw, precision: Precision) -> Sizes:
    """Numbers of channels and taps of a network.

    Raises:
        ValueError: the network is not one for the law.
    """
    stack = network.stack
    if (network.in_channels, network.end.out_channels) != (law.input_channels, law.parameter_channels):
        raise ValueError("the network's channels are not those of the law")
    channels, gates, skips = (padded(n) for n in (stack.channels, stack.gate_channels, network.hidden.in_channels))
    samples = law.sample_channels
    return Sizes(
        layers=len(stack.dilations),
        samples=samples,
        channels=channels,
        gates=gates,
        skips=skips,
        taps=stack.convolutions[0].kernel_size[0],  # type: ignore[index,union-attr,arg-type]
        front_taps=network.front.kernel_size[0],
        linear_taps=network.linear_taps,
        conv_width=2 * gates,
        out_width=channels + skips,
        end_width=padded(network.end.out_channels),
        classes=network.in_channels if network.in_channels > samples else 0,
        packed=PACKED[precision],
    )


def weights_of(network: CausalWaveNet, law: OutputLaw, sizes: Sizes) -> Weights:
    """The weights, weight normalisation worked out."""
    conv, out, out_bias = gated_layers(network, sizes)
    conv_packed, conv_scale = _packed(conv, sizes.packed)
    out_packed, out_scale = _packed(out, sizes.packed)
    return Weights(
        conv=placed(conv_packed),
        conv_scale=placed(conv_scale),
        out=placed(out_packed),
        out_scale=placed(out_scale),
        out_bias=placed(out_bias),
        **ends_of(network, law, sizes),
    )


def gated_layers(network: CausalWaveNet, sizes: Sizes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Convolutions ``[layers, taps * channels, conv_width]``, outputs ``[layers, gates, out_width]``, their bias."""
    stack = network.stack
    gates, wide = stack.gate_channels, sizes.conv_width
    # Filter and gate begin at multiples of 16 columns, and so do residual and skip.
    halves = _gate_columns(gates, sizes)
    conv = np.zeros((sizes.layers, sizes.taps * sizes.channels, wide), np.float32)
    out = np.zeros((sizes.layers, sizes.gates, sizes.out_width), np.float32)
    out_bias = np.zeros((sizes.layers, sizes.out_width), np.float32)
    for layer, (convolution, output) in enumerate(zip(stack.convolutions, stack.outputs, strict=True)):
        taps = _taps(convolution)
        view = conv[layer].reshape(sizes.taps, sizes.channels, wide)
        view[:, : stack.channels, halves] = taps
        # The last layer has no residual output.
        residual = output.out_channels - network.hidden.in_channels  # type: ignore[operator]
        columns = _columns((residual, network.hidden.in_channels), (0, sizes.channels))  # type: ignore[arg-type]
        out[layer][:gates, columns] = _taps(output)[0]
        out_bias[layer][columns] = _array(bias_of(output))  # type: ignore[arg-type]
    return conv, out, out_bias


def ends_of(network: CausalWaveNet, law: OutputLaw, sizes: Sizes) -> dict[str, Any]:
    """What is before and after the gated layers, by the names of :class:`Weights`."""
    end, linear = _end(network, law, sizes)
    return {
        "front": _matrix(_seen(network.front, sizes), sizes.channels),
        "front_bias": _row(bias_of(network.front), sizes.channels),
        "hidden": _matrix(_taps(network.hidden)[0], sizes.skips, sizes.skips),
        "hidden_bias": _row(bias_of(network.hidden), sizes.skips),
        "end": end,
        "linear": linear,
        "dilations": np.array(network.stack.dilations, np.int64),
        "residual_scale": np.float32(network.stack.residual_scale),
        "skip_scale": np.float32(network.skip_scale),
        "front_relu": bool(network.front_relu),
    }


def _end(network: CausalWaveNet, law: OutputLaw, sizes: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """The last layer, the linear prediction and the bias as one matrix; of one-hot inputs the prediction by itself."""
    rows = np.zeros((sizes.end_rows, network.end.out_channels))
    rows[: network.hidden.in_channels] = _taps(network.end)[0]
    rows[-1] = _array(bias_of(network.end))
    linear = np.zeros((1, network.end.out_channels)) if network.linear is None else _seen(network.linear, sizes)
    if network.linear is not None and not sizes.classes:
        rows[sizes.skips : -1] = linear
    group = numbers_of_group(law)
    if group is not None:
        matrix, always = group
        rows = rows @ matrix
        rows[-1] += always
        linear = linear @ matrix
    return _matrix(rows, sizes.end_width), _matrix(linear, sizes.end_width)


def condition_matrix(network: CausalWaveNet, sizes: Sizes) -> np.ndarray:
    """Weights of the conditioning of all layers, ``[cond_channels, layers, conv_width]``, flat."""
    taps = _taps(network.stack.condition)[0]  # type: ignore[arg-type]
    return placed(gates_padded(taps.reshape(len(taps), sizes.layers, -1), sizes))


def gates_padded(values: np.ndarray, sizes: Sizes) -> np.ndarray:
    """``[..., 2 * gate_channels]`` -> ``[..., conv_width]``."""
    result = np.zeros((*values.shape[:-1], sizes.conv_width), np.float32)
    result[..., _gate_columns(values.shape[-1] // 2, sizes)] = values
    if sizes.packed == PACKED["int8"]:
        result *= gate_units(sizes)
    return result


def gate_units(sizes: Sizes) -> np.ndarray:
    """What filters and gates are multiplied by for :func:`audioflow.sampling.cpu.quantized.quick_gate`."""
    return np.repeat(np.array([-2 * math.log2(math.e), -math.log2(math.e)], np.float32), sizes.gates)


def paired(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights ``[..., rows, columns]`` as pairs of rows in 16 bits, ``[..., rows / 2, columns]``, and columns' scales.

    A number comes out of a pair 65,536 times too large, and with the lower number's bits beneath the upper one's::

        pair = 65536 * upper + (lower mod 65536)     the sum below counts it as ``upper``

    so the upper number is chosen for what will be read of it. Each is off by half a step at most; a column's largest
    weight has 32,000 of them.
    """
    largest = np.abs(matrix).max(axis=-2, keepdims=True)
    step = np.where(largest > 0, largest / LARGEST, 1.0)
    whole = matrix / step
    lower = np.rint(whole[..., 0::2, :]).astype(np.int64)
    beneath = np.bitwise_and(lower, 0xFFFF)
    upper = np.rint(whole[..., 1::2, :] - beneath / 65536).astype(np.int64)
    words = ((upper << 16) | beneath).astype(np.int32)
    return words, (step[..., 0, :] / 65536).astype(np.float32)


def _packed(matrix: np.ndarray, packed: int) -> tuple[np.ndarray, np.ndarray]:
    if packed == 1:
        return matrix, np.ones((matrix.shape[0], matrix.shape[-1]), np.float32)
    return paired(matrix.astype(np.float64))


def _gate_columns(gates: int, sizes: Sizes) -> np.ndarray:
    """Where filter and gate stand among the columns of a convolution's result."""
    return _columns((gates, gates), (0, sizes.gates))


def _columns(counts: tuple[int, int], starts: tuple[int, int]) -> np.ndarray:
    return np.concatenate([np.arange(start, start + count) for count, start in zip(counts, starts, strict=True)])


def _taps(layer: nn.Module) -> np.ndarray:
    """Weights of a convolution ``[taps, in, out]``."""
    return _array(layer.weight.permute(2, 1, 0))  # type: ignore[operator,union-attr]


def _seen(layer: nn.Conv1d, sizes: Sizes) -> np.ndarray:
    """Weights over past inputs, ``[taps * in, out]``; of one-hot inputs less those of silence."""
    taps = _taps(layer)
    if sizes.classes:
        # An input is a class less the middle one, see MuLawCategorical.network_input.
        taps = taps - taps[:, (sizes.classes - 1) // 2 : (sizes.classes - 1) // 2 + 1]
    rows: np.ndarray = taps.reshape(-1, taps.shape[-1])
    return rows


def _matrix(values: np.ndarray, columns: int, rows: int | None = None) -> np.ndarray:
    result = np.zeros((rows or len(values), columns), np.float32)
    result[: values.shape[0], : values.shape[1]] = values
    return placed(result)


def _row(values: Tensor, width: int) -> np.ndarray:
    return _matrix(_array(values)[None], width)


def _array(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.detach().float().cpu().numpy()
    return array
