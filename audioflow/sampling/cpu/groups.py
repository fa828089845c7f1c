"""The draw of a group of samples inside the compiled loop, as :class:`audioflow.nets.group_head.GroupLaw` does it.

The numbers that a law is given stand parameter by parameter, those of all samples side by side, so that sixteen samples
are one value. What earlier samples add to later ones goes from sample to sample. As soon as a sample is drawn, its
column of the triangle is added to all later ones::

    L_10  L_20  L_30 | L_21  L_31 | L_32      column by column: after x_0 three numbers, after x_1 two, after x_2 one

Where a vector begins before a column does, what it adds goes to samples that are drawn already.
"""

from typing import NamedTuple

import numpy as np

from audioflow.compiled.lanes import LANES, Lanes, exp, fma, inlined, larger, load, pick_at_most, splat, store
from audioflow.nets.group_head import SEEN
from audioflow.sampling.cpu.laws import draw
from audioflow.sampling.cpu.vectors import multiply
from audioflow.sampling.law_numbers import GAUSSIAN, LawNumbers

_ZERO = np.float32(0)
_SEEN = np.float32(SEEN)


class Made(NamedTuple):
    """The MADE of a group law: layer 0 is its inputs, the last one its outputs, units are sorted by degree.

    Attributes:
        layers: hidden layers; 0 for a group without any.
        widths: of each layer but the inputs, padded to 16.
        starts: where the units of each layer but the inputs begin among all of them.
        matrix_starts: where the matrix from each layer to the next begins.
        matrices: ``[units, width of the next layer]`` one after another, zero where a unit is not seen.
        bias: of all units; that of the first layer, and of the outputs, comes with the network's numbers.
        upto: how many units of each hidden layer are known before sample 0, 1, ..., ``[layers, samples]``.
    """

    layers: int
    widths: np.ndarray
    starts: np.ndarray
    matrix_starts: np.ndarray
    matrices: np.ndarray
    bias: np.ndarray
    upto: np.ndarray


@inlined
def draw_group(
    law: LawNumbers,
    made: Made,
    count: int,
    params: np.ndarray,
    at: int,
    noise: np.ndarray,
    other: np.ndarray,
    own: int,
    room: np.ndarray,
) -> None:
    """A group of samples into ``room[:count]``.

    Args:
        law: of each sample.
        made: the MADE that adds to its numbers.
        count: samples.
        params: from ``at`` on: ``theta [P, count]``, the triangle by columns, what the MADE's first layer is told.
        at: see above.
        noise: the samples' noise from ``own`` on, see :func:`audioflow.sampling.law_numbers.prepared_noise`.
        other: likewise.
        own: see above.
        room: written: the samples, themselves less what later steps add to them, and of mixtures how likely components
            are, each padded to 16; then the units of the MADE, and once more as many as its widest layer has.
    """
    values = padded_lanes(count)
    if made.layers:
        _draw_one_by_one(law, made, count, params, at, noise, other, own, room, values)
        return
    for i in range(0, count, LANES):
        if law.kind == GAUSSIAN:
            _draw_gaussians(law, count, params, at + i, noise, own + i, room, values + i)
        else:
            _draw_components(law, count, params, at + i, noise, other, own + i, room, values)
            store(room, values + i, load(room, 2 * values))
    column = at + _parameters(law) * count
    for j in range(count):
        room[j] = room[values + j]
        _move_later(params, column, room, values, j, count)
        column += count - 1 - j


@inlined
def padded_lanes(count: int) -> int:
    """The next multiple of 16."""
    return (count + LANES - 1) // LANES * LANES


@inlined
def _parameters(law: LawNumbers) -> int:
    return 2 if law.kind == GAUSSIAN else 3 * law.components


