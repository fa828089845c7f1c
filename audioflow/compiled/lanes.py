"""Sixteen float32 numbers as one value of compiled code: ``a = load(x, i)``, ``a * b + c``, ``store(y, i, a)``.

A compiler does not always find out that the arrays of a loop do not overlap, and then takes one number at a time. What
is written with lanes is vector code however little it knows. LLVM cuts them into the registers that there are.
"""

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LANES = 16
"""Numbers in one value: a register of AVX-512, two of AVX2, four of NEON."""

FLOATS = ir.VectorType(ir.FloatType(), LANES)
WORDS = ir.VectorType(ir.IntType(32), LANES)
HALVES = ir.VectorType(ir.IntType(16), LANES)

_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(-0.693359375), np.float32(2.12194440e-4)
# Coefficients of exp on [-ln 2 / 2, ln 2 / 2] after 1 + r, the highest power first (Cephes, expf).
_E5, _E4, _E3, _E2, _E1, _E0 = (
    np.float32(c)
    for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
)
_ONE, _MINUS_TWO, _FARTHEST = np.float32(1), np.float32(-2), np.float32(40)


class LanesType(types.Type):  # type: ignore[misc]
    """Type of such values."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = LanesType()
Lanes: TypeAlias = Any
"""What a type checker sees of such a value."""

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"nsz", "arcp", "contract", "afn"}}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function, once for all runs.

    What was compiled is kept beside the function's own file and thrown away when that changes. Who changes a function
    of another file that is compiled into it removes the ``__pycache__`` there.
    """
    return njit(cache=True, **_OPTIONS)(function)


def uncounted(function: Callable[..., Any]) -> Any:
    """The same for a function that allocates nothing: who holds an array is not counted, which takes long in a loop."""
    options = {**_OPTIONS, "_nrt": False, "cache": True}
    return njit(**options)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into each of those that call it, so that no array is counted on the way."""
    return njit(inline="always", **_OPTIONS)(function)


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


def _typed(function: Callable[..., Any]) -> Any:
    """An intrinsic, of which type checkers do not know the first argument."""
    return intrinsic(function)


@_typed
def load(_typing: Any, array: Any, index: Any) -> Any:
    """``array[index : index + 16]`` of a flat array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return load_vector(builder, data_of(context, builder, signature.args[0], args[0]), args[1], FLOATS)

    return lanes(array, types.intp), generate


@_typed
def store(_typing: Any, array: Any, index: Any, value: Any) -> Any:
    """``array[index : index + 16] = value``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        store_vector(builder, data_of(context, builder, signature.args[0], args[0]), args[1], args[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@_typed
def load_half(_typing: Any, array: Any, index: Any) -> Any:
    """The same of bfloat16 numbers, which stand in an array of 16-bit whole numbers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = data_of(context, builder, signature.args[0], args[0])
        words = builder.zext(load_vector(builder, data, args[1], HALVES, align=2), WORDS)
        return builder.bitcast(builder.shl(words, ir.Constant(WORDS, [16] * LANES)), FLOATS)

    return lanes(array, types.intp), generate


@_typed
def store_half(_typing: Any, array: Any, index: Any, value: Any) -> Any:
    """The same of bfloat16 numbers, rounded to the nearest, to the even one of two."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def all_lanes(number: int) -> Any:
            return ir.Constant(WORDS, [number] * LANES)

        words = builder.bitcast(args[2], WORDS)
        last = builder.and_(builder.lshr(words, all_lanes(16)), all_lanes(1))
        rounded = builder.lshr(builder.add(builder.add(words, all_lanes(0x7FFF)), last), all_lanes(16))
        data = data_of(context, builder, signature.args[0], args[0])
        store_vector(builder, data, args[1], builder.trunc(rounded, HALVES), align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@_typed
def splat(_typing: Any, number: Any) -> Any:
    """One number sixteen times."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return splat_vector(builder, args[0])

    return lanes(types.float32), generate


