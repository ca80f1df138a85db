"""Loops compiled by Numba, and the processor's vector registers spelled out where its loops are not vectorised.

`kernel` compiles a function to machine code that runs without Python's lock. Within it, `load` brings sixteen
neighbouring float32 of a flat array, or thirty-two uint16, into one value, *lanes*, on which the other functions here
work; `store` writes it back. So many are one register of AVX-512; elsewhere the compiler makes two, or four, of them.
Nothing is checked: the caller keeps indices inside arrays, costs finite, and sums of integers within sixteen bits.
"""

import itertools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, models, register_model

LANES, SHORT_LANES = 16, 32  # of float32, of uint16
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


class _Lanes(types.Type):
    def __init__(self, name: str, number: types.Type, element: Any, count: int) -> None:
        super().__init__(name)
        self.number, self.count = number, count
        self.is_float = isinstance(number, types.Float)
        self.vector = ir.VectorType(element, count)
        self.integers = ir.VectorType(ir.IntType(512 // count), count)

    def less(self, builder: Any, first: Any, second: Any) -> Any:
        if self.is_float:
            return builder.fcmp_ordered("<", first, second, flags=_ASSUMED)
        return builder.icmp_unsigned("<", first, second)

    def operate(self, name: str, builder: Any, first: Any, second: Any) -> Any:
        """Adds, subtracts or multiplies: *add*, *sub*, *mul*."""
        if self.is_float:
            return getattr(builder, f"f{name}")(first, second, flags=_ASSUMED)
        return getattr(builder, name)(first, second)


_floats = _Lanes("Lanes", types.float32, ir.FloatType(), LANES)
_shorts = _Lanes("ShortLanes", types.uint16, ir.IntType(16), SHORT_LANES)
_OF = {kind.number: kind for kind in (_floats, _shorts)}


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, fe_type.vector)


def _data(context: Any, builder: Any, given_type: Any, given: Any) -> Any:
    if isinstance(given_type, types.CPointer):
        return given
    return context.make_array(given_type)(context, builder, given).data


def _address(context: Any, builder: Any, given_type: Any, given: Any, index: Any) -> Any:
    data = _data(context, builder, given_type, given)
    return builder.bitcast(builder.gep(data, [index]), _OF[given_type.dtype].vector.as_pointer())


def _order(places: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)


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
    """The numbers of a flat array, or of one of `pointers`, from `index` on."""
    kind = _OF[array.dtype]

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(_address(context, builder, array, *given), align=kind.number.bitwidth // 8)

    return kind(array, types.intp), code


@intrinsic
def store(typing: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Writes lanes to a flat array from `index` on."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        to, index, value = given
        builder.store(value, _address(context, builder, array, to, index), align=lanes.number.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), code


@intrinsic
def load_whole(typing: Any, array: Any, index: Any) -> Any:
    """Sixteen numbers of a flat uint16 array, as float32."""
    part = ir.VectorType(ir.IntType(16), LANES)

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        address = builder.bitcast(_address(context, builder, array, *given), part.as_pointer())
        return builder.uitofp(builder.load(address, align=2), _floats.vector)

    return _floats(array, types.intp), code


@intrinsic
def store_whole(typing: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Writes float32 to a flat uint16 array, rounded down. They are to fit."""
    part = ir.VectorType(ir.IntType(16), LANES)

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        to, index, value = given
        address = builder.bitcast(_address(context, builder, array, to, index), part.as_pointer())
        builder.store(builder.trunc(builder.fptosi(value, _floats.integers), part), address, align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), code


@intrinsic
def store_in_turn(typing: Any, array: Any, index: Any, first: Any, second: Any) -> Any:
    """Writes float32 to a flat uint16 array, rounded down: one of the first, one of the second, and so on."""
    part = ir.VectorType(ir.IntType(16), LANES)

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        to, index, *values = given
        one, other = (builder.trunc(builder.fptosi(value, _floats.integers), part) for value in values)
        order = _order([lane // 2 + LANES * (lane % 2) for lane in range(2 * LANES)])
        builder.store(builder.shuffle_vector(one, other, order), _address(context, builder, array, to, index), align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, first, second), code


@intrinsic
def fill(typing: Any, number: Any) -> Any:
    """The same float32, or uint16, in all lanes."""
    kind = _OF.get(number, _floats)

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        nothing = ir.Constant(kind.vector, ir.Undefined)
        first = builder.insert_element(nothing, given[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, nothing, _order([0] * kind.count))

    return kind(kind.number), code


@intrinsic
def add(typing: Any, first: Any, second: Any) -> Any:
    """Sums, lane by lane."""
    return first(first, first), lambda context, builder, signature, given: first.operate("add", builder, *given)


@intrinsic
def add_capped(typing: Any, first: Any, second: Any) -> Any:
    """Sums of integers, lane by lane; the greatest number there is, where they exceed it."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        total, most = builder.add(*given), ir.Constant(first.vector, [-1] * first.count)
        return builder.select(first.less(builder, total, given[0]), most, total)

    return first(first, first), code


@intrinsic
def subtract(typing: Any, first: Any, second: Any) -> Any:
    """Differences, lane by lane."""
    return first(first, first), lambda context, builder, signature, given: first.operate("sub", builder, *given)


@intrinsic
def multiply(typing: Any, first: Any, second: Any) -> Any:
    """Products, lane by lane."""
    return first(first, first), lambda context, builder, signature, given: first.operate("mul", builder, *given)


@intrinsic
def halve(typing: Any, lanes: Any) -> Any:
    """Halves of integers, rounded down."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.lshr(given[0], ir.Constant(lanes.vector, [1] * lanes.count))

    return lanes(lanes), code


@intrinsic
def where_less(typing: Any, first: Any, second: Any, then: Any, otherwise: Any) -> Any:
    """Lanes of `then` where `first` is less than `second`, of `otherwise` elsewhere."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        one, other, then, otherwise = given
        return builder.select(first.less(builder, one, other), then, otherwise)

    return then(first, first, then, then), code


@intrinsic
def minimum(typing: Any, first: Any, second: Any) -> Any:
    """The lesser number of each lane."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.select(first.less(builder, *given), *given)

    return first(first, first), code


@intrinsic
def maximum(typing: Any, first: Any, second: Any) -> Any:
    """The greater number of each lane."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        one, other = given
        return builder.select(first.less(builder, other, one), one, other)

    return first(first, first), code


@intrinsic
def lowest(typing: Any, lanes: Any) -> Any:
    """The least of all lanes' numbers."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        (least,) = given
        shift = lanes.count // 2
        while shift:
            turned = builder.shuffle_vector(
                least, least, _order([(i + shift) % lanes.count for i in range(lanes.count)])
            )
            least = builder.select(lanes.less(builder, least, turned), least, turned)
            shift //= 2
        return builder.extract_element(least, ir.Constant(ir.IntType(32), 0))

    return lanes.number(lanes), code


@intrinsic
def mark_changes(typing: Any, marks: Any, first: Any, second: Any) -> Any:
    """`marks`, with bits set in lanes where two numbers differ; see `any_marked`. Begin with zeros."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        marks, one, other = (builder.bitcast(lanes, first.integers) for lanes in given)
        return builder.bitcast(builder.or_(marks, builder.xor(one, other)), first.vector)

    return first(first, first, first), code


@intrinsic
def any_marked(typing: Any, marks: Any) -> Any:
    """Whether `mark_changes` has set a bit in any lane."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        bits, each = builder.bitcast(given[0], marks.integers), ir.IntType(marks.count)
        marked = builder.icmp_unsigned("!=", bits, ir.Constant(marks.integers, [0] * marks.count))
        return builder.icmp_unsigned("!=", builder.bitcast(marked, each), ir.Constant(each, 0))

    return types.boolean(marks), code


@intrinsic
def transpose(typing: Any, array: Any, at: Any, pitch: Any, target: Any, to: Any, target_pitch: Any) -> Any:
    """Writes the square block of lanes at `at` of `array`, rows `pitch` apart, with rows and columns exchanged.

    Pieces of 128 bits are loaded two and two, and their numbers change places within them, which takes processors one
    instruction a register and round.
    """
    n, aligned = _OF[array.dtype].count, array.dtype.bitwidth // 8
    piece = 16 // aligned
    part = ir.VectorType(_OF[array.dtype].vector.element, piece).as_pointer()
    pair = ir.VectorType(_OF[array.dtype].vector.element, 2 * piece).as_pointer()

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data, at, pitch, target_data, to, target_pitch = given
        data, target_data = (_data(context, builder, *each) for each in ((array, data), (target, target_data)))

        def place(begin: Any, row: int, step: Any, column: int) -> Any:
            row_begin = builder.add(begin, builder.mul(step, ir.Constant(step.type, row)))
            return builder.add(row_begin, ir.Constant(step.type, column))

        def load_part(row: int, column: int) -> Any:
            address = builder.gep(data, [place(at, row, pitch, column)])
            return builder.load(builder.bitcast(address, part), align=aligned)

        for row, column in itertools.product(range(0, n, 2 * piece), range(0, n, piece)):
            both = _order(list(range(2 * piece)))
            lines = [
                builder.shuffle_vector(load_part(row + i, column), load_part(row + i + piece, column), both)
                for i in range(piece)
            ]
            size = 1
            while size < piece:
                orders = _interleaved(piece, size)
                pairs = [(lines[i], lines[i + size]) for i in range(piece) if not i & size]
                lines = [builder.shuffle_vector(*each, order) for each in pairs for order in orders]
                size *= 2
            for i, line in enumerate(lines):
                address = builder.gep(target_data, [place(to, column + i, target_pitch, row)])
                builder.store(line, builder.bitcast(address, pair), align=aligned)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, target, types.intp, types.intp), code


def _interleaved(piece: int, size: int) -> list[ir.Constant]:
    """Of two registers, their pieces' lower halves, `size` numbers of one and the other in turn; and the upper ones."""
    lower = [
        start + unit + other + k
        for start in (0, piece)
        for unit in range(0, piece // 2, size)
        for other in (0, 2 * piece)
        for k in range(size)
    ]
    return [_order(lower), _order([place + piece // 2 for place in lower])]
