"""Draws from the output laws inside the kernel: one for each row, as :mod:`audioflow.distributions` does."""

import triton
import triton.language as tl

from audioflow.sampling import law_numbers

GAUSSIAN = tl.constexpr(law_numbers.GAUSSIAN)
DISCRETIZED = tl.constexpr(law_numbers.DISCRETIZED_LOGISTIC_MIXTURE)
MU_LAW = tl.constexpr(law_numbers.MU_LAW)


@triton.jit
def draw(
    params,
    level,
    noise,
    other,
    edges,
    temperature,
    floor,
    LAW: tl.constexpr,
    COMPONENTS: tl.constexpr,
    P: tl.constexpr,
):
    """One sample of each row's law ``params [R, P]``; see :func:`audioflow.sampling.cpu.laws.draw`."""
    columns = tl.arange(0, P)[None, :]
    if LAW == GAUSSIAN:
        mean = at_column(params, columns, 0)
        scale = tl.exp(floored(at_column(params, columns, 1) + level, floor))
        x = mean * tl.exp(level) + temperature * scale * noise
    elif LAW == MU_LAW:
        index, position = choose(params, columns, noise, temperature, COMPONENTS)
        low = tl.load(edges + index)
        x = low + position * (tl.load(edges + index + 1) - low)
    else:
        index, position = choose(params, columns, noise, temperature, COMPONENTS)
        centre = 4.0 / max(COMPONENTS - 1, 1) * index - 2.0 if COMPONENTS > 1 else 0.0
        location = (at_column(params, columns, COMPONENTS + index[:, None]) + centre) * tl.exp(level)
        raw = at_column(params, columns, 2 * COMPONENTS + index[:, None])
        x = location + temperature * tl.exp(floored(raw + level, floor)) * other
        if LAW == DISCRETIZED:
            x = tl.minimum(tl.maximum(tl.floor(x * 32768.0 + 0.5), -32768.0), 32767.0) / 32768.0
    return x


@triton.jit
def seen_of(sample, level, edges, LAW: tl.constexpr, COMPONENTS: tl.constexpr, ONE_HOT: tl.constexpr, P: tl.constexpr):
    """What the network sees of each row's sample: see :meth:`audioflow.distributions.OutputLaw.network_input`."""
    if LAW != MU_LAW:
        x = sample * tl.exp(-level)
    elif ONE_HOT:
        # The class: how many of the inner borders are at or below the sample.
        inner = tl.arange(0, P)
        borders = tl.load(edges + 1 + inner, mask=inner < COMPONENTS - 1, other=float("inf"))
        x = tl.sum((borders[None, :] <= sample[:, None]).to(tl.float32), axis=1)
    else:
        size = tl.log(1.0 + (COMPONENTS - 1.0) * tl.abs(sample)) / tl.log(1.0 * COMPONENTS)
        x = tl.where(sample < 0, -size, size)
    return x


@triton.jit
def floored(raw, floor):
    """``floor + softplus(raw - floor)``."""
    above = raw - floor
    return floor + tl.maximum(above, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(above)))


@triton.jit
def at_column(tile, columns, index):
    """The number in column ``index`` of each row."""
    return tl.sum(tl.where(columns == index, tile, 0.0), axis=1)


@triton.jit
def choose(logits, columns, uniform, temperature, COMPONENTS: tl.constexpr):
    """A category of each row, and where in its share of the unit interval the uniform number lies."""
    logits = tl.where(columns < COMPONENTS, logits, -float("inf"))
    best = tl.argmax(logits, axis=1)
    divisor = tl.where(temperature == 0.0, 1.0, temperature)
    mass = tl.exp((logits - tl.max(logits, axis=1)[:, None]) / divisor)
    above = tl.cumsum(mass, axis=1)
    aim = uniform * tl.sum(mass, axis=1)
    below = (columns < COMPONENTS) & (above <= aim[:, None])
    index = tl.minimum(tl.sum(below.to(tl.int32), axis=1), COMPONENTS - 1)
    index = tl.where(temperature == 0.0, best, index)
    share = at_column(mass, columns, index[:, None])
    position = (aim - at_column(above, columns, index[:, None]) + share) / tl.where(share > 0, share, 1.0)
    position = tl.minimum(tl.maximum(position, 0.0), 1.0)
    return index, tl.where((share > 0) & (temperature > 0.0), position, 0.5)
