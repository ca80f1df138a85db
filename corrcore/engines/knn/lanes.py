"""Products of 8-bit codes for many rows at once, in the processor's vector registers.

Codes of some rows lie side by side, four channels of each at a time (`exchange`); a register of `Sums` has one, or two,
for each row. There are three ways to add to it; each runs on every processor, and has an instruction on some.

- `Dot` adds four products at once, exactly: ``vpdpbusd`` on x86 with VNNI, ``sdot`` on ARM.
- `Pairs`, for x86 without VNNI, is ``pmaddubsw``: unsigned bytes of rows times signed bytes of a query, two and two
  added up in 16 bits. Sums of several such fit if the query's codes are made coarse enough: see `codes.CodedQueries`.
- `PositivePairs` is the same with the query's bytes as the unsigned ones, if none of its numbers is negative. Rows keep
  their signs, half the range of theirs above, so that twice as much of a query fits.

What has no instruction is spelled out; LLVM finds ``pmaddubsw`` and ``sdot`` by themselves. Others it is told of, and
``pmaddubsw`` too, for it misses it where there is AVX-512; but only where the code that is made may use them.
"""

import platform
from collections.abc import Sequence
from typing import Any, NamedTuple

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic, models, register_model

from corrcore.engines.knn.codes import MARGIN
from corrcore.engines.knn.keys import GROUP


def _instructions() -> set[str]:
    """Those that Numba makes code with: of the processor at hand, or as NUMBA_CPU_FEATURES says; none if another
    processor is named alone.

    Kept machine code is told apart by the same two settings, so that what is chosen here fits it.
    """
    name, features = (getattr(config, setting, None) for setting in ("CPU_NAME", "CPU_FEATURES"))
    if features is None:
        features = get_host_cpu_features() if name in (None, llvmlite.binding.get_host_cpu_name()) else ""
    return {each[1:] for each in features.split(",") if each.startswith("+")}


_HAS = _instructions()
_IS_ARM = platform.machine().lower() in ("arm64", "aarch64")
_WIDE_VNNI = "avx512vnni" in _HAS
_VNNI = _WIDE_VNNI or "avxvnni" in _HAS
_INT = ir.IntType(32)


class Dot(NamedTuple):
    """Exact products."""

    rows: int = 16 if _WIDE_VNNI else 8
    summed: int = 0  # channels that are summed up at a time: all
    most: int = 0  # of a sum of a query's codes: any
    offset: int = 0 if _IS_ARM else 128  # added to the rows' codes


class Pairs(NamedTuple):
    """Products with coarser queries, of which so many channels are summed up in two numbers of 16 bits."""

    rows: int = 8
    summed: int = 16
    most: int = 128  # times 255 is less than 2**15
    offset: int = 128


class PositivePairs(NamedTuple):
    """The same with queries that are not negative."""

    rows: int = 8
    summed: int = 32
    most: int = 258  # times 127
    offset: int = 0


Way = Dot | Pairs | PositivePairs


def pairs(*, positive: bool) -> Way:
    """By ``pmaddubsw``; `positive` says whether no query has a negative number."""
    return PositivePairs() if positive else Pairs()


def fast_way(*, positive: bool) -> Way:
    """The way for which the processor has instructions."""
    return Dot() if _VNNI or _IS_ARM else pairs(positive=positive)


def _vector(bits: int, lanes: int) -> ir.VectorType:
    return ir.VectorType(ir.IntType(bits), lanes)


class _Sums(types.Type):
    def __init__(self, way: type[Dot | Pairs | PositivePairs]) -> None:
        self.lanes = _vector(32, way().rows) if way is Dot else _vector(16, 2 * way().rows)
        super().__init__(name=f"Sums({self.lanes})")


@register_model(_Sums)
class _SumsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, fe_type.lanes)


def _class_of(way: Any) -> type[Dot | Pairs | PositivePairs]:
    return way.instance_class


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, kind: ir.Type) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def _pick(builder: Any, first: Any, places: Sequence[int], second: Any = None) -> Any:
    order = ir.Constant(_vector(32, len(places)), list(places))
    return builder.shuffle_vector(first, first if second is None else second, order)


def _neighbours(builder: Any, lanes: Any) -> list[Any]:
    """Lanes of even, and of odd, number."""
    return [_pick(builder, lanes, range(part, lanes.type.count, 2)) for part in range(2)]


def _call(builder: Any, name: str, result: ir.Type, *given: Any) -> Any:
    function = builder.module.declare_intrinsic(name, (), ir.FunctionType(result, [value.type for value in given]))
    return builder.call(function, given)