@inlined
def _move_later(params: np.ndarray, column: int, room: np.ndarray, values: int, j: int, count: int) -> None:
    """Add what sample ``j`` adds to later ones; its part of the triangle begins at ``params[column]``."""
    sample = splat(room[j])
    for i in range((j + 1) // LANES * LANES, count, LANES):
        store(room, values + i, fma(load(params, column + i - j - 1), sample, load(room, values + i)))


@inlined
def _draw_gaussians(
    law: LawNumbers, count: int, params: np.ndarray, at: int, noise: np.ndarray, own: int, room: np.ndarray, to: int
) -> None:
    """Sixteen samples, as if none of them told of another."""
    store(room, to, fma(_scale(law, load(params, at + count)), load(noise, own), load(params, at)))


@inlined
def _scale(law: LawNumbers, raw: Lanes) -> Lanes:
    """``temperature exp(soft_floor(raw))``, of which the exponential is that of the floor and that of ``raw``."""
    return splat(np.float32(law.temperature)) * (splat(np.float32(np.exp(law.min_log_scale))) + exp(raw))


@inlined
def _draw_components(
    law: LawNumbers,
    count: int,
    params: np.ndarray,
    at: int,
    noise: np.ndarray,
    other: np.ndarray,
    own: int,
    room: np.ndarray,
    values: int,
) -> None:
    """The same of mixtures, into ``room[2 * values:]``: the last component below which less mass is than asked for."""
    components, masses = law.components, 2 * values
    largest, total = load(params, at), splat(_ZERO)
    for k in range(1, components):
        largest = larger(largest, load(params, at + k * count))
    sharpness = splat(np.float32(1.0 / law.temperature if law.temperature > 0.0 else 1e9))
    for k in range(components):
        mass = exp((load(params, at + k * count) - largest) * sharpness)
        store(room, masses + k * LANES, mass)
        total = total + mass
    aim, below = load(noise, own) * total, splat(_ZERO)
    if law.temperature == 0.0:
        # All components but the likeliest have next to no mass.
        aim = splat(np.float32(1e-6)) * total
    at += components * count
    location, raw = load(params, at) + splat(_centre(0, components)), load(params, at + components * count)
    for k in range(1, components):
        below = below + load(room, masses + (k - 1) * LANES)
        place = at + k * count
        location = pick_at_most(below, aim, load(params, place) + splat(_centre(k, components)), location)
        raw = pick_at_most(below, aim, load(params, place + components * count), raw)
    store(room, masses, fma(_scale(law, raw), load(other, own), location))


@inlined
def _centre(index: int, components: int) -> np.float32:
    return np.float32(4.0 * index / (components - 1) - 2.0 if components > 1 else 0.0)


@inlined
def _draw_one_by_one(
    law: LawNumbers,
    made: Made,
    count: int,
    params: np.ndarray,
    at: int,
    noise: np.ndarray,
    other: np.ndarray,
    own: int,
    room: np.ndarray,
    values: int,
) -> None:
    """A group whose laws depend on its earlier samples by a MADE."""
    units = 2 * values + law.components * LANES
    numbers, column = _parameters(law) * count, at + _parameters(law) * count
    told = column + count * (count - 1) // 2
    outputs = units + made.starts[made.layers]
    for i in range(0, made.starts[made.layers], LANES):
        store(room, units + i, load(made.bias, i))
    for i in range(0, made.widths[0], LANES):
        store(room, units + i, load(params, told + i))
    for i in range(0, numbers, LANES):
        store(room, outputs + i, load(params, at + i))
    for i in range(0, count, LANES):
        store(room, values + i, splat(_ZERO))
    for j in range(count):
        if j > 0:
            # Where mixtures of another kind of group keep their masses.
            room[2 * values] = min(max(room[j - 1], -_SEEN), _SEEN)
            _add_units(made, 0, j - 1, j, room, 2 * values, room, units)
        for layer in range(made.layers):
            first = made.upto[layer * count + j - 1] if j > 0 else 0
            fresh = units + made.starts[layer]
            for unit in range(first, made.upto[layer * count + j]):
                room[fresh + unit] = max(room[fresh + unit], _ZERO)
            _add_units(made, layer + 1, first, made.upto[layer * count + j], room, fresh + first, room, units)
        sample = draw(law, room, outputs + j, count, 0.0, noise[own + j], other[own + j])
        room[j] = np.float32(sample) + room[values + j]
        _move_later(params, column, room, values, j, count)
        column += count - 1 - j


@inlined
def _add_units(
    made: Made, layer: int, first: int, stop: int, x: np.ndarray, at: int, room: np.ndarray, units: int
) -> None:
    """Add what units ``first`` to ``stop - 1`` of a layer, whose values are ``x[at:]``, add to the next one's."""
    width, rows = made.widths[layer], stop - first
    to, free = units + made.starts[layer], units + made.starts[made.layers] + made.widths[made.layers]
    if rows > 0:
        multiply(
            made.matrices, made.matrix_starts[layer] + first * width, width, rows, x, at, rows, room, free, width, 1
        )
        for i in range(0, width, LANES):
            store(room, to + i, load(room, to + i) + load(room, free + i))
