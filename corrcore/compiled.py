"""Loops compiled by Numba, and the processor's vector registers spelled out where its loops are not vectorised.

`kernel` compiles a function to machine code that runs without Python's lock. Within it, `load` brings sixteen
neighbouring float32 of a flat array into one value, *lanes*, on which the other functions here work; `store` writes it
back. Sixteen are one register of AVX-512; elsewhere the compiler makes two, or four, of them. Nothing is checked: the
caller keeps indices inside arrays, and costs finite.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, models, register_model

LANES = 16
# Of floats: neither NaN nor infinite, zeros without a sign. Products are not contracted with sums, for then results
# would be others on processors that can do both with one rounding.
_ASSUMED = ("nnan", "ninf", "nsz")


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compiles at the first call, without the interpreter's lock, and keeps the machine code where a folder allows."""

    def compile_later(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return njit(nogil=True, error_model="numpy", cache=True, **options)(function)
        except RuntimeError:  # neither beside this file nor in the user's cache may anything be written
            return njit(nogil=True, error_model="numpy", **options)(function)

    return compile_later


_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTEGERS = ir.VectorType(ir.IntType(32), LANES)
_BITS = ir.IntType(LANES)


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes")


_lanes = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, _FLOATS)


def _data(context: Any, builder: Any, given_type: Any, given: Any) -> Any:
    if isinstance(given_type, types.CPointer):
        return given
    return context.make_array(given_type)(context, builder, given).data


def _address(context: Any, builder: Any, given_type: Any, given: Any, index: Any) -> Any:
    data = _data(context, builder, given_type, given)
    return builder.bitcast(builder.gep(data, [index]), _FLOATS.as_pointer())


def _order(places: list[int]) -> ir.Constant:
    return ir.Constant(_INTEGERS, places)


def _compare(sign: str, builder: Any, first: Any, second: Any) -> Any:
    return builder.fcmp_ordered(sign, first, second, flags=_ASSUMED)


@intrinsic
def pointers(typing: Any, record: Any) -> Any:
    """A named tuple with every array in it as the address of its numbers, read and written by index as the array is.

    Numba counts who uses an array, at every call and at every use of one in a tuple, which takes longer than short
    loops do. The caller keeps the arrays.
    """
    members = [types.CPointer(each.dtype) if isinstance(each, types.Array) else each for each in record.types]

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        each = [
            _data(context, builder, kind, builder.extract_value(given[0], i))
            if isinstance(kind, types.Array)
            else builder.extract_value(given[0], i)
            for i, kind in enumerate(record.types)
        ]
        return context.make_tuple(builder, signature.return_type, each)

    return types.NamedTuple(members, record.instance_class)(record), code


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """Sixteen numbers of a flat float32 array, or of one of `pointers`, from `index` on."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *given), align=4)

    return _lanes(array, types.intp), code


@intrinsic
def store(typing: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Writes lanes to a flat float32 array from `index` on."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array, index, lanes = given
        builder.store(lanes, _address(context, builder, signature.args[0], array, index), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, _lanes), code


@intrinsic
def fill(typing: Any, number: Any) -> Any:
    """The same float32 in all lanes."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        nothing = ir.Constant(_FLOATS, ir.Undefined)
        first = builder.insert_element(nothing, given[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, nothing, _order([0] * LANES))

    return _lanes(types.float32), code


@intrinsic
def add(typing: Any, first: Any, second: Any) -> Any:
    """Sums, lane by lane."""
    return _lanes(_lanes, _lanes), lambda context, builder, signature, given: builder.fadd(*given, flags=_ASSUMED)


@intrinsic
def subtract(typing: Any, first: Any, second: Any) -> Any:
    """Differences, lane by lane."""
    return _lanes(_lanes, _lanes), lambda context, builder, signature, given: builder.fsub(*given, flags=_ASSUMED)


@intrinsic
def multiply(typing: Any, first: Any, second: Any) -> Any:
    """Products, lane by lane."""
    return _lanes(_lanes, _lanes), lambda context, builder, signature, given: builder.fmul(*given, flags=_ASSUMED)


@intrinsic
def where_less(typing: Any, first: Any, second: Any, then: Any, otherwise: Any) -> Any:
    """Lanes of `then` where `first` is less than `second`, of `otherwise` elsewhere."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        first, second, then, otherwise = given
        return builder.select(_compare("<", builder, first, second), then, otherwise)

    return _lanes(_lanes, _lanes, _lanes, _lanes), code


@intrinsic
def minimum(typing: Any, first: Any, second: Any) -> Any:
    """The lesser number of each lane."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.select(_compare("<", builder, *given), *given)

    return _lanes(_lanes, _lanes), code


@intrinsic
def maximum(typing: Any, first: Any, second: Any) -> Any:
    """The greater number of each lane."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.select(_compare(">", builder, *given), *given)

    return _lanes(_lanes, _lanes), code


@intrinsic
def lowest(typing: Any, lanes: Any) -> Any:
    """The least of sixteen numbers."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        (lanes,) = given
        shift = LANES // 2
        while shift:
            turned = builder.shuffle_vector(lanes, lanes, _order([(i + shift) % LANES for i in range(LANES)]))
            lanes = builder.select(_compare("<", builder, lanes, turned), lanes, turned)
            shift //= 2
        return builder.extract_element(lanes, ir.Constant(ir.IntType(32), 0))

    return types.float32(_lanes), code


@intrinsic
def mark_changes(typing: Any, marks: Any, first: Any, second: Any) -> Any:
    """`marks`, with bits set in lanes where two numbers differ; see `any_marked`. Begin with ``fill(0)``."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        marks, first, second = (builder.bitcast(lanes, _INTEGERS) for lanes in given)
        return builder.bitcast(builder.or_(marks, builder.xor(first, second)), _FLOATS)

    return _lanes(_lanes, _lanes, _lanes), code


@intrinsic
def any_marked(typing: Any, marks: Any) -> Any:
    """Whether `mark_changes` has set a bit in any lane."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        bits = builder.bitcast(given[0], _INTEGERS)
        marked = builder.icmp_unsigned("!=", bits, ir.Constant(_INTEGERS, [0] * LANES))
        return builder.icmp_unsigned("!=", builder.bitcast(marked, _BITS), ir.Constant(_BITS, 0))

    return types.boolean(_lanes), code


@intrinsic
def transpose(typing: Any, array: Any, at: Any, pitch: Any, target: Any, to: Any, target_pitch: Any) -> Any:
    """Writes the 16 x 16 block at `at` of `array`, rows `pitch` apart, with rows and columns exchanged.

    Four rounds of exchanges between pairs of registers, of one number, two, four and eight.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array, at, pitch, target, to, target_pitch = given
        rows = []
        for _ in range(LANES):
            rows.append(builder.load(_address(context, builder, signature.args[0], array, at), align=4))
            at = builder.add(at, pitch)
        size = 1
        while size < LANES:
            above = _order([LANES + lane - size if lane & size else lane for lane in range(LANES)])
            below = _order([LANES + lane if lane & size else lane + size for lane in range(LANES)])
            for row in (row for row in range(LANES) if not row & size):
                pair = rows[row], rows[row + size]
                rows[row], rows[row + size] = (builder.shuffle_vector(*pair, order) for order in (above, below))
            size *= 2
        for row in rows:
            builder.store(row, _address(context, builder, signature.args[3], target, to), align=4)
            to = builder.add(to, target_pitch)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, target, types.intp, types.intp), code
