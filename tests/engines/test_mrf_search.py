"""Dropped labels, lists, hopes and coarse beginnings: on larger grids, against sweeps over all labels."""

import itertools
import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from corrcore.engines import mrf
from corrcore.engines.mrf.coarse import coarsen, refine
from corrcore.engines.mrf.on_cpu import State
from corrcore.engines.mrf.problem import Settings
from corrcore.engines.mrf.whole import Whole
from tests.engines.test_mrf import GRIDS, optimum, random_unary


def smooth_unary(shape: tuple[int, ...], seed: int, *, noise: float, forbidden: float = 0.0) -> np.ndarray:
    """Costs between 0 and 1 + noise, least along a smooth displacement, some of which also lies elsewhere."""
    rng = np.random.default_rng(seed)
    rows, columns, height, width = shape
    row, column = np.indices((rows, columns), float)
    phases = rng.uniform(0, 6, 4)
    y = row + 2 * np.sin(row / 5 + phases[0]) + 2 * np.cos(column / 7 + phases[1])
    x = column + 2 * np.sin(column / 5 + phases[2]) + 2 * np.cos(row / 6 + phases[3])
    apart_y, apart_x = (np.arange(n) - at[..., None] for n, at in ((height, y), (width, x)))
    unary = 1 - np.exp(-(apart_y[..., None] ** 2 + apart_x[:, :, None] ** 2) / 4)
    unary += noise * rng.uniform(size=shape)
    unary[rng.uniform(size=shape) < forbidden] = np.inf
    unary[..., height // 2, width // 2] = 1
    return unary


def unrelated_unary(shape: tuple[int, ...], seed: int, *, sigma: float) -> np.ndarray:
    """Squared distances of descriptors of two things that have nothing to do with each other."""
    rng, descriptors = np.random.default_rng(seed), []
    for n_rows, n_columns in (shape[:2], shape[2:]):
        found = gaussian_filter(rng.normal(size=(n_rows, n_columns, 8)), (sigma, sigma, 0))
        descriptors.append(found / np.linalg.norm(found, axis=-1, keepdims=True))
    return 2 - 2 * np.einsum("rcd,yxd->rcyx", *descriptors)


def over_all_labels(unary: np.ndarray, smoothness: float, iterations: int) -> tuple[float, float]:
    """The least energy of sweeps that drop nothing, and their bound."""
    state, best, bound = State(unary, Settings(smoothness)), math.inf, -math.inf
    for _ in range(iterations):
        labels, _ = state.sweep(forth=True)
        best = min(best, sum(mrf.energy(unary, state.improve(labels), smoothness=smoothness)))
        bound = max(bound, state.sweep(forth=False)[1])
    return best, bound


@pytest.mark.parametrize("smoothness", [0.003, 0.03, 0.3])
@pytest.mark.parametrize(("noise", "forbidden"), [(0.3, 0), (1, 0), (1, 0.2), (3, 0)])
def test_no_bound_exceeds_what_other_sweeps_find(noise, forbidden, smoothness):
    """Nor is the energy above theirs by more than a thousandth, or three where there is much noise."""
    for seed, shape in enumerate([(9, 10, 12, 11), (12, 9, 17, 13)]):
        unary = smooth_unary(shape, seed, noise=noise, forbidden=forbidden)
        found = mrf.minimise(unary, smoothness=smoothness, iterations=40)
        best, bound = over_all_labels(unary, smoothness, 60)
        assert found.lower_bound <= best * (1 + 1e-5)
        assert found.energy >= bound * (1 - 1e-5)
        assert found.energy <= best * (1 + 1e-4 + noise * 1e-3)
        assert (np.diff(found.history[:, 1]) >= 0).all()


@pytest.mark.parametrize(("seed", "sigma", "smoothness"), [(0, 0.5, 0.01), (5, 0.5, 0.01), (2, 1, 0.01), (4, 1, 0.003)])
def test_bounds_hold_where_hopes_fail(seed, sigma, smoothness):
    """Descriptors of things that have nothing to do with each other: found by trial, few fields are as hard."""
    unary = unrelated_unary((14, 13, 15, 16), seed, sigma=sigma)
    found = mrf.minimise(unary, smoothness=smoothness, iterations=30, gap=1e-6)
    best, bound = over_all_labels(unary, smoothness, 60)
    assert found.lower_bound <= min(best, found.energy) * (1 + 1e-5)
    assert bound * (1 - 1e-5) <= found.energy <= best * 1.005


def test_fields_that_are_not_smooth_end_as_low_as_sweeps_over_all_labels_bring_them():
    """Most end lower; all began with coarse messages, which are of no use there."""
    shares = []
    for seed, smoothness in itertools.product(range(3), (0.1, 0.3)):
        unary = unrelated_unary((20, 20, 24, 24), seed, sigma=0.5)
        found = mrf.minimise(unary, smoothness=smoothness)
        best, _ = over_all_labels(unary, smoothness, 20)
        shares.append(found.energy / best - 1)
    assert np.mean(shares) < 1e-3
    assert max(shares) < 0.01


@pytest.mark.parametrize("forbidden", [0, 0.3])
def test_lists_of_all_labels_bound_as_grids_do(forbidden):
    """Nothing is dropped for so high a threshold, and there are few enough labels for lists of all."""
    unary = random_unary((6, 7, 9, 11), seed=3, forbidden=forbidden)
    grids, lists = (State(unary, Settings(0.02)) for _ in range(2))
    grids.sweep(forth=True)
    lists.sweep(forth=True)
    lists.lists = True
    for forth in (False, True, False, True, False):
        expected, bound = grids.sweep(forth=forth)
        labels, found = lists.sweep(forth=forth, threshold=1e4)
        assert found == pytest.approx(bound, abs=2e-4)
        assert sum(mrf.energy(unary, labels, smoothness=0.02)) == pytest.approx(
            sum(mrf.energy(unary, expected, smoothness=0.02)), abs=1e-4
        )
    assert (lists.arrays.counts == np.isfinite(unary).sum(axis=(2, 3)).ravel()).all()


def in_sixteen_bits(unary: np.ndarray, smoothness: float) -> tuple[State, Whole]:
    state = State(unary, Settings(smoothness))
    return state, Whole(state.costs, smoothness, state.arrays)


@pytest.mark.parametrize("height", [1, 2, 15, 31, 33])
@pytest.mark.parametrize("width", [1, 2, 16, 31, 32, 33])
def test_messages_in_sixteen_bits_are_minima_over_all_labels(width, height):
    rng = np.random.default_rng(100 * height + width)
    for axis, forth in itertools.product((0, 1), (False, True)):
        unary = np.zeros((2, 1, height, width) if axis == 0 else (1, 2, height, width))
        unary.reshape(2, height, width)[0 if forth else 1] = rng.uniform(-1, 1, (height, width))
        _, whole = in_sixteen_bits(unary, 0.004)
        whole.sweep(forth=forth)
        given = whole.shorts
        sender = given.costs.reshape(2, given.tall, given.pitch)[0 if forth else 1, :height, :width].astype(int)
        apart = np.zeros(2, int)
        apart[axis] = 1 if forth else -1
        expected = (sender - sender.min()) // 2
        for k, side in enumerate((height, width)):
            distances = (np.arange(side)[:, None] - np.arange(side) - apart[k]) ** 2 * round(0.004 / given.unit)
            expected = np.moveaxis((np.moveaxis(expected, k, -1)[..., None, :] + distances).min(axis=-1), -1, k)
        kept = (given.down if axis == 0 else given.right).reshape(-1, given.tall, given.pitch)
        np.testing.assert_array_equal(kept[0, :height, :width], np.minimum(expected, given.cap))


@pytest.mark.parametrize("forbidden", [0, 0.3])
@pytest.mark.parametrize("smoothness", [0.004, 0.02, 0.1, 0.5])
def test_bounds_in_sixteen_bits_hold_and_no_label_of_the_optimum_is_dropped(smoothness, forbidden):
    """Also where messages have been moved on, and whenever labels are listed."""
    for shape, seed in itertools.product(GRIDS, range(4)):
        unary = random_unary(shape, seed, forbidden=forbidden)
        truth, best = optimum(unary, smoothness), mrf.minimise(unary, smoothness=smoothness, iterations=60, gap=1e-6)
        for sweeps in (2, 3, 8, 9):
            state, whole = in_sixteen_bits(unary, smoothness)
            bounds = [whole.sweep(forth=n % 2 == 0)[1] for n in range(sweeps)]
            bounds.append(whole.sweep(forth=sweeps % 2 == 0, threshold=truth + 1e-4, lists=True)[1])
            assert max(bounds) <= truth + 1e-6
            if best.energy > truth + 1e-6:
                continue
            for cell, label in enumerate(best.labels.reshape(-1, 2) @ [state.costs.pitch, 1]):
                first = cell * whole.shorts.most
                assert label in whole.shorts.places[first : first + whole.shorts.counts[cell]]


def test_sweeps_in_sixteen_bits_bound_nearly_as_others_do():
    unary = smooth_unary((9, 10, 12, 11), 7, noise=1)
    state, whole = in_sixteen_bits(unary, 0.03)
    for _ in range(8):
        state.sweep(forth=True), whole.sweep(forth=True)
        exact, found = state.sweep(forth=False)[1], whole.sweep(forth=False)[1]
    assert abs(found - exact) < whole.precision
    whole.hand_over(state, forth=False)
    assert found <= state.sweep(forth=True)[1] <= exact + whole.precision


def test_costs_that_sixteen_bits_do_not_tell_apart_are_left_to_others():
    unary = smooth_unary((9, 10, 12, 11), 8, noise=1)
    for smoothness, fits in ((0, False), (1e-6, False), (0.01, True), (0.1, True), (10, False)):
        assert (Whole.begin(State(unary, Settings(smoothness)), smoothness) is not None) == fits
    assert Whole.begin(State(unary[:7], Settings(0.01)), 0.01) is None
    for smoothness in (1e-6, 10):
        found = mrf.minimise(unary, smoothness=smoothness, iterations=40)
        assert found.gap < 1e-3 * found.energy


def test_what_is_kept_comes_back():
    unary = smooth_unary((9, 9, 12, 12), 5, noise=1)
    state = State(unary, Settings(0.01))
    for forth in (True, False):
        state.sweep(forth=forth)
    state.remember()
    expected = [state.sweep(forth=forth)[1] for forth in (True, False)]
    state.go_back()
    state.lists = True
    optimum = mrf.minimise(unary, smoothness=0.01).lower_bound
    narrowed = [state.sweep(forth=forth, threshold=optimum)[1] for forth in (True, False)]
    assert (state.arrays.counts > 0).any()
    assert narrowed != expected
    state.go_back()
    assert not state.arrays.counts.any()
    assert [state.sweep(forth=forth)[1] for forth in (True, False)] == expected


def test_coarse_costs_are_sums_over_cells_displaced_alike():
    costs = np.random.default_rng(6).uniform(size=(5, 4, 7, 6)).astype(np.float32)
    padded = np.zeros((5, 4, 7, 16), np.float32)
    padded[..., :6] = costs
    coarse = np.empty((3, 2, 4, 3), np.float32)
    coarsen(padded.ravel(), costs.shape, 16, coarse)
    for row, column, y, x in np.ndindex(*coarse.shape):
        cells = [(2 * row + i, 2 * column + j, i, j) for i in (0, 1) for j in (0, 1) if 2 * row + i < 5]
        expected = sum(costs[r, c, min(2 * y + i, 6), min(2 * x + j, 5)] for r, c, i, j in cells)
        assert coarse[row, column, y, x] == pytest.approx(expected, rel=1e-6)


def test_refined_messages_follow_the_displacement():
    """Those that grow evenly with the displacement do so between coarse labels, too, and at all of the four cells."""
    coarse_y, coarse_x = np.indices((5, 4))
    coarse = np.zeros((2, 3, 5, 32), np.uint16)
    coarse[..., :4] = 300 * coarse_y - 100 * coarse_x + 600
    messages = np.zeros((4, 5, 32, 32), np.uint16)
    shapes = (2, 3, 5, 4, 32, 5 * 32), (4, 5, 9, 7, 32, 32 * 32)
    room = np.zeros(10 * 64, np.uint16)
    refine(coarse.ravel(), shapes[0], messages.ravel(), shapes[1], np.float32(0.5), np.uint16(700), room)
    for row, column in np.ndindex(4, 5):
        y, x = np.indices((9, 7), np.float64)
        y, x = (np.maximum(label - at % 2, 0) / 2 for label, at in ((y, row), (x, column)))
        expected = np.minimum(0.5 * (300 * y - 100 * x + 600), 700)
        np.testing.assert_array_equal(messages[row, column, :9, :7], expected)


def test_the_hardest_real_pair_ends_low_within_the_default_iterations(data_folder):
    path = data_folder.parent / "bench" / "mrf_pairs.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    pairs = np.load(path)
    unary = np.maximum(2 - 2 * pairs["cross_source"] @ pairs["cross_target"].T, 0).reshape(31, 31, 31, 31)
    assert mrf.minimise(unary, smoothness=0.003).energy <= 534.9
