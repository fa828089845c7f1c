"""Draws from the output laws inside the compiled loop: one sample at a time, as :mod:`audioflow.distributions` does."""

import math

import numpy as np

from audioflow.compiled.lanes import inlined, uncounted
from audioflow.sampling.law_numbers import DISCRETIZED_LOGISTIC_MIXTURE, GAUSSIAN, MU_LAW, LawNumbers

GRID = 2.0**15
"""Steps of the 16-bit grid in one unit of amplitude."""


@uncounted
def draw(law: LawNumbers, params: np.ndarray, at: int, stride: int, level: float, noise: float, other: float) -> float:
    """One sample of the law whose numbers are ``params[at::stride]``, for speech of log standard deviation ``level``.

    Args:
        law: see :class:`audioflow.sampling.law_numbers.LawNumbers`.
        params: flat; what the network put out.
        at: see above.
        stride: see above.
        level: see above.
        noise: standard normal for a Gaussian; uniform, of the component or the class, for the others.
        other: what the location and scale of a mixture's component are applied to.
    """
    if law.kind == GAUSSIAN:
        scale = _scale(params[at + stride] + level, law.min_log_scale)
        return float(params[at] * math.exp(level) + law.temperature * scale * noise)
    if law.kind == MU_LAW:
        index, position = _choose(params, at, stride, law.components, noise, law.temperature)
        low, high = law.edges[index], law.edges[index + 1]
        return float(low + position * (high - low))
    count = law.components
    index, _ = _choose(params, at, stride, count, noise, law.temperature)
    centre = 4.0 * index / (count - 1) - 2.0 if count > 1 else 0.0
    location = (params[at + (count + index) * stride] + centre) * math.exp(level)
    scale = law.temperature * _scale(params[at + (2 * count + index) * stride] + level, law.min_log_scale)
    x = location + scale * other
    if law.kind == DISCRETIZED_LOGISTIC_MIXTURE:
        x = min(max(np.rint(x * GRID), -GRID), GRID - 1.0) / GRID
    return float(x)


@uncounted
def seen(law: LawNumbers, sample: float, level: float) -> float:
    """What the network sees of a sample: see :meth:`audioflow.distributions.OutputLaw.network_input`."""
    if law.kind != MU_LAW:
        return sample * math.exp(-level)
    if law.one_hot:
        return float(_class_of(law, sample))
    mu = law.components - 1.0
    return math.copysign(math.log1p(mu * abs(sample)) / math.log1p(mu), sample)


@inlined
def _class_of(law: LawNumbers, sample: float) -> int:
    """How many of the inner borders are at or below the sample."""
    low, high = 1, law.components
    while low < high:
        middle = (low + high) // 2
        if law.edges[middle] <= sample:
            low = middle + 1
        else:
            high = middle
    return low - 1


@inlined
def _scale(raw: float, floor: float) -> float:
    """``exp(floor + softplus(raw - floor))``."""
    return math.exp(floor) + math.exp(raw)


@inlined
def _choose(
    logits: np.ndarray, at: int, stride: int, count: int, uniform: float, temperature: float
) -> tuple[int, float]:
    """A category, and where in its share of the unit interval the uniform number lies; the logits are used up."""
    best = at
    for k in range(1, count):
        if logits[at + k * stride] > logits[best]:
            best = at + k * stride
    if temperature == 0.0:
        return (best - at) // stride, 0.5
    largest, total = logits[best], 0.0
    for k in range(count):
        mass = math.exp((logits[at + k * stride] - largest) / temperature)
        logits[at + k * stride] = mass
        total += mass
    aim, below = uniform * total, 0.0
    for k in range(count - 1):
        mass = logits[at + k * stride]
        if aim < below + mass:
            return k, max((aim - below) / mass, 0.0)
        below += mass
    last = logits[at + (count - 1) * stride]
    return count - 1, min(max((aim - below) / last, 0.0), 1.0) if last > 0 else 0.5
