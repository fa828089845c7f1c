"""The law of a group as the compiled loop reads it: columns in another order, and its MADE sorted by degree."""

import numpy as np
from torch import Tensor, nn

from audioflow.distributions import OutputLaw
from audioflow.nets.group_head import GroupLaw
from audioflow.nets.made import MADE
from audioflow.sampling.cpu.groups import Made
from audioflow.sampling.cpu.places import LANES, padded, placed

Folded = tuple[np.ndarray, np.ndarray]


def numbers_of_group(law: OutputLaw) -> Folded | None:
    """A matrix ``[P', P'']`` and a row ``[P'']``: the loop reads the network's numbers times one, plus the other.

    The triangle is read column by column, and instead of features it reads what they add to the MADE's first layer.
    """
    if not isinstance(law, GroupLaw):
        return None
    own = law.law.parameter_channels * law.samples
    pairs = columns_of_triangle(law.samples)
    count = own + len(pairs)
    matrix = np.zeros((law.parameter_channels, count + law.features))
    matrix[np.arange(own), np.arange(own)] = 1
    matrix[own + pairs, own + np.arange(len(pairs))] = 1
    always = np.zeros(count + law.features)
    if law.made is not None:
        sorts, layers = _sorts(law.made), _linear(law.made)
        if law.made.condition is not None:
            matrix[count:, count:] = _array(law.made.condition.weight)[sorts[1]].T
        always[count:] = _array(layers[0].bias)[sorts[1]]
        always[:own] = _array(layers[-1].bias)
    return matrix, always


def made_of(law: OutputLaw) -> Made:
    """The MADE of a group law, or one without layers."""
    net = law.made if isinstance(law, GroupLaw) else None
    if net is None:
        nothing, none = np.zeros(1, np.int64), placed(np.zeros(LANES, np.float32))
        return Made(0, nothing, nothing, nothing, none, none, nothing)
    sorts, linear = _sorts(net), _linear(net)
    widths = np.array([padded(layer.out_features, LANES) for layer in linear])
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    bias = np.zeros(widths.sum(), np.float32)
    matrices = []
    for number, layer in enumerate(linear):
        matrix = np.zeros((layer.in_features, widths[number]), np.float32)
        seen = _array(layer.weight * getattr(net, f"mask_{number}")[0])[sorts[number + 1]][:, sorts[number]]
        matrix[:, : layer.out_features] = seen.T
        matrices.append(matrix.reshape(-1))
        if 0 < number < len(linear) - 1:
            bias[starts[number] : starts[number] + layer.out_features] = _array(layer.bias)[sorts[number + 1]]
    sizes = [matrix.size for matrix in matrices]
    degrees = [row.numpy() for row in net.degrees()[1:-1]]
    # Before sample j units of degree up to j - 1 are known.
    upto = [[int((row < j).sum()) for j in range(net.channels)] for row in degrees]
    return Made(
        layers=len(degrees),
        widths=widths,
        starts=starts,
        matrix_starts=np.concatenate([[0], np.cumsum(sizes)[:-1]]),
        matrices=placed(np.concatenate(matrices)),
        bias=placed(bias),
        upto=np.array(upto, np.int64).reshape(-1),
    )


def columns_of_triangle(samples: int) -> np.ndarray:
    """Where the pairs of the triangle, column by column, stand in it row by row."""
    return np.array([i * (i - 1) // 2 + j for j in range(samples) for i in range(j + 1, samples)], np.int64)


def _sorts(net: MADE) -> list[np.ndarray]:
    """The units of inputs and hidden layers by degree, and the outputs as they are."""
    degrees = [row.numpy() for row in net.degrees()]
    return [*(np.argsort(row, kind="stable") for row in degrees[:-1]), np.arange(len(degrees[-1]))]


def _linear(net: MADE) -> list[nn.Linear]:
    return list(net.layers)  # type: ignore[arg-type]


def _array(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.detach().double().cpu().numpy()
    return array
