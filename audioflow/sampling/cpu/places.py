"""Where numbers lie in memory."""

from typing import Any

import numpy as np

LANES = 16
LINE = 64
"""Bytes of a line of the cache, and of a vector: one that lies across two lines takes twice as long to load."""


def padded(count: int, multiple: int = LANES) -> int:
    """The smallest multiple that is not below ``count``.

    >>> padded(65, 64), padded(64)
    (128, 64)
    """
    return -(-count // multiple) * multiple


def aligned(count: int, dtype: Any = np.float32) -> np.ndarray:
    """Zeros that begin where a line of the cache does, with room for one more vector after their end."""
    size = np.dtype(dtype).itemsize
    room = np.zeros(count * size + 2 * LINE, np.uint8)
    start = -room.ctypes.data % LINE
    numbers: np.ndarray = room[start : start + count * size].view(dtype)
    return numbers


def placed(values: np.ndarray) -> np.ndarray:
    """The same numbers in such a place, flat."""
    result = aligned(values.size, values.dtype)
    result[:] = values.reshape(-1)
    return result