def _dot(builder: Any, sums: Any, codes: Any, query: Any) -> Any:
    """Sums with the products of four neighbours added to each."""
    rows, wide = sums.type.count, _vector(32, codes.type.count)
    if _VNNI:
        words = (builder.bitcast(lanes, sums.type) for lanes in (codes, query))
        return _call(builder, f"llvm.x86.avx512.vpdpbusd.{32 * rows}", sums.type, sums, *words)
    widen = builder.sext if _IS_ARM else builder.zext
    products = builder.mul(widen(codes, wide), builder.sext(query, wide), flags=("nsw",))
    if _IS_ARM:
        name = f"llvm.experimental.vector.partial.reduce.add.v{rows}i32.v{wide.count}i32"
        return _call(builder, name, sums.type, sums, products)
    pairs = builder.add(*_neighbours(builder, products))
    return builder.add(sums, builder.add(*_neighbours(builder, pairs)))


def _multiply_pairs(builder: Any, unsigned: Any, signed: Any) -> Any:
    """Sums of the products of two neighbours, in 16 bits. The instruction saturates, which nothing here comes to."""
    halves, wide = (_vector(bits, signed.type.count // 2) for bits in (16, 32))
    if "avx2" in _HAS:
        return _call(builder, "llvm.x86.avx2.pmadd.ub.sw", halves, unsigned, signed)
    pairs = zip(_neighbours(builder, unsigned), _neighbours(builder, signed), strict=True)
    sums = builder.add(*(builder.mul(builder.zext(one, wide), builder.sext(other, wide)) for one, other in pairs))
    for sign, limit in (("<", 2**15 - 1), (">", -(2**15))):
        limits = ir.Constant(wide, [limit] * wide.count)
        sums = builder.select(builder.icmp_signed(sign, sums, limits), sums, limits)
    return builder.trunc(sums, halves)


def _add_pairs(builder: Any, halves: Any) -> Any:
    """Sums of two neighbours, in 32 bits; ``pmaddwd`` with ones."""
    words = _vector(32, halves.type.count // 2)
    if "avx2" in _HAS:
        ones = ir.Constant(halves.type, [1] * halves.type.count)
        return _call(builder, "llvm.x86.avx2.pmadd.wd", words, halves, ones)
    wide = builder.sext(halves, _vector(32, halves.type.count))
    return builder.add(*_neighbours(builder, wide), flags=("nsw",))


@intrinsic
def nothing(typing: Any, way: Any) -> Any:
    """Sums to begin with."""
    sums = _Sums(_class_of(way))
    return sums(way), lambda context, builder, signature, given: ir.Constant(sums.lanes, [0] * sums.lanes.count)


@intrinsic
def add_products(typing: Any, way: Any, sums: Any, rows: Any, at: Any, queries: Any, place: Any) -> Any:
    """`sums` with eight channels of rows, from `at` on as `exchange` wrote them, times those of a query at `place`."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, total, codes, at, own, place = given
        words = _vector(32, _class_of(way)().rows)
        octets = _vector(8, 4 * words.count)
        first_codes = _address(context, builder, signature.args[2], codes, at, octets)
        first_four = _address(context, builder, signature.args[4], own, place, _INT)
        for part in (ir.Constant(_INT, part) for part in range(2)):
            four = builder.load(builder.gep(first_four, [part]), align=1)
            lanes = builder.insert_element(ir.Constant(words, ir.Undefined), four, ir.Constant(_INT, 0))
            query = builder.bitcast(_pick(builder, lanes, [0] * words.count), octets)
            row = builder.load(builder.gep(first_codes, [part]), align=1)
            if _class_of(way) is Dot:
                total = _dot(builder, total, row, query)
            elif _class_of(way) is Pairs:
                total = builder.add(total, _multiply_pairs(builder, row, query))
            else:
                total = builder.add(total, _multiply_pairs(builder, query, row))
        return total

    return sums(way, sums, rows, types.intp, queries, types.intp), code


@intrinsic
def summed(typing: Any, way: Any, channels: Any) -> Any:
    """How many channels are summed up at a time, of so many."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        own = _class_of(way)().summed  # which the compiler knows, and unrolls loops by
        return ir.Constant(given[1].type, own) if own else given[1]

    return types.intp(way, types.intp), code


@intrinsic
def sum_up(typing: Any, array: Any, index: Any, sums: Any) -> Any:
    """Writes sums to a flat int32 array from `index` on; those of 16 bits are added to what is there."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array, index, own = given
        is_part = own.type.element.width == 16
        own = _add_pairs(builder, own) if is_part else own
        address = _address(context, builder, signature.args[0], array, index, own.type)
        builder.store(builder.add(own, builder.load(address, align=4)) if is_part else own, address, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, sums), code


@intrinsic
def reaching(
    typing: Any, products: Any, at: Any, weights: Any, lengths: Any, offset: Any, scale: Any, slope: Any, floor: Any
) -> Any:
    """The rows of a group whose bounds reach a query's floor, a bit each; the lowest is the first's.

    Bounds are ``weights * (scale * (products - offset) + MARGIN + slope * lengths)``, of products from `at` on. NaN
    reaches nothing.
    """
    lanes = 16

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        arrays, at, numbers = (given[0], given[2], given[3]), given[1], given[4:]
        floats = ir.VectorType(ir.FloatType(), lanes)

        def fill(number: Any, vector: Any) -> Any:
            first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(_INT, 0))
            return _pick(builder, first, [0] * lanes)

        offset = fill(numbers[0], _vector(32, lanes))
        scale, slope, floor = (fill(number, floats) for number in numbers[1:])
        margin = ir.Constant(floats, [float(MARGIN)] * lanes)
        found = ir.Constant(ir.IntType(64), 0)
        for part in range(0, GROUP, lanes):
            places = [builder.add(at, ir.Constant(at.type, part)), *[ir.Constant(at.type, part)] * 2]
            kinds = (_vector(32, lanes), floats, floats)
            of_arrays = zip((signature.args[i] for i in (0, 2, 3)), arrays, places, kinds, strict=True)
            product, weight, length = (builder.load(_address(context, builder, *each), align=4) for each in of_arrays)
            value = builder.fmul(scale, builder.sitofp(builder.sub(product, offset), floats))
            bound = builder.fmul(weight, builder.fadd(value, builder.fadd(margin, builder.fmul(slope, length))))
            bits = builder.bitcast(builder.fcmp_ordered(">=", bound, floor), ir.IntType(lanes))
            shifted = builder.shl(builder.zext(bits, found.type), ir.Constant(found.type, part))
            found = builder.or_(found, shifted)
        return found

    numbers = (types.int32, types.float32, types.float32, types.float32)
    return types.int64(products, types.intp, weights, lengths, *numbers), code


@intrinsic
def lowest_bit(typing: Any, bits: Any) -> Any:
    """The place of the lowest bit that is set, of any."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


@intrinsic
def fetch(typing: Any, array: Any, index: Any) -> Any:
    """Lets the processor bring what is at `index` of a flat array to its cache, and goes on."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        values, index = given
        address = _address(context, builder, signature.args[0], values, index, ir.IntType(8))
        kinds = [address.type, _INT, _INT, _INT]
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [address.type], ir.FunctionType(ir.VoidType(), kinds)
        )
        builder.call(function, [address, *(ir.Constant(_INT, number) for number in (0, 3, 1))])  # to read, near, data
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@intrinsic
def exchange(typing: Any, way: Any, codes: Any, at: Any, pitch: Any, target: Any, to: Any) -> Any:
    """Writes 32 channels of eight rows, at `at` and `pitch` apart, side by side: four of each row, then the next four.

    The way's offset is added. Three rounds of exchanges between pairs of registers, of one word, two and four.
    """
    rows, offset = _class_of(way)().rows, _class_of(way)().offset

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, codes, at, pitch, target, to = given
        words, lanes = _vector(32, 8), _vector(8, 32)
        registers = []
        for _ in range(8):
            registers.append(builder.load(_address(context, builder, signature.args[1], codes, at, words), align=1))
            at = builder.add(at, pitch)
        for size in (1, 2, 4):
            above = [8 + lane - size if lane & size else lane for lane in range(8)]
            below = [8 + lane if lane & size else lane + size for lane in range(8)]
            for row in (row for row in range(8) if not row & size):
                pair = registers[row], registers[row + size]
                for place, order in ((row, above), (row + size, below)):
                    registers[place] = _pick(builder, pair[0], order, pair[1])
        for register in registers:
            shifted = builder.xor(builder.bitcast(register, lanes), ir.Constant(lanes, [offset] * 32))  # adds 128
            builder.store(shifted, _address(context, builder, signature.args[4], target, to, lanes), align=1)
            to = builder.add(to, ir.Constant(to.type, 4 * rows))
        return context.get_dummy_value()

    return types.void(way, codes, types.intp, types.intp, target, types.intp), code
