"""The inner product of the compiled loop, with its sums in registers.

What a WaveNet does in a step are products of small matrices with one vector per utterance. Compilers make of plain
loops code that writes its sums to memory after every row, so a block of ``vectors`` times 16 outputs, for
``utterances`` of the batch at once, is held in registers by hand: each row of weights is read once for all of them.

The weights are float32, or pairs of 16-bit whole numbers. A pair is one 32-bit number that holds the same column of two
rows::

    bits 31 ... 16   15 ... 0
       row 2i + 1     row 2i      value of row 2i: shifted up by 16;  of row 2i + 1: the number as it is

Both then come out 65,536 times as large, which the columns' scales make good. That the row below adds less than one
step to the other is taken into account where the pairs are made (:func:`audioflow.sampling.cpu.weights.paired`).
"""

from typing import Any

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
)


def _block_product(vectors: int, utterances: int) -> Any:
    """An intrinsic ``(weights, at, width, x, x_at, x_step, sums, sums_at, sums_step, rows)``.

    For each utterance ``u``, row ``i`` and column ``o`` of the block it adds ``weights[at + i * width + o] *
    x[x_at + u * x_step + i]`` to ``sums[sums_at + u * sums_step + o]``. There is an even number of rows where the
    weights are pairs, and ``i`` in the first index counts pairs then.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, at, width, x, x_at, x_step, sums, sums_at, sums_step, rows = args
        weights, x, sums = (
            data_of(context, builder, kind, array)
            for kind, array in zip(
                (signature.args[0], signature.args[3], signature.args[6]), (weights, x, sums), strict=True
            )
        )
        pairs = signature.args[0].dtype == types.int32
        places = [[None] * vectors for _ in range(utterances)]
        sums_of = [[cgutils.alloca_once(builder, FLOATS) for _ in range(vectors)] for _ in range(utterances)]
        every = [(u, v) for u in range(utterances) for v in range(vectors)]

        def index(start: Any, count: int, size: Any) -> Any:
            return builder.add(start, builder.mul(ir.Constant(start.type, count), size))

        def at_input(u: int, row: Any) -> Any:
            place = builder.add(index(x_at, u, x_step), row)
            return splat_vector(builder, builder.load(builder.gep(x, [place])))

        for u, v in every:
            places[u][v] = builder.add(index(sums_at, u, sums_step), ir.Constant(at.type, LANES * v))
            builder.store(load_vector(builder, sums, places[u][v], FLOATS), sums_of[u][v])
        one = ir.Constant(rows.type, 1)
        with cgutils.for_range(builder, builder.lshr(rows, one) if pairs else rows) as loop:
            first = builder.shl(loop.index, one) if pairs else loop.index
            inputs = [[at_input(u, first)] for u in range(utterances)]
            if pairs:
                for u in range(utterances):
                    inputs[u].append(at_input(u, builder.add(first, one)))
            row = builder.add(at, builder.mul(loop.index, width))
            for v in range(vectors):
                place = builder.add(row, ir.Constant(at.type, LANES * v))
                factors = (
                    _unpacked(builder, weights, place) if pairs else [load_vector(builder, weights, place, FLOATS)]
                )
                for u in range(utterances):
                    total = builder.load(sums_of[u][v])
                    for factor, number in zip(factors, inputs[u], strict=True):
                        total = fused_multiply_add(builder, factor, number, total)
                    builder.store(total, sums_of[u][v])
        for u, v in every:
            store_vector(builder, sums, places[u][v], builder.load(sums_of[u][v]))
        return context.get_dummy_value()

    def typed(_typing: Any, weights: Any, at: Any, width: Any, x: Any, x_at: Any, x_step: Any, sums: Any, sums_at: Any, sums_step: Any, rows: Any) -> Any:  # fmt: skip  # noqa: E501
        index = types.intp
        return types.void(weights, index, index, x, index, index, sums, index, index, index), generate

    return intrinsic(typed)


def _unpacked(builder: Any, words: Any, place: Any) -> list[Any]:
    """Both rows of sixteen pairs, 65,536 times as large."""
    both = load_vector(builder, words, place, WORDS)
    lower = builder.shl(both, ir.Constant(WORDS, [16] * LANES))
    return [builder.sitofp(lower, FLOATS), builder.sitofp(both, FLOATS)]


product_8x1 = _block_product(8, 1)
product_4x1 = _block_product(4, 1)
product_4x4 = _block_product(4, 4)
