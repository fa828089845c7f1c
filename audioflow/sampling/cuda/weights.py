"""A causal WaveNet's weights as the kernel reads them: padded to powers of two, in parts of 16 bits."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from audioflow.distributions import OutputLaw
from audioflow.nets.gated_stack import dilation_cycle
from audioflow.nets.masked_convolution import bias_of
from audioflow.nets.wavenet import CausalWaveNet
from audioflow.sampling.cuda.group_weights import folded, made_of, numbers_of_each

WIDEST = 128
"""Channels of a network at most: one matrix is held whole in a multiprocessor's own memory."""
LEAST = 16
"""Rows and columns that a matrix unit takes."""
LONGEST = 256
"""Past samples that a network of groups sees directly, at most."""
ROOM = 48 * 1024
"""Bytes of matrices under way, at most, where the numbers of a group's laws are worked out."""


@dataclass(frozen=True)
class Sizes:
    """Numbers of channels, padded, and of taps: the constants of :func:`audioflow.sampling.cuda.kernel.sample`."""

    layers: int
    cycle: int
    taps: int
    channels: int
    gates: int
    params: int
    samples: int
    numbers: int
    units: int
    width: int
    window: int
    front_taps: int
    linear_taps: int
    front_relu: bool
    parts: int

    @property
    def slots(self) -> int:
        """Slots of the rings of all layers."""
        return sum(dilation_cycle(self.layers, self.cycle)) * (self.taps - 1)

    def stages(self, own_memory: int) -> int:
        """Layers whose weights can be under way at a time, and one; 1 where there is no room for any.

        Args:
            own_memory: bytes that a multiprocessor has for a program.
        """
        numbers = 2 * (self.taps + 1) * self.channels * self.gates
        pasts = LEAST * self.channels * (self.taps - 1)
        # What goes from thread to thread takes room too.
        room = own_memory - 160 * max(self.channels, self.gates)
        return 1 + min(3, room // (2 * self.parts * (numbers + pasts)))


@dataclass(frozen=True)
class Weights:
    """Arrays that :func:`audioflow.sampling.cuda.kernel.sample` describes, and scales."""

    conv: Tensor
    out: Tensor
    residual_bias: Tensor
    skip_bias: Tensor
    front: Tensor
    front_bias: Tensor
    hidden: Tensor
    hidden_bias: Tensor
    end: Tensor
    end_bias: Tensor
    linear: Tensor
    made_in: Tensor
    made_out: Tensor
    residual_scale: float
    skip_scale: float


def power_of_two(count: int, least: int = LEAST) -> int:
    """The smallest power of two that is not below ``count``, and at least ``least``.

    >>> power_of_two(3), power_of_two(64), power_of_two(65)
    (16, 64, 128)
    """
    return max(least, 1 << (count - 1).bit_length())


def sizes_of(network: CausalWaveNet, law: OutputLaw, parts: int) -> Sizes:
    """Sizes of a network and its law; the gated layers' weights are sums of so many float16 numbers.

    Raises:
        ValueError: it is wider than the kernel can work with, or its dilations are not 1, 2, 4, ... again and again; or
            what it sees of the past, or the MADE within a group, is too large.
    """
    stack = network.stack
    cycle = next((layer for layer, d in enumerate(stack.dilations) if layer and d == 1), len(stack.dilations))
    if stack.dilations != dilation_cycle(len(stack.dilations), cycle):
        raise ValueError(f"dilations {stack.dilations} are not powers of two that start again at 1")
    channels, gates = max(stack.channels, network.hidden.in_channels), stack.gate_channels
    if max(channels, gates) > WIDEST:
        raise ValueError(f"{max(channels, gates)} channels are more than {WIDEST}")
    front_taps, samples = network.front.kernel_size[0], law.sample_channels
    longest = max(front_taps, network.linear_taps) * samples
    if samples > 1 and longest > LONGEST:
        raise ValueError(f"{longest} past samples that the network sees directly are more than {LONGEST}")
    window = power_of_two(longest)
    numbers, units, width = _group_sizes(law)
    params = power_of_two(width)
    # Of a group as many columns at a time as there is room for.
    while samples > 1 and params > LEAST and 4 * params * (power_of_two(channels) + window) > ROOM:
        params //= 2
    return Sizes(
        layers=len(stack.dilations),
        cycle=cycle,
        taps=stack.convolutions[0].kernel_size[0],  # type: ignore[index,union-attr,arg-type]
        channels=power_of_two(channels),
        gates=power_of_two(gates),
        params=params,
        samples=samples,
        numbers=numbers,
        units=units,
        width=-(-width // params) * params,
        window=window,
        front_taps=front_taps,
        linear_taps=network.linear_taps,
        front_relu=bool(network.front_relu),
        parts=parts,
    )


def _group_sizes(law: OutputLaw) -> tuple[int, int, int]:
    """Numbers of a sample's law and hidden units of the MADE, padded, and numbers that the kernel reads in all.

    Raises:
        ValueError: the MADE has several hidden layers, or does not fit.
    """
    made, numbers = made_of(law), numbers_of_each(law)
    if made is None:
        return power_of_two(numbers, 1), 0, law.parameter_channels
    numbers, hidden = power_of_two(numbers), made[0].shape[1]
    units = power_of_two(hidden)
    if units > WIDEST or 4 * units * numbers > ROOM:
        raise ValueError(f"{hidden} hidden units of a MADE are more than there is room for")
    # There are as many features as hidden units, which are told something instead.
    return numbers, units, law.parameter_channels - hidden + units


def weights_of(network: CausalWaveNet, law: OutputLaw, sizes: Sizes) -> Weights:
    """The weights, weight normalisation worked out, on the device of the network."""
    stack, skips = network.stack, network.hidden.in_channels
    layers, channels, gates = sizes.layers, sizes.channels, sizes.gates
    like = network.end.weight.detach().float()
    conv = like.new_zeros(layers, sizes.taps, channels, 2, gates)
    out = like.new_zeros(layers, 2, gates, channels)
    residual_bias, skip_bias = like.new_zeros(layers, channels), like.new_zeros(channels)
    for layer, (convolution, output) in enumerate(zip(stack.convolutions, stack.outputs, strict=True)):
        conv[layer] = _padded(_taps(convolution).unflatten(-1, (2, -1)), channels, 2, gates)
        # The last layer has no residual output.
        made, bias = _taps(output)[0], bias_of(output).detach().float()  # type: ignore[arg-type]
        split = made.shape[1] - skips
        out[layer, 0] = _padded(made[:, :split], gates, channels)
        out[layer, 1] = _padded(made[:, split:], gates, channels)
        residual_bias[layer, :split] = bias[:split]
        skip_bias[:skips] += bias[split:]
    end, end_bias, linear = _head(network, law, sizes)
    made_in, made_out = _made(law, sizes, like)
    return Weights(
        conv=in_two(_in_turns(conv)),
        out=in_two(out),
        residual_bias=residual_bias,
        skip_bias=skip_bias,
        front=_seen(_taps(network.front), sizes, sizes.channels),
        front_bias=_padded(bias_of(network.front).detach().float(), sizes.channels),
        hidden=in_two(_padded(_taps(network.hidden)[0], sizes.channels, sizes.channels)),
        hidden_bias=_padded(bias_of(network.hidden).detach().float(), sizes.channels),
        end=end,
        end_bias=end_bias,
        linear=linear,
        made_in=made_in,
        made_out=made_out,
        residual_scale=float(stack.residual_scale),
        skip_scale=float(network.skip_scale),
    )


def _head(network: CausalWaveNet, law: OutputLaw, sizes: Sizes) -> tuple[Tensor, Tensor, Tensor]:
    """The last layer, its bias and the linear prediction, whose columns are what the kernel reads."""
    taps = [] if network.linear is None else [_taps(network.linear)]
    (end, *taps), bias = folded(law, [_taps(network.end)[0], *taps], bias_of(network.end).detach().float())
    linear = _seen(taps[0], sizes, sizes.width) if taps else bias.new_zeros(1)
    return in_two(_padded(end, sizes.channels, sizes.width)), _padded(bias, sizes.width), linear


def _made(law: OutputLaw, sizes: Sizes, like: Tensor) -> tuple[Tensor, Tensor]:
    """The MADE within a group as the kernel reads it, or next to nothing."""
    made = made_of(law)
    if made is None:
        return like.new_zeros(1), like.new_zeros(1)
    first, last = (matrix.to(like) for matrix in made)
    return _padded(first, sizes.units).contiguous(), in_two(_padded(last, sizes.units, sizes.numbers))


def in_two(x: Tensor) -> Tensor:
    """Numbers as sums of two float16 numbers, ``[2, ...]``, which keep 22 bits of those that are not tiny."""
    high = x.half()
    return torch.stack([high, (x - high.float()).half()])


def condition_matrix(network: CausalWaveNet, sizes: Sizes) -> Tensor | None:
    """Weights of the conditioning of all layers, ``[cond_channels, layers * 2 * gates]``, if there is any."""
    if network.stack.condition is None:
        return None
    return in_turns(_taps(network.stack.condition)[0].unflatten(-1, (sizes.layers, -1)), sizes)


def in_turns(values: Tensor, sizes: Sizes) -> Tensor:
    """``[..., layers, 2 * gate_channels]`` -> ``[..., layers * 2 * gates]``, filter and gate in turns."""
    return _in_turns(_padded(values.unflatten(-1, (2, -1)), sizes.gates)).flatten(-2)


def _in_turns(x: Tensor) -> Tensor:
    """``[..., 2, n]`` -> ``[..., 2 n]``: a number of the first, one of the second, and so on."""
    return x.transpose(-1, -2).flatten(-2).contiguous()


def _taps(layer: nn.Module) -> Tensor:
    """Weights of a convolution ``[taps, in, out]``."""
    return layer.weight.detach().float().permute(2, 1, 0)  # type: ignore[operator,union-attr]


def _seen(taps: Tensor, sizes: Sizes, width: int) -> Tensor:
    """Weights over past inputs: those of the window in two parts, or of one-hot inputs less those of silence."""
    classes = taps.shape[1]
    if classes > sizes.samples:
        # An input is a class less the middle one, see MuLawCategorical.network_input.
        middle = (classes - 1) // 2
        return _padded(taps - taps[:, middle : middle + 1], width).contiguous()
    rows = taps.flatten(0, 1)
    matrix = rows.new_zeros(sizes.window, width)
    matrix[sizes.window - len(rows) :, : rows.shape[1]] = rows
    return in_two(matrix)


def _padded(x: Tensor, *sizes: int) -> Tensor:
    """Zeros after the last dimensions of ``x``, up to these sizes."""
    missing = [size - own for size, own in zip(sizes, x.shape[x.ndim - len(sizes) :], strict=True)]
    return functional.pad(x, [side for more in reversed(missing) for side in (0, more)])
