"""Products inside the kernel: a matrix unit takes float16, so numbers go to it as sums of two."""

import triton
import triton.language as tl


@triton.jit
def in_two(x):
    """``x`` as the sum of two float16 numbers."""
    high = x.to(tl.float16)
    return high, (x - high.to(tl.float32)).to(tl.float16)


@triton.jit
def product(high, low, weights, lower, total, PARTS: tl.constexpr):
    """``total + (high + low) @ weights``; the weights' second parts are ``lower`` numbers further on."""
    matrix = tl.load(weights)
    total = tl.dot(high, matrix, total)
    if PARTS == 2:
        # Of the four products of parts the least is below float32's precision.
        total = tl.dot(low, matrix, total)
        total = tl.dot(high, tl.load(weights + lower), total)
    return total
