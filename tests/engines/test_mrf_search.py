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
from tests.engines.test_mrf import random_unary


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
