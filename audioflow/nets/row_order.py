"""In which order the flows of a WaveFlow visit the rows of squeezed audio."""

from typing import Literal

RowOrder = Literal["reverse", "bipartite"]


def row_orders(rows: int, flows: int, kind: RowOrder) -> list[list[int]]:
    """Order of visit of each flow, in rows of the signal that the first flow is given.

    WaveFlow permutes the rows after each flow, and every flow goes from the top down. Here the rows stay where they are
    and each flow goes its own way, so the effect of all permutations before it is worked out. Four rows, four flows::

        reverse     after every flow the rows are reversed
                    0 1 2 3 | 3 2 1 0 | 0 1 2 3 | 3 2 1 0
        bipartite   so after the first half of the flows; later, each half of the rows is reversed by itself
                    0 1 2 3 | 3 2 1 0 | 0 1 2 3 | 1 0 3 2

    Args:
        rows: how many there are.
        flows: how many orders are wanted.
        kind: how the rows are permuted.

    References:
        Ping, Peng, Zhao and Song, "WaveFlow", 2019, https://arxiv.org/abs/1912.01219

    >>> row_orders(4, 4, "bipartite")
    [[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3], [1, 0, 3, 2]]
    """
    orders = [list(range(rows))]
    for flow in range(flows - 1):
        permuted = _bipartite(rows) if kind == "bipartite" and flow >= flows // 2 else list(range(rows))[::-1]
        orders.append([orders[-1][row] for row in permuted])
    return orders


def _bipartite(rows: int) -> list[int]:
    """Each half of the rows in reverse: ``[1, 0, 3, 2]`` for four."""
    half = rows // 2
    return [*range(half)][::-1] + [*range(half, rows)][::-1]