def mapped(emit: Callable[..., Any], count: int) -> Any:
    """An intrinsic from ``count`` lanes to lanes."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return emit(builder, *args)

    # An intrinsic is looked up by the number of its arguments.
    one: Any = lambda _typing, a: (lanes(lanes), generate)  # noqa: E731
    two: Any = lambda _typing, a, b: (lanes(lanes, lanes), generate)  # noqa: E731
    three: Any = lambda _typing, a, b, c: (lanes(lanes, lanes, lanes), generate)  # noqa: E731
    four: Any = lambda _typing, a, b, c, d: (lanes(lanes, lanes, lanes, lanes), generate)  # noqa: E731
    return intrinsic((one, two, three, four)[count - 1])


def library(name: str, count: int) -> Callable[..., Any]:
    """A call of one of LLVM's own functions."""

    def emit(builder: Any, *args: Any) -> Any:
        kind = ir.FunctionType(FLOATS, [FLOATS] * count)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32"), args)

    return emit


def _power_of_two(builder: Any, exponent: Any) -> Any:
    """``2 ** exponent`` of whole numbers from -126 to 127, put together from its bits."""
    whole = builder.fptosi(exponent, WORDS)
    biased = builder.add(whole, ir.Constant(WORDS, [127] * LANES))
    return builder.bitcast(builder.shl(biased, ir.Constant(WORDS, [23] * LANES)), FLOATS)


fused_multiply_add = library("fma", 3)
fma = mapped(fused_multiply_add, 3)
"""``a * b + c``, rounded once."""
smaller, larger, nearest = (
    mapped(library("minnum", 2), 2),
    mapped(library("maxnum", 2), 2),
    mapped(library("rint", 1), 1),
)
power_of_two = mapped(_power_of_two, 1)
pick_at_most = mapped(lambda b, x, y, yes, no: b.select(b.fcmp_ordered("<=", x, y), yes, no), 4)
"""``yes if x <= y else no`` of ``(x, y, yes, no)``, lane by lane."""
_sum, _difference = mapped(lambda b, x, y: b.fadd(x, y), 2), mapped(lambda b, x, y: b.fsub(x, y), 2)
_product, _quotient = mapped(lambda b, x, y: b.fmul(x, y), 2), mapped(lambda b, x, y: b.fdiv(x, y), 2)


def _define(symbol: Any, function: Any) -> None:
    @overload(symbol)
    def between_lanes(a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - numba compares signatures
        if a == lanes and b == lanes:
            return lambda a, b: function(a, b)  # noqa: PLW0108 - compiled, not called
        return None


for _symbol, _function in (
    (operator.add, _sum),
    (operator.sub, _difference),
    (operator.mul, _product),
    (operator.truediv, _quotient),
):
    _define(_symbol, _function)


@inlined
def exp(x: Lanes) -> Lanes:
    """``exp`` to about one part in 10 million of numbers up to 40 in size; of larger ones as if they were 40."""
    x = smaller(larger(x, splat(-_FARTHEST)), splat(_FARTHEST))
    whole = nearest(x * splat(_LOG2_E))
    r = fma(whole, splat(_LN2_LOW), fma(whole, splat(_LN2_HIGH), x))
    p = fma(fma(splat(_E5), r, splat(_E4)), r, splat(_E3))
    p = fma(fma(fma(p, r, splat(_E2)), r, splat(_E1)), r, splat(_E0))
    return fma(p * r, r, r + splat(_ONE)) * power_of_two(whole)


@inlined
def gated(a: Lanes, b: Lanes) -> Lanes:
    r"""``tanh(a) sigmoid(b)``, as :math:`(1 - e^{-2a}) / ((1 + e^{-2a}) (1 + e^{-b}))`."""
    first, second = exp(a * splat(_MINUS_TWO)), exp(splat(np.float32(0)) - b)
    return (splat(_ONE) - first) / ((splat(_ONE) + first) * (splat(_ONE) + second))


def data_of(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Pointer to the first number of an array."""
    return context.make_array(kind)(context, builder, array).data


def load_vector(builder: Any, pointer: Any, index: Any, kind: Any, align: int = 4) -> Any:
    """Sixteen numbers from ``pointer[index]`` on."""
    loaded = builder.load(builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer()))
    loaded.align = align
    return loaded


def store_vector(builder: Any, pointer: Any, index: Any, value: Any, align: int = 4) -> None:
    """Write sixteen numbers from ``pointer[index]`` on."""
    builder.store(value, builder.bitcast(builder.gep(pointer, [index]), value.type.as_pointer()), align=align)


def splat_vector(builder: Any, number: Any) -> Any:
    """One number in all lanes."""
    nothing = ir.Constant(FLOATS, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(WORDS, [0] * LANES))
