"""Every operation on lanes against NumPy's, at an odd place of its arrays so that nothing is aligned."""

import numba
import numpy as np
import pytest

from corrcore import compiled
from corrcore.compiled import LANES

OFF = 3
lanes = numba.njit(error_model="numpy")  # not kept: Numba would use old code when only corrcore.compiled has changed


@lanes
def _copy(source, at, target, to):
    compiled.store(target, to, compiled.load(source, at))


@lanes
def _fill(number, target):
    compiled.store(target, OFF, compiled.fill(number))


@lanes
def _add(first, second, target):
    compiled.store(target, OFF, compiled.add(compiled.load(first, OFF), compiled.load(second, OFF)))


@lanes
def _subtract(first, second, target):
    compiled.store(target, OFF, compiled.subtract(compiled.load(first, OFF), compiled.load(second, OFF)))


@lanes
def _multiply(first, second, target):
    compiled.store(target, OFF, compiled.multiply(compiled.load(first, OFF), compiled.load(second, OFF)))


@lanes
def _minimum(first, second, target):
    compiled.store(target, OFF, compiled.minimum(compiled.load(first, OFF), compiled.load(second, OFF)))


@lanes
def _maximum(first, second, target):
    compiled.store(target, OFF, compiled.maximum(compiled.load(first, OFF), compiled.load(second, OFF)))


@lanes
def _where_less(first, second, then, otherwise, target):
    first, second = compiled.load(first, OFF), compiled.load(second, OFF)
    then, otherwise = compiled.load(then, OFF), compiled.load(otherwise, OFF)
    compiled.store(target, OFF, compiled.where_less(first, second, then, otherwise))


@lanes
def _lowest(numbers):
    return compiled.lowest(compiled.load(numbers, OFF))


@lanes
def _any_differ(first, second, third):
    """Marks of two comparisons, of which either may have found something."""
    first, second, third = compiled.load(first, OFF), compiled.load(second, OFF), compiled.load(third, OFF)
    marks = compiled.mark_changes(compiled.fill(np.float32(0)), first, second)
    return compiled.any_marked(compiled.mark_changes(marks, second, third))


@lanes
def _transpose(source, at, pitch, target, to, target_pitch):
    compiled.transpose(source, at, pitch, target, to, target_pitch)


def numbers(seed: int, n: int = LANES + 2 * OFF) -> np.ndarray:
    """Some of them twice in the same places whatever the seed, so that comparisons meet ties."""
    found = np.random.default_rng(seed).uniform(-100, 100, n).astype(np.float32)
    found[OFF + 5], found[OFF + 11] = 7, -7
    return found


def inside(stored: np.ndarray | float, around: float = 0) -> np.ndarray:
    """What an array holds that was `around` everywhere before lanes were stored."""
    whole = np.full(LANES + 2 * OFF, around, np.float32)
    whole[OFF:-OFF] = stored
    return whole


@pytest.mark.parametrize(("at", "to"), [(0, 0), (1, 30), (16, 7), (30, 1)])
def test_sixteen_numbers_are_copied_and_no_others(at, to):
    source, target = numbers(0, 60), np.full(60, -1, np.float32)
    _copy(source, at, target, to)
    expected = np.full(60, -1, np.float32)
    expected[to : to + LANES] = source[at : at + LANES]
    np.testing.assert_array_equal(target, expected)


def test_a_number_fills_all_lanes():
    target = np.full(LANES + 2 * OFF, -1, np.float32)
    _fill(np.float32(2.5), target)
    np.testing.assert_array_equal(target, inside(2.5, -1))


@pytest.mark.parametrize(
    ("operation", "truth"),
    [
        (_add, np.add),
        (_subtract, np.subtract),
        (_multiply, np.multiply),
        (_minimum, np.minimum),
        (_maximum, np.maximum),
    ],
    ids=["add", "subtract", "multiply", "minimum", "maximum"],
)
def test_arithmetic_is_numpys(operation, truth):
    first, second, target = numbers(1), numbers(2), np.zeros(LANES + 2 * OFF, np.float32)
    operation(first, second, target)
    np.testing.assert_array_equal(target, inside(truth(first, second)[OFF:-OFF]))


def test_the_lanes_of_two_are_chosen_by_a_comparison():
    first, second, then, otherwise = map(numbers, range(4))
    otherwise[OFF + 5] = 99  # where the two compared are equal
    target = np.zeros(LANES + 2 * OFF, np.float32)
    _where_less(first, second, then, otherwise, target)
    np.testing.assert_array_equal(target, inside(np.where(first < second, then, otherwise)[OFF:-OFF]))


@pytest.mark.parametrize("place", range(LANES))
def test_the_lowest_is_found_wherever_it_stands(place):
    some = numbers(4)
    some[[OFF - 1, -OFF]] = -1000  # of the neighbours, which do not count
    some[OFF + place] = -200
    assert _lowest(some) == -200


@pytest.mark.parametrize("place", range(LANES))
def test_a_change_in_any_lane_is_marked_for_good(place):
    same, other = numbers(5), numbers(5)
    other[OFF + place] = np.nextafter(other[OFF + place], np.float32(np.inf))
    other[[OFF - 1, -OFF]] = 1000
    assert _any_differ(same, other, other)  # in the first comparison alone
    assert _any_differ(same, same, other)
    assert _any_differ(same, other, same)


def test_equal_lanes_are_not_marked():
    some, other = numbers(6), numbers(6)
    other[[OFF - 1, -OFF]] = 1000
    assert not _any_differ(some, other, some)


@pytest.mark.parametrize(("pitch", "target_pitch"), [(16, 16), (19, 48), (64, 17)])
def test_a_block_is_transposed_and_nothing_around_it_is_written(pitch, target_pitch):
    source = numbers(7, OFF + LANES * pitch)
    target = np.full(1 + LANES * target_pitch, -1, np.float32)
    _transpose(source, OFF, pitch, target, 1, target_pitch)
    block = source[OFF:].reshape(LANES, pitch)[:, :LANES]
    expected = np.full((LANES, target_pitch), -1, np.float32)
    expected[:, :LANES] = block.T
    np.testing.assert_array_equal(target[1:].reshape(LANES, target_pitch), expected)
    assert target[0] == -1
