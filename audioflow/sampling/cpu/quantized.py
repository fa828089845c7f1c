"""Products of 8-bit numbers: sixteen columns and four rows in one instruction of AVX-512 VNNI.

A weight is a whole number from -127 to 127 times its column's scale. An input is a whole number in that range times a
scale too, of its own at each step, and 128 is added to it, since the instruction takes one of the two without a sign.
What that adds, 128 times the sum of the column's weights, is taken off where a sum starts. Four rows stand together::

    weights  [rows / 4, columns, 4]      64 bytes: rows 4i ... 4i + 3 of sixteen columns
    inputs   [rows]                       4 bytes: the same four rows, given to all columns

Sums are whole numbers of 32 bits, and exact.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from audioflow.compiled.lanes import (
    FLOATS,
    LANES,
    WORDS,
    Lanes,
    data_of,
    fma,
    inlined,
    lanes,
    library,
    load_vector,
    mapped,
    nearest,
    smaller,
    splat,
    store_vector,
    uncounted,
)

BYTES = ir.VectorType(ir.IntType(8), LANES)
_ONE, _FARTHEST = np.float32(1), np.float32(40)
# Coefficients of 2^r on [-1/2, 1/2] after 1.
_P3, _P2, _P1 = (np.float32(c) for c in (0.055008932, 0.24221096, 0.693282927))
LEVELS = 127
"""Of the largest input, or weight."""


def _block_product(vectors: int) -> Any:
    """An intrinsic ``(weights, at, width, x, x_at, start, start_at, sums, sums_at, quads)``.

    ``sums[sums_at + o]`` becomes ``start[start_at + o]`` and, for each row ``i`` of ``4 * quads``, the product of
    ``x[x_at + i]`` and the weight of row ``i`` and column ``o``; ``at`` counts sums' worth of weights, four each.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, at, width, x, x_at, start, start_at, sums, sums_at, quads = args
        weights, x, start, sums = (
            data_of(context, builder, signature.args[n], array)
            for n, array in ((0, weights), (3, x), (5, start), (7, sums))
        )
        weights = builder.bitcast(weights, ir.IntType(32).as_pointer())
        one = ir.Constant(quads.type, 1)
        half = builder.lshr(quads, one)

        def moved(place: Any, vector: int) -> Any:
            return builder.add(place, ir.Constant(place.type, LANES * vector))

        def add_quad(totals: list[Any], quad: Any) -> None:
            place = builder.gep(x, [builder.add(x_at, builder.shl(quad, ir.Constant(quad.type, 2)))])
            four = builder.load(builder.bitcast(place, ir.IntType(32).as_pointer()))
            four.align = 1
            inputs = _splat_word(builder, four)
            row = builder.add(at, builder.mul(quad, width))
            for vector, total in enumerate(totals):
                factors = load_vector(builder, weights, moved(row, vector), WORDS)
                builder.store(_multiply_add(builder, builder.load(total), inputs, factors), total)

        upper, lower = ([cgutils.alloca_once(builder, WORDS) for _ in range(vectors)] for _ in range(2))
        for vector in range(vectors):
            builder.store(load_vector(builder, start, moved(start_at, vector), WORDS), upper[vector])
            builder.store(ir.Constant(WORDS, [0] * LANES), lower[vector])
        with cgutils.for_range(builder, half) as loop:
            add_quad(upper, loop.index)
            add_quad(lower, builder.add(loop.index, half))
        for vector in range(vectors):
            total = builder.add(builder.load(upper[vector]), builder.load(lower[vector]))
            store_vector(builder, sums, moved(sums_at, vector), total)
        return context.get_dummy_value()

    def typed(_typing: Any, weights: Any, at: Any, width: Any, x: Any, x_at: Any, start: Any, start_at: Any, sums: Any, sums_at: Any, quads: Any) -> Any:  # fmt: skip  # noqa: E501
        index = types.intp
        return types.void(weights, index, index, x, index, start, index, sums, index, index), generate

    return intrinsic(typed)


