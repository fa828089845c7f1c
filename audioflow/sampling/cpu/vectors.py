"""The inner product of the compiled loop, with its sums in registers.

What a WaveNet does in a step are products of small matrices with one vector per utterance. Compilers make of plain
loops code that writes its sums to memory after every row, so a block of ``vectors`` times 16 outputs, for
``utterances`` of the batch at once, is held in registers by hand: each row of weights is read once for all of them.

A sum waits for the one before it, so there are four of each, over four stretches of the rows: one utterance adds to all
of them in turns. Several utterances have sums enough and take one stretch after the other, in the same order, so that
an utterance comes out the same to the bit in any batch.

The weights are float32, or pairs of 16-bit whole numbers. A pair is one 32-bit number that holds the same column of two
rows::

    bits 31 ... 16   15 ... 0
       row 2i + 1     row 2i      value of row 2i: shifted up by 16;  of row 2i + 1: the number as it is

Both then come out 65,536 times as large, which the columns' scales make good. That the row below adds less than one
step to the other is taken into account where the pairs are made (:func:`audioflow.sampling.cpu.weights.paired`).
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
    data_of,
    fused_multiply_add,
    load_vector,
    splat_vector,
    store_vector,
    uncounted,
)

STRETCHES = 4
"""Of the rows, with sums of their own."""


def _block_product(vectors: int, utterances: int) -> Any:
    """An intrinsic ``(weights, at, width, x, x_at, x_step, sums, sums_at, sums_step, rows)``.

    For each utterance ``u`` and column ``o`` of the block ``sums[sums_at + u * sums_step + o]`` becomes the sum of
    ``weights[at + i * width + o] * x[x_at + u * x_step + i]`` over the rows ``i``. There is an even number of rows
    where the weights are pairs, and ``i`` in the first index counts pairs then.
    """
    every = [(u, v) for u in range(utterances) for v in range(vectors)]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, at, width, x, x_at, x_step, sums, sums_at, sums_step, rows = args
        weights, x, sums = (
            data_of(context, builder, signature.args[n], array) for n, array in ((0, weights), (3, x), (6, sums))
        )
        pairs = signature.args[0].dtype == types.int32
        one = ir.Constant(rows.type, 1)
        units = builder.lshr(rows, one) if pairs else rows
        quarter = builder.lshr(units, ir.Constant(rows.type, 2))
        rest = builder.sub(units, builder.shl(quarter, ir.Constant(rows.type, 2)))

        def index(start: Any, count: int, size: Any) -> Any:
            return builder.add(start, builder.mul(ir.Constant(start.type, count), size))

        def at_input(u: int, row: Any) -> Any:
            place = builder.add(index(x_at, u, x_step), row)
            return splat_vector(builder, builder.load(builder.gep(x, [place])))

        def add_unit(totals: dict[tuple[int, int], Any], unit: Any) -> None:
            first = builder.shl(unit, one) if pairs else unit
            numbers = [first, builder.add(first, one)] if pairs else [first]
            inputs = [[at_input(u, number) for number in numbers] for u in range(utterances)]
            row = builder.add(at, builder.mul(unit, width))
            for v in range(vectors):
                place = builder.add(row, ir.Constant(at.type, LANES * v))
                load = _unpacked if pairs else _alone
                factors = load(builder, weights, place)
                for u in range(utterances):
                    total = builder.load(totals[u, v])
                    for factor, number in zip(factors, inputs[u], strict=True):
                        total = fused_multiply_add(builder, factor, number, total)
                    builder.store(total, totals[u, v])

        places = {(u, v): builder.add(index(sums_at, u, sums_step), ir.Constant(at.type, LANES * v)) for u, v in every}

        def begin(stretch: int) -> Any:
            return builder.mul(ir.Constant(rows.type, stretch), quarter)

        def nothing() -> dict[tuple[int, int], Any]:
            totals = {key: cgutils.alloca_once(builder, FLOATS) for key in every}
            for total in totals.values():
                builder.store(ir.Constant(FLOATS, [0.0] * LANES), total)
            return totals

        stretches = [nothing() for _ in range(STRETCHES)]
        if utterances == 1:
            with cgutils.for_range(builder, quarter) as loop:
                for stretch, totals in enumerate(stretches):
                    add_unit(totals, builder.add(loop.index, begin(stretch)))
            # What is left of the rows belongs to the last stretch.
            with cgutils.for_range(builder, rest) as loop:
                add_unit(stretches[-1], builder.add(loop.index, begin(STRETCHES)))
        else:
            for stretch, totals in enumerate(stretches):
                count = builder.add(quarter, rest) if stretch == STRETCHES - 1 else quarter
                with cgutils.for_range(builder, count) as loop:
                    add_unit(totals, builder.add(loop.index, begin(stretch)))
        for key in every:
            a, b, c, d = (builder.load(totals[key]) for totals in stretches)
            store_vector(builder, sums, places[key], builder.fadd(builder.fadd(a, b), builder.fadd(c, d)))
        return context.get_dummy_value()

    def typed(_typing: Any, weights: Any, at: Any, width: Any, x: Any, x_at: Any, x_step: Any, sums: Any, sums_at: Any, sums_step: Any, rows: Any) -> Any:  # fmt: skip  # noqa: E501
        index = types.intp
        return types.void(weights, index, index, x, index, index, sums, index, index, index), generate

    return intrinsic(typed)


def _alone(builder: Any, numbers: Any, place: Any) -> list[Any]:
    return [load_vector(builder, numbers, place, FLOATS)]


def _unpacked(builder: Any, words: Any, place: Any) -> list[Any]:
    """Both rows of sixteen pairs, 65,536 times as large."""
    both = load_vector(builder, words, place, WORDS)
    lower = builder.shl(both, ir.Constant(WORDS, [16] * LANES))
    return [builder.sitofp(lower, FLOATS), builder.sitofp(both, FLOATS)]


product_4x1, product_3x1, product_2x1, product_1x1 = (_block_product(n, 1) for n in (4, 3, 2, 1))
product_4x4, product_3x4, product_2x4, product_1x4 = (_block_product(n, 4) for n in (4, 3, 2, 1))


@uncounted
def multiply(
    weights: np.ndarray,
    at: int,
    width: int,
    rows: int,
    x: np.ndarray,
    x_at: int,
    x_step: int,
    sums: np.ndarray,
    sums_at: int,
    sums_step: int,
    batch: int,
) -> None:
    """Put ``x @ weights`` into ``sums``, for each utterance.

    Args:
        weights: the matrix ``[rows, width]`` begins at ``at``; ``width`` divides by 16.
        at: see above.
        width: see above.
        rows: see above.
        x: utterance ``b`` has its ``rows`` numbers from ``x_at + b * x_step`` on.
        x_at: see above.
        x_step: see above.
        sums: utterance ``b`` has its ``width`` sums from ``sums_at + b * sums_step`` on.
        sums_at: see above.
        sums_step: see above.
        batch: number of utterances.
    """
    fours, whole = batch // 4 * 4, width // 64 * 64
    left = width - whole
    for b in range(0, fours, 4):
        i, o = x_at + b * x_step, sums_at + b * sums_step
        for c in range(0, whole, 64):
            product_4x4(weights, at + c, width, x, i, x_step, sums, o + c, sums_step, rows)
        if left == 48:
            product_3x4(weights, at + whole, width, x, i, x_step, sums, o + whole, sums_step, rows)
        elif left == 32:
            product_2x4(weights, at + whole, width, x, i, x_step, sums, o + whole, sums_step, rows)
        elif left == 16:
            product_1x4(weights, at + whole, width, x, i, x_step, sums, o + whole, sums_step, rows)
    for b in range(fours, batch):
        i, o = x_at + b * x_step, sums_at + b * sums_step
        for c in range(0, whole, 64):
            product_4x1(weights, at + c, width, x, i, x_step, sums, o + c, sums_step, rows)
        if left == 48:
            product_3x1(weights, at + whole, width, x, i, x_step, sums, o + whole, sums_step, rows)
        elif left == 32:
            product_2x1(weights, at + whole, width, x, i, x_step, sums, o + whole, sums_step, rows)
        elif left == 16:
            product_1x1(weights, at + whole, width, x, i, x_step, sums, o + whole, sums_step, rows)
