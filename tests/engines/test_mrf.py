import hashlib
import importlib.util
import inspect
import itertools
import math
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from corrcore.engines import mrf
from corrcore.engines.mrf import on_torch, problem
from corrcore.engines.mrf.on_cpu import State
from corrcore.engines.mrf.problem import Settings
from corrcore.engines.mrf.together import minimise_together
from tests.gpu.pretended import REAL

METHODS = ["trw-s", "bp"]
CPU = torch.device("cpu")


def random_unary(shape: tuple[int, ...], seed: int, *, forbidden: float = 0.0) -> np.ndarray:
    """Costs between 0 and 1, a share of them infinite, one label of every cell never."""
    rng = np.random.default_rng(seed)
    unary = rng.uniform(size=shape)
    unary[rng.uniform(size=shape) < forbidden] = np.inf
    unary[..., shape[2] // 2, shape[3] // 3] = rng.uniform(size=shape[:2])
    return unary


def energy_by_definition(unary: np.ndarray, labels: np.ndarray, smoothness: float) -> tuple[float, float]:
    """Cell by cell and edge by edge."""
    rows, columns = labels.shape[:2]
    data, rough = 0.0, 0.0
    for row, column in itertools.product(range(rows), range(columns)):
        data += unary[row, column, labels[row, column, 0], labels[row, column, 1]]
        for other in ((row, column + 1), (row + 1, column)):
            if other[0] < rows and other[1] < columns:
                mine, theirs = labels[row, column] - [row, column], labels[other] - np.array(other)
                rough += ((mine - theirs) ** 2).sum()
    return data, smoothness * rough


def optimum(unary: np.ndarray, smoothness: float) -> float:
    """The least energy of all labellings: row after row, over all labellings of a row."""
    rows, columns, height, width = unary.shape
    if columns > rows:
        return optimum(unary.transpose(1, 0, 3, 2), smoothness)
    labels = np.indices((height, width)).reshape(2, -1).T
    states = np.array(list(itertools.product(range(len(labels)), repeat=columns)))
    taken = labels[states]
    within = smoothness * ((np.diff(taken, axis=1) - [0, 1]) ** 2).sum(axis=(1, 2))
    between = smoothness * ((taken - taken[:, None] - [1, 0]) ** 2).sum(axis=(2, 3))  # from the first to the second
    costs = unary.reshape(rows, columns, -1)
    best = np.zeros(len(states))
    for row in range(rows):
        if row:
            best = (best[:, None] + between).min(axis=0)
        best = best + within + costs[row, np.arange(columns), states].sum(axis=1)
    return float(best.min())


def least_by_one_change(unary: np.ndarray, labels: np.ndarray, smoothness: float) -> float:
    """The least energy of the labellings that differ from this one at one cell."""
    least = math.inf
    for cell in np.ndindex(labels.shape[:2]):
        for label in np.ndindex(unary.shape[2:]):
            other = labels.copy()
            other[cell] = label
            least = min(least, sum(mrf.energy(unary, other, smoothness=smoothness)))
    return least


# --- Energies and solutions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 4, 5, 2), (1, 5, 3, 3), (4, 1, 2, 6)])
def test_energy_is_that_of_the_definition(shape):
    rng = np.random.default_rng(0)
    unary = random_unary(shape, seed=1)
    labels = np.stack([rng.integers(0, n, shape[:2]) for n in shape[2:]], axis=-1)
    np.testing.assert_allclose(
        mrf.energy(unary, labels, smoothness=0.7), energy_by_definition(unary, labels, 0.7), rtol=1e-12
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_solution_tells_its_own_energy(method):
    unary = random_unary((4, 5, 3, 6), seed=2)
    found = mrf.minimise(unary, smoothness=0.05, method=method)
    assert ((found.labels >= 0) & (found.labels < [3, 6])).all()
    np.testing.assert_allclose(
        (found.data, found.smoothness), energy_by_definition(unary, found.labels, 0.05), rtol=1e-12
    )
    assert found.energy == found.data + found.smoothness
    assert found.gap == found.energy - found.lower_bound
    assert found.energy <= found.history[:, 0].min()


def test_displacement_is_target_less_source_across_and_down():
    unary = np.ones((2, 3, 4, 5))
    unary[:, :, 3, 0] = 0  # row 3, column 0 for every cell
    displacement = mrf.minimise(unary, smoothness=0.0).displacement
    assert displacement.dtype == float
    np.testing.assert_array_equal(displacement[..., 0], [[0, -1, -2], [0, -1, -2]])
    np.testing.assert_array_equal(displacement[..., 1], [[3, 3, 3], [2, 2, 2]])


@pytest.mark.parametrize("method", METHODS)
def test_a_smooth_warp_is_recovered(method):
    rows, columns = np.indices((9, 11))
    truth = np.stack([rows + 1 + (columns > 4) + rows // 3, columns + 2 - columns // 4], axis=-1)
    unary = np.random.default_rng(3).uniform(0.2, 2, (9, 11, 17, 13))
    unary[rows, columns, truth[..., 0], truth[..., 1]] = 0
    hidden = np.random.default_rng(4).uniform(size=(9, 11)) < 0.2  # cells where nothing matches
    unary[hidden] = 0.3
    found = mrf.minimise(unary, smoothness=0.01, method=method)
    np.testing.assert_array_equal(found.labels[~hidden], truth[~hidden])
    assert np.abs(found.labels - truth).max() <= 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(4, 6, 5, 7), (1, 5, 17, 3), (5, 2, 2, 33)])
def test_rows_and_columns_may_change_places(shape, method):
    unary = random_unary(shape, seed=5, forbidden=0.1)
    first = mrf.minimise(unary, smoothness=0.03, method=method, iterations=60, gap=1e-6)
    second = mrf.minimise(unary.transpose(1, 0, 3, 2), smoothness=0.03, method=method, iterations=60, gap=1e-6)
    np.testing.assert_allclose(second.energy, first.energy, rtol=1e-6)
    np.testing.assert_array_equal(second.labels.swapaxes(0, 1)[..., ::-1], first.labels)


# --- Against the optimum ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("smoothness", [0, 0.01, 0.2, 30])
@pytest.mark.parametrize(("length", "target"), [(1, (3, 4)), (2, (1, 1)), (6, (3, 5)), (7, (17, 2)), (4, (1, 18))])
def test_chains_are_solved_exactly(length, target, smoothness, method):
    for forbidden in (0.0, 0.5):
        for shape in ((1, length, *target), (length, 1, *target)):
            unary = random_unary(shape, seed=length, forbidden=forbidden)
            found = mrf.minimise(unary, smoothness=smoothness, method=method, iterations=2, gap=-1)
            truth = optimum(unary, smoothness)
            np.testing.assert_allclose(found.energy, truth, rtol=1e-5)
            if method == "trw-s":  # whose first way back ends with the optimum
                np.testing.assert_allclose(found.history[:, 1], truth, rtol=1e-5)


GRIDS = [(2, 2, 2, 2), (2, 3, 2, 3), (3, 2, 1, 4), (3, 3, 2, 2), (3, 3, 3, 2)]


@pytest.mark.parametrize("forbidden", [0.0, 0.3])
@pytest.mark.parametrize("smoothness", [0, 0.02, 0.1, 0.5, 100])
def test_small_grids_are_solved_and_their_bounds_hold(smoothness, forbidden):
    solved = {"trw-s": 0, "bp": 0}
    for shape, seed in itertools.product(GRIDS, range(3)):
        unary = random_unary(shape, seed=seed, forbidden=forbidden)
        truth = optimum(unary, smoothness)
        for method in METHODS:
            found = mrf.minimise(unary, smoothness=smoothness, method=method, iterations=50, gap=1e-6)
            assert found.energy > truth - 1e-5 * truth
            assert found.lower_bound < truth + 1e-5 * truth
            assert np.isfinite(found.energy)
            solved[method] += found.energy < truth + 1e-5 * truth
    assert solved["trw-s"] >= 14  # of 15
    assert solved["bp"] >= 10


def test_a_bound_that_is_not_reached_holds_all_the_same():
    unary = random_unary((3, 3, 3, 2), seed=4)  # found by trial: nearly all others of this kind are solved
    found = mrf.minimise(unary, smoothness=0.1, iterations=200, gap=1e-7)
    truth = optimum(unary, 0.1)
    assert truth - 0.01 < found.lower_bound < truth - 0.001
    assert len(found.history) == 200


def message(costs: np.ndarray, smoothness: float, *, axis: int, forth: bool) -> np.ndarray:
    """The one that a cell of these costs sends to its neighbour, in a problem of these two alone."""
    height, width = costs.shape
    unary = np.zeros((2, 1, height, width) if axis == 0 else (1, 2, height, width))
    unary.reshape(2, height, width)[0 if forth else 1] = costs
    state = State(unary, Settings(smoothness))
    state.sweep(forth=forth)
    kept = state.arrays.down if axis == 0 else state.arrays.right
    return kept[: len(state.arrays.sums)].reshape(height, -1)[:, :width]


SIDES = [1, 2, 15, 16, 17, 31, 33]


@pytest.mark.parametrize("kind", ["random", "one low", "forbidden"])
@pytest.mark.parametrize("height", SIDES)
@pytest.mark.parametrize("width", SIDES)
def test_messages_are_minima_over_all_labels(width, height, kind):
    rng = np.random.default_rng(height * 100 + width)
    costs, smoothness = rng.uniform(-1, 1, (height, width)), 0.004
    if kind == "one low":  # whose cost goes all the way
        costs[rng.integers(height), rng.integers(width)] = -50
    if kind == "forbidden":
        costs[rng.uniform(size=costs.shape) < 0.95] = np.inf
        costs[rng.integers(height), rng.integers(width)] = 0
    for axis, forth in itertools.product((0, 1), (False, True)):
        apart = np.zeros(2, int)
        apart[axis] = 1 if forth else -1
        spread = costs - costs.min()
        for k, side in enumerate(costs.shape):
            distances = smoothness * (np.arange(side)[:, None] - np.arange(side) - apart[k]) ** 2
            spread = np.moveaxis((np.moveaxis(spread, k, -1)[..., None, :] + distances).min(axis=-1), -1, k)
        np.testing.assert_allclose(message(costs, smoothness, axis=axis, forth=forth), spread, atol=2e-5)


KNOWN = {  # the best energies and bounds of several solvers for a pair and a smoothness
    ("warp", 0.003): (268.402, 268.39),
    ("warp", 0.01): (282.171, 282.16),
    ("warp", 0.03): (306.604, 306.59),
    ("cross", 0.003): (534.860, 534.84),
    ("cross", 0.01): (582.500, 582.45),
    ("cross", 0.03): (629.354, 629.34),
}


@pytest.mark.parametrize(("kind", "smoothness"), KNOWN)
def test_known_energies_of_real_pairs_are_reached(data_folder, kind, smoothness):
    path = data_folder.parent / "bench" / "mrf_pairs.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    pairs = np.load(path)
    similarities = pairs[f"{kind}_source"] @ pairs[f"{kind}_target"].T
    unary = np.maximum(2 - 2 * similarities, 0).reshape(31, 31, 31, 31)
    iterations = 150 if (kind, smoothness) == ("cross", 0.003) else 60
    found = mrf.minimise(unary, smoothness=smoothness, iterations=iterations, gap=1e-5)
    energy, bound = KNOWN[kind, smoothness]
    assert found.energy <= energy + 0.001
    assert bound <= found.lower_bound <= found.energy + 0.001


# --- How it is done ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_device", [False, True])
def test_improving_ends_where_no_single_change_helps(on_device):
    unary = random_unary((4, 5, 3, 4), seed=7)
    rng = np.random.default_rng(8)
    start = np.stack([rng.integers(0, n, (4, 5)) for n in (3, 4)], axis=-1)
    before = start.copy()
    if on_device:
        batch = on_torch.Batch([unary], Settings(0.1), device=CPU)
        found = batch.improve(torch.from_numpy(start)[None])[0].numpy()
    else:
        found = State(unary, Settings(0.1)).improve(start)
    np.testing.assert_array_equal(start, before)
    reached = sum(mrf.energy(unary, found, smoothness=0.1))
    assert reached < sum(mrf.energy(unary, start, smoothness=0.1))
    assert reached <= least_by_one_change(unary, found, 0.1) + 1e-6


@pytest.mark.parametrize("solve", [mrf.minimise, lambda unary, **options: together([unary], **options)[0]])
def test_no_single_change_helps_a_solution(solve):
    improved = 0
    for seed in range(4):
        unary = random_unary((4, 5, 3, 4), seed=seed)
        found = solve(unary, smoothness=0.3, method="bp", iterations=1)
        assert found.energy <= least_by_one_change(unary, found.labels, 0.3) + 1e-6
        improved += found.energy < found.history[0, 0] - 1e-6
    assert improved


def test_the_bound_never_sinks_and_the_gap_ends_the_work():
    unary = random_unary((6, 7, 5, 6), seed=9)
    long = mrf.minimise(unary, smoothness=0.03, iterations=30, gap=-1)
    assert long.history.shape == (30, 2)
    assert (np.diff(long.history[:, 1]) >= 0).all()
    assert long.lower_bound == long.history[-1, 1]
    assert long.history[0, 1] < long.lower_bound
    gaps = np.minimum.accumulate(long.history[:, 0]) - long.history[:, 1]
    allowed = float(np.sqrt(gaps[0] * max(gaps[-1], 1e-6))) / long.energy
    short = mrf.minimise(unary, smoothness=0.03, iterations=30, gap=allowed)
    first = int(np.argmax(gaps <= allowed * np.minimum.accumulate(long.history[:, 0])))
    assert 1 < len(short.history) == first + 1 < 30
    np.testing.assert_array_equal(short.history, long.history[: first + 1])
    assert len(mrf.minimise(unary, smoothness=0.03, gap=math.inf).history) == 1


def test_belief_propagation_has_no_bound_and_uses_all_iterations():
    found = mrf.minimise(random_unary((3, 3, 2, 2), seed=10), smoothness=0.1, method="bp", iterations=7)
    assert found.lower_bound == -math.inf
    assert found.gap == math.inf
    assert found.history.shape == (7, 2)


def test_the_best_iteration_is_kept():
    """Belief propagation need not settle, and its last labels may be worse than earlier ones."""
    worse = 0
    for seed in range(10):
        found = mrf.minimise(random_unary((6, 6, 5, 5), seed=seed), smoothness=0.03, method="bp", iterations=9)
        assert found.energy <= found.history[:, 0].min() + 1e-9
        worse += found.history[-1, 0] > found.history[:, 0].min() + 1e-3
    assert worse


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_costs_of_any_precision_and_order_are_left_as_they_are(dtype):
    unary = random_unary((3, 4, 5, 6), seed=11, forbidden=0.1).astype(dtype)
    view = unary.transpose(2, 3, 0, 1).copy().transpose(2, 3, 0, 1)[::-1, ::-1][::-1, ::-1]
    view.flags.writeable = False
    expected = mrf.minimise(unary.astype(np.float32), smoothness=0.05)
    for costs in (unary, view):
        before = costs.copy()
        found = mrf.minimise(costs, smoothness=0.05)
        np.testing.assert_array_equal(costs, before)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_allclose(found.energy, expected.energy, rtol=1e-6)


def test_adding_to_all_costs_of_a_cell_adds_to_energy_and_bound():
    unary = random_unary((4, 4, 3, 5), seed=12)
    found = mrf.minimise(unary, smoothness=0.05, gap=1e-6)
    unary[1, 2] -= 300
    moved = mrf.minimise(unary, smoothness=0.05, gap=1e-6)
    np.testing.assert_array_equal(moved.labels, found.labels)
    np.testing.assert_allclose([moved.energy, moved.lower_bound], np.array([found.energy, found.lower_bound]) - 300)


def test_the_same_comes_out_every_time():
    unary = random_unary((5, 6, 7, 8), seed=13)
    first, second = (mrf.minimise(unary, smoothness=0.02) for _ in range(2))
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.history, second.history)


def digest_of_fields() -> str:
    """What both methods find, to the last bit."""
    rng, state = np.random.default_rng(18), hashlib.sha256()
    for method, forbidden in itertools.product(METHODS, (0, 0.1)):
        unary = rng.uniform(size=(6, 7, 9, 18)).astype(np.float32)
        unary[rng.uniform(size=unary.shape) < forbidden] = np.inf
        unary[:, :, 3, 5] = 1
        found = mrf.minimise(unary, smoothness=0.0123, method=method, iterations=8, gap=-1)
        state.update(found.labels.tobytes() + found.history.tobytes())
    unary = rng.uniform(size=(8, 9, 11, 34)).astype(np.float32)  # large enough to begin in sixteen bits
    found = mrf.minimise(unary, smoothness=0.0123, iterations=8, gap=-1)
    state.update(found.labels.tobytes() + found.history.tobytes())
    return state.hexdigest()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs names of x86 processors")
@pytest.mark.slow
def test_code_for_older_processors_finds_the_same():
    """That for narrow registers without fused products, for wider ones with them, and for this machine.

    Only the first run compiles: Numba keeps the code of each processor apart.
    """
    command = [sys.executable, "-c", "from tests.engines import test_mrf; print(test_mrf.digest_of_fields())"]
    older = {"x86-64": "", "haswell": "+avx2,+fma"}
    runs = [
        subprocess.Popen(
            command,
            env=os.environ | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, features in older.items()
    ]
    expected = f"{digest_of_fields()}\n"
    for run in runs:
        assert run.communicate()[0] == expected


class Stop(Exception):
    pass


def test_progress_is_told_every_iteration():
    told = []
    mrf.minimise(random_unary((2, 2, 2, 2), seed=14), smoothness=0.1, iterations=4, gap=-1, progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1]


def test_what_progress_raises_ends_the_work():
    told = []

    def stop(share: float) -> None:
        told.append(share)
        raise Stop

    unaries = [random_unary((2, 2, 2, 2), seed=15)] * 3
    options = {"smoothness": 0.1, "gap": -1, "progress": stop}
    with pytest.raises(Stop):
        mrf.minimise(unaries[0], **options)
    with pytest.raises(Stop):
        mrf.minimise_batch(unaries, device="cpu", **options)
    with pytest.raises(Stop):
        together(unaries, method="bp", **options)
    assert len(told) == 3


# --- Many pairs -------------------------------------------------------------------------------------------------------


MANY = [(3, 4, 5, 6), (2, 2, 3, 3), (3, 4, 5, 6), (1, 6, 17, 2), (3, 4, 5, 6), (5, 1, 2, 4), (1, 1, 1, 1), (2, 2, 3, 3)]


def together(unaries: list[np.ndarray], *, progress=None, batch_bytes: int = 1 << 30, **options) -> list[mrf.Solution]:
    """As on a CUDA device, by torch's operations on this machine."""
    return minimise_together(unaries, Settings(**options), device=CPU, progress=progress, batch_bytes=batch_bytes)


def together_by_twos(unaries: list[np.ndarray], **options) -> list[mrf.Solution]:
    """Two of the largest of `MANY` at a time."""
    return together(unaries, batch_bytes=2 * 20 * 3 * 4 * 5 * 6, **options)


def by_threads(unaries: list[np.ndarray], **options) -> list[mrf.Solution]:
    return mrf.minimise_batch(unaries, device="cpu", **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("solve", [by_threads, together, together_by_twos])
def test_a_batch_is_solved_as_its_pairs_are_one_by_one(solve, method):
    unaries = [random_unary(shape, seed=seed, forbidden=0.1) for seed, shape in enumerate(MANY)]
    told = []
    options = {"smoothness": 0.05, "method": method, "iterations": 9, "gap": 1e-6}
    found = solve(unaries, progress=told.append, **options)
    assert told == sorted(told)
    assert told[-1] == 1
    assert len(found) == len(MANY)
    for solution, unary in zip(found, unaries, strict=True):
        expected = mrf.minimise(unary, **options)
        np.testing.assert_array_equal(solution.labels, expected.labels)
        np.testing.assert_allclose(solution.history, expected.history, rtol=1e-5)
        np.testing.assert_allclose(solution.lower_bound, expected.lower_bound, rtol=1e-5)
        np.testing.assert_allclose(
            (solution.data, solution.smoothness), mrf.energy(unary, solution.labels, smoothness=0.05), rtol=1e-12
        )
    assert solve([], smoothness=1.0) == []


def test_minima_do_not_depend_on_how_many_numbers_are_looked_at_together():
    unaries = [random_unary((3, 4, 5, 6), seed=seed, forbidden=0.1) for seed in range(2)]
    whole, parts = (on_torch.Batch(unaries, Settings(0.05), device=CPU, chunk=chunk) for chunk in (1 << 26, 1000))
    for _ in range(3):
        for found, expected in zip(parts.iterate(), whole.iterate(), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_pair_that_ends_before_others_stays_as_it_is():
    unaries = [random_unary((5, 5, 5, 5), seed=seed) for seed in range(6)]
    options = {"smoothness": 0.05, "gap": 0.04}
    lengths = set()
    for found, unary in zip(together(unaries, **options), unaries, strict=True):
        expected = mrf.minimise(unary, **options)
        np.testing.assert_allclose(found.history, expected.history, rtol=1e-5)
        np.testing.assert_allclose(found.lower_bound, expected.lower_bound, rtol=1e-5)
        alone = together([unary], **options)[0]
        np.testing.assert_array_equal(found.labels, alone.labels)
        lengths.add(len(found.history))
    assert len(lengths) > 1


def test_larger_grids_are_solved_alike_by_threads_and_by_a_device():
    unaries = [random_unary((4, 5, 17, 16), seed=seed) for seed in range(2)]
    options = {"smoothness": 0.02, "iterations": 6}
    for found, expected in zip(together(unaries, **options), by_threads(unaries, **options), strict=True):
        np.testing.assert_allclose(found.energy, expected.energy, rtol=1e-4)
        np.testing.assert_allclose(found.lower_bound, expected.lower_bound, rtol=1e-5)


def test_energies_on_a_device_are_those_of_the_definition():
    unaries = [random_unary((3, 4, 2, 5), seed=seed) for seed in range(2)]
    rng = np.random.default_rng(16)
    labels = np.stack([rng.integers(0, n, (2, 3, 4)) for n in (2, 5)], axis=-1)
    batch = on_torch.Batch(unaries, Settings(0.3), device=CPU)
    expected = [sum(energy_by_definition(*pair, 0.3)) for pair in zip(unaries, labels, strict=True)]
    np.testing.assert_allclose(batch.energies(torch.from_numpy(labels)).numpy(), expected, rtol=1e-6)


IN_TRITON = """
import sys
from pathlib import Path
import numpy as np, torch
from corrcore.engines.mrf import on_torch
from corrcore.engines.mrf.problem import Settings

for n, (shape, method) in enumerate([((2, 3, 3, 5), "trw-s"), ((2, 1, 2, 1), "bp"), ((1, 2, 1, 17), "trw-s")]):
    rng = np.random.default_rng(n)
    unaries = [rng.uniform(size=shape), np.where(rng.uniform(size=shape) < 0.3, np.inf, 1.0)]
    unaries[1][..., 0, 0] = 0.5
    if n:
        unaries = unaries[1:]
    ours, truth = (
        on_torch.Batch(unaries, Settings(0.05, method), device=torch.device("cpu"), by_triton=by_triton)
        for by_triton in (True, False)
    )
    for array in ("forth", "back"):  # as if after other iterations
        for batch in (ours, truth):
            torch.manual_seed(n)
            getattr(batch, array).uniform_()
    (labels, bounds), (true_labels, true_bounds) = ours.iterate(), truth.iterate()
    assert (labels == true_labels).all()
    torch.testing.assert_close(bounds, true_bounds, rtol=1e-5, atol=1e-5)
    for found, expected in ((ours.forth, truth.forth), (ours.back, truth.back)):
        assert expected.abs().max() > 0.01
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
print("all alike")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
@pytest.mark.slow
def test_tritons_messages_are_torchs():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", IN_TRITON], env=environment, capture_output=True, text=True)
    assert run.stdout == "all alike\n", run.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "by_triton", [pytest.param(True, marks=pytest.mark.skipif(not REAL, reason="kernels need a CUDA device")), False]
)
def test_a_cuda_device_finds_the_same(cuda, by_triton, method):
    shapes = [*MANY, *[(31, 31, 31, 31)] * (2 if REAL else 0)]
    unaries = [random_unary(shape, seed=seed, forbidden=0.1) for seed, shape in enumerate(shapes)]
    options = {"smoothness": 0.02, "method": method, "iterations": 10}
    on_device = {"device": cuda, "by_triton": by_triton}
    found, again = (minimise_together(unaries, Settings(**options), **on_device) for _ in range(2))
    expected, by_search = together(unaries, **options), by_threads(unaries, **options)
    for one, same, other, searched in zip(found, again, expected, by_search, strict=True):
        np.testing.assert_array_equal(one.labels, same.labels)
        np.testing.assert_array_equal(one.history, same.history)
        np.testing.assert_allclose(one.energy, other.energy, rtol=1e-3)
        np.testing.assert_allclose(one.lower_bound, other.lower_bound, rtol=1e-4)
        assert one.lower_bound <= searched.energy * (1 + 1e-5)  # who goes another way may get lower, not below
        assert searched.lower_bound <= one.energy * (1 + 1e-5)


# --- Errors -----------------------------------------------------------------------------------------------------------


def changed(value: float, at: tuple) -> np.ndarray:
    unary = np.zeros((2, 3, 4, 5))
    unary[at] = value
    return unary


BAD_COSTS = "unary costs must be between -100000 and 100000, or infinite where a label is forbidden."
NO_LABEL = "every source cell must have a target cell that is allowed; for some, all costs are infinite."


@pytest.mark.parametrize(
    ("unary", "options", "text"),
    [
        (changed(0, ()), {"smoothness": -0.1}, "smoothness must be between 0 and 100000; got -0.1."),
        (changed(0, ()), {"smoothness": math.nan}, "smoothness must be between 0 and 100000; got nan."),
        (changed(0, ()), {"smoothness": 2e5}, "smoothness must be between 0 and 100000; got 200000.0."),
        (changed(0, ()), {"iterations": 0}, "iterations must be at least 1; got 0."),
        (changed(math.nan, (1, 2, 3, 4)), {}, BAD_COSTS),
        (changed(100_001, (1, 2, 3, 4)), {}, BAD_COSTS),
        (changed(-100_001, (0, 0, 0, 0)), {}, BAD_COSTS),
        (changed(-math.inf, (0, 0, 0, 0)), {}, BAD_COSTS),
        (changed(math.inf, (1, 2)), {}, NO_LABEL),
        (np.zeros((2, 0, 4, 5)), {}, "source and target must have at least one cell; got 0 x 2 and 5 x 4 cells."),
        (np.zeros((2, 3, 4, 0)), {}, "source and target must have at least one cell; got 3 x 2 and 0 x 4 cells."),
    ],
)
def test_bad_arguments_are_named(unary, options, text):
    options = {"smoothness": 0.1} | options
    for solve in (mrf.minimise, lambda unary, **options: mrf.minimise_batch([unary], device="cpu", **options)):
        with pytest.raises(ValueError, match=re.escape(text)):
            solve(unary, **options)
    with pytest.raises(ValueError, match=re.escape(text)):
        together([unary], **options)


def test_an_unknown_method_is_named():
    minimise = inspect.unwrap(mrf.minimise)  # without the tests' own check of types
    with pytest.raises(ValueError, match=re.escape("method must be one of trw-s, bp; got 'icm'.")):
        minimise(changed(0, ()), smoothness=0.1, method="icm")


def test_another_device_is_refused():
    with pytest.raises(ValueError, match=re.escape("device must be cpu or a CUDA device; got meta.")):
        mrf.minimise_batch([changed(0, ())], smoothness=0.1, device="meta")


def test_costs_at_their_limits_are_told_apart():
    unary = changed(problem.LARGEST, (slice(None),))
    unary[:, :, 1, 1] -= 0.1
    found = mrf.minimise(unary, smoothness=problem.LARGEST)
    assert np.isfinite(found.energy)
    assert mrf.minimise(unary, smoothness=0.0).data == pytest.approx(6 * (problem.LARGEST - 0.1), abs=0.05)