def _multiply_add(builder: Any, total: Any, inputs: Any, factors: Any) -> Any:
    kind = ir.FunctionType(WORDS, [WORDS] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(function, [total, inputs, factors])


def _splat_word(builder: Any, word: Any) -> Any:
    nothing = ir.Constant(WORDS, ir.Undefined)
    first = builder.insert_element(nothing, word, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(WORDS, [0] * LANES))


def _load_whole(_typing: Any, array: Any, index: Any) -> Any:
    """Sixteen whole numbers of 32 bits as floats."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = data_of(context, builder, signature.args[0], args[0])
        return builder.sitofp(load_vector(builder, data, args[1], WORDS), FLOATS)

    return lanes(array, types.intp), generate


def _store_bytes(_typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Sixteen numbers from -127 to 127, rounded and 128 more, as bytes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = data_of(context, builder, signature.args[0], args[0])
        # Beyond 2^23 a float has no fraction: its last bits are the whole number, rounded to the nearest.
        shifted = builder.fadd(args[2], ir.Constant(FLOATS, [float(2**23 + 128)] * LANES))
        store_vector(builder, data, args[1], builder.trunc(builder.bitcast(shifted, WORDS), BYTES), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


def _largest_of(_typing: Any, value: Any) -> Any:
    """The largest of sixteen numbers that are not negative."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        # They are ordered as their bits are, and whole numbers are compared sooner.
        kind = ir.FunctionType(ir.IntType(32), [WORDS])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.smax.v{LANES}i32")
        return builder.bitcast(builder.call(function, [builder.bitcast(args[0], WORDS)]), ir.FloatType())

    return types.float32(lanes), generate


def _instruction(name: str, count: int, *rest: Any) -> Any:
    """An intrinsic of so many lanes, and what else an instruction of AVX-512 is told."""

    def emit(builder: Any, *args: Any) -> Any:
        given = [*args, args[0], *rest]
        kind = ir.FunctionType(FLOATS, [value.type for value in given])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)

    return mapped(emit, count)


_ALL = ir.Constant(ir.IntType(16), -1)
size_of = mapped(library("fabs", 1), 1)
"""Without the sign."""
_scaled = _instruction("llvm.x86.avx512.mask.scalef.ps.512", 2, _ALL, ir.Constant(ir.IntType(32), 4))
_inverse = _instruction("llvm.x86.avx512.rcp14.ps.512", 1, _ALL)


load_whole, store_bytes, largest_of = (intrinsic(function) for function in (_load_whole, _store_bytes, _largest_of))
bytes_8, bytes_4, bytes_2, bytes_1 = (_block_product(n) for n in (8, 4, 2, 1))


@uncounted
def multiply_bytes(
    weights: np.ndarray,
    at: int,
    width: int,
    x: np.ndarray,
    x_at: int,
    start: np.ndarray,
    start_at: int,
    sums: np.ndarray,
    sums_at: int,
    quads: int,
) -> None:
    """One utterance's ``x @ weights`` into ``sums``: an even number of quads of rows, ``width`` a multiple of 16."""
    whole = width // 128 * 128
    for c in range(0, whole, 128):
        bytes_8(weights, at + c, width, x, x_at, start, start_at + c, sums, sums_at + c, quads)
    c = whole
    if width & 64:
        bytes_4(weights, at + c, width, x, x_at, start, start_at + c, sums, sums_at + c, quads)
        c += 64
    if width & 32:
        bytes_2(weights, at + c, width, x, x_at, start, start_at + c, sums, sums_at + c, quads)
        c += 32
    if width & 16:
        bytes_1(weights, at + c, width, x, x_at, start, start_at + c, sums, sums_at + c, quads)


@inlined
def quick_gate(a: Lanes, b: Lanes) -> Lanes:
    r"""``tanh(x) sigmoid(y)`` of ``a = -2 x log2(e)`` and ``b = -y log2(e)``, to 13 bits: more than is kept."""
    first, second = _power(smaller(a, splat(_FARTHEST))), _power(b)
    return (splat(_ONE) - first) * _inverse((splat(_ONE) + first) * (splat(_ONE) + second))


@inlined
def _power(x: Lanes) -> Lanes:
    """``2 ** x`` to one part in 10,000."""
    whole = nearest(x)
    r = x - whole
    return _scaled(fma(fma(fma(splat(_P3), r, splat(_P2)), r, splat(_P1)), r, splat(_ONE)), whole)
