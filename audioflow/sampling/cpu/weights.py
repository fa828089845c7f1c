"""A causal WaveNet's weights as the compiled loop reads them: padded, one row for each input, in 32 or 16 bits."""

from typing import Literal

import numpy as np
from torch import Tensor, nn

from audioflow.nets.masked_convolution import bias_of
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling.cpu.loop import Sizes, Weights

Precision = Literal["float32", "int16"]
COLUMNS, CHANNELS = 64, 16
LARGEST = 32_000
"""Of the 16-bit numbers of a column; what the lower of a pair adds to the upper one still fits above it."""


def padded(count: int, multiple: int) -> int:
    """The smallest multiple that is not below ``count``.

    >>> padded(65, 64), padded(64, 64)
    (128, 64)
    """
    return -(-count // multiple) * multiple


def sizes_of(network: CausalWaveNet, precision: Precision) -> Sizes:
    """Numbers of channels and taps of a network."""
    stack = network.stack
    skips = network.hidden.in_channels
    channels, gates, skip_room = (padded(n, CHANNELS) for n in (stack.channels, stack.gate_channels, skips))
    return Sizes(
        layers=len(stack.dilations),
        channels=channels,
        gates=gates,
        skips=skip_room,
        taps=stack.convolutions[0].kernel_size[0],  # type: ignore[index,union-attr,arg-type]
        front_taps=network.front.kernel_size[0],
        linear_taps=network.linear_taps,
        conv_width=padded(2 * gates, COLUMNS),
        out_width=padded(channels + skip_room, COLUMNS),
        front_width=padded(channels, COLUMNS),
        hidden_width=padded(skips, COLUMNS),
        end_width=padded(network.end.out_channels, COLUMNS),
        classes=network.in_channels if network.in_channels > 1 else 0,
        packed=1 if precision == "float32" else 2,
    )


def weights_of(network: CausalWaveNet, sizes: Sizes) -> Weights:
    """The weights, weight normalisation worked out."""
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
    conv_packed, conv_scale = _packed(conv, sizes.packed)
    out_packed, out_scale = _packed(out, sizes.packed)
    return Weights(
        front=_seen(network.front, sizes.front_width, sizes),
        front_bias=_row(bias_of(network.front), sizes.front_width),
        conv=conv_packed.reshape(-1),
        conv_scale=conv_scale.reshape(-1),
        out=out_packed.reshape(-1),
        out_scale=out_scale.reshape(-1),
        out_bias=out_bias.reshape(-1),
        hidden=_matrix(_taps(network.hidden)[0], sizes.skips, sizes.hidden_width),
        hidden_bias=_row(bias_of(network.hidden), sizes.hidden_width),
        end=_matrix(_taps(network.end)[0], sizes.hidden_width, sizes.end_width),
        end_bias=_row(bias_of(network.end), sizes.end_width),
        linear=np.zeros(1, np.float32) if network.linear is None else _seen(network.linear, sizes.end_width, sizes),
        dilations=np.array(stack.dilations, np.int64),
        residual_scale=np.float32(stack.residual_scale),
        skip_scale=np.float32(network.skip_scale),
        front_relu=bool(network.front_relu),
    )


def condition_matrix(network: CausalWaveNet, sizes: Sizes) -> np.ndarray:
    """Weights of the conditioning of all layers, ``[cond_channels, layers, conv_width]``, flat."""
    taps = _taps(network.stack.condition)[0]  # type: ignore[arg-type]
    return gates_padded(taps.reshape(len(taps), sizes.layers, -1), sizes).reshape(-1)


def gates_padded(values: np.ndarray, sizes: Sizes) -> np.ndarray:
    """``[..., 2 * gate_channels]`` -> ``[..., conv_width]``."""
    result = np.zeros((*values.shape[:-1], sizes.conv_width), np.float32)
    result[..., _gate_columns(values.shape[-1] // 2, sizes)] = values
    return result


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


def _seen(layer: nn.Conv1d, width: int, sizes: Sizes) -> np.ndarray:
    """Weights over past inputs, flat: ``[taps * in, width]``; of one-hot inputs less those of silence."""
    taps = _taps(layer)
    if sizes.classes:
        # An input is a class less the middle one, see MuLawCategorical.network_input.
        taps = taps - taps[:, (sizes.classes - 1) // 2 : (sizes.classes - 1) // 2 + 1]
    rows = taps.reshape(-1, taps.shape[-1])
    return _matrix(rows, len(rows), width)


def _matrix(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    result = np.zeros((rows, columns), np.float32)
    result[: values.shape[0], : values.shape[1]] = values
    return result.reshape(-1)


def _row(values: Tensor, width: int) -> np.ndarray:
    return _matrix(_array(values)[None], 1, width)


def _array(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.detach().float().cpu().numpy()
    return array
