"""The alignment's energy minimiser on pairs of 31 x 31 grids: how fast it gets how low.

The pairs are OpenCV's SIFT of two of scikit-image's pictures: of one warped and itself (*warp*), and of two that show
different things (*cross*).

Of each pair and smoothness: the time until energy and bound are within 1e-4, beside that of the same sweeps over all
labels; and the gap after the default number of iterations. Then of ten iterations of belief propagation, beside minima
taken plainly, label by label, by Numba; and of 25 pairs side by side.
"""

from collections.abc import Iterator

import cv2
import numba
import numpy as np
import torch
from skimage.data import astronaut, chelsea

from corrcore.engines import mrf
from corrcore.engines.mrf import on_triton
from corrcore.engines.mrf.on_cpu import State
from corrcore.engines.mrf.on_torch import Batch
from corrcore.engines.mrf.problem import Settings
from tests.benchmarks.measure import Bar, Row, Run, Work

SIDE, STRIDE, SIZE = 31, 16, 16.0
SMOOTHNESS = (0.003, 0.01, 0.03)
GAP = 1e-4  # within which the default number of iterations is to come
N_MESSAGES = 4 * SIDE * (SIDE - 1)  # per iteration
ITERATIONS = 10


def pictures() -> dict[str, np.ndarray]:
    """A face, the same warped and with noise, and a cat."""
    face, cat = (cv2.resize(cv2.cvtColor(each(), cv2.COLOR_RGB2GRAY), (500, 500)) for each in (astronaut, chelsea))
    y, x = np.mgrid[:500, :500].astype(np.float32)
    dx, dy = 40 * np.sin(y / 110) + 18 * np.cos(x / 70) + 25, 30 * np.cos(x / 130) + 14 * np.sin(y / 60) - 12
    warped = cv2.remap(face, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    warped = np.clip(warped + np.random.default_rng(0).normal(0, 12, warped.shape), 0, 255).astype(np.uint8)
    return {"face": face, "warped": warped, "cat": cat}


def descriptors(picture: np.ndarray) -> np.ndarray:
    """OpenCV's SIFT on the grid, of unit length."""
    points = 10.0 + STRIDE * np.indices((SIDE, SIDE))[::-1].reshape(2, -1).T
    keypoints = [cv2.KeyPoint(float(x), float(y), SIZE, 0.0) for x, y in points]
    found = cv2.SIFT_create().compute(picture, keypoints)[1]
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)


def unaries() -> dict[str, np.ndarray]:
    """Squared distances of all source cells to all target cells."""
    found = {name: descriptors(picture) for name, picture in pictures().items()}
    pairs = {"warp": (found["warped"], found["face"]), "cross": (found["cat"], found["face"])}
    return {
        kind: np.maximum(2 - 2 * source @ target.T, 0).reshape(SIDE, SIDE, SIDE, SIDE)
        for kind, (source, target) in pairs.items()
    }


@numba.njit(fastmath=True, error_model="numpy")
def spread_rows(costs: np.ndarray, distances: np.ndarray, spread: np.ndarray) -> None:
    """Minima over rows, each against every other: a loop that the compiler vectorises."""
    n, width = costs.shape
    for y in range(n):
        least = spread[y]
        for x in range(width):
            least[x] = np.float32(1e9)
        for other in range(n):
            line, distance = costs[other], distances[y, other]
            for x in range(width):
                cost = line[x] + distance
                least[x] = cost if cost < least[x] else least[x]


def by_numba(costs: np.ndarray, distances: np.ndarray) -> np.ndarray:
    between, turned = np.empty_like(costs), np.empty_like(costs)
    spread_rows(costs, distances, between)
    spread_rows(between.T.copy(), distances, turned)
    return turned.T


def rows(run: Run) -> Iterator[Row]:
    pairs = unaries()
    mrf.minimise(pairs["warp"][:2, :2], smoothness=0.01)  # compiled
    if not run.on_gpu:
        yield from converge(pairs, run)
        yield messages(pairs["cross"], run)
    yield from many(pairs, run)


def sweep_all(unary: np.ndarray, smoothness: float) -> mrf.Solution:
    """*trw-s* over all labels from beginning to end."""
    state, best, bound = State(unary, Settings(smoothness)), np.inf, -np.inf
    while best == np.inf or best - bound > GAP * abs(best):
        labels, _ = state.sweep(forth=True)
        if (energy := state.energy(labels)) < best:
            best, chosen = energy, labels
        bound = max(bound, state.sweep(forth=False)[1])
    labels = state.improve(chosen)
    return mrf.Solution(labels, *mrf.energy(unary, labels, smoothness=smoothness), bound, np.empty((0, 2)))


def converge(pairs: dict[str, np.ndarray], run: Run) -> Iterator[Row]:
    for kind, unary in pairs.items():
        for smoothness in SMOOTHNESS:
            what = f"MRF, {kind}, smoothness {smoothness:g}"
            calls = {
                "ours": lambda u=unary, s=smoothness: mrf.minimise(u, smoothness=s, iterations=200),
                "all labels": lambda u=unary, s=smoothness: sweep_all(u, s),
            }
            times, got = run.timed(calls, 5)
            found = got["ours"]
            note = " and ".join(f"energy {each.energy:.3f}, bound {each.lower_bound:.3f}" for each in got.values())
            yield Row(
                f"{what}, until gap / energy <= {GAP:g}", times["ours"], "all labels in all sweeps",
                times["all labels"], Bar.ratio(4), note=note, right=found.gap <= GAP * abs(found.energy),
            )  # fmt: skip
            found = mrf.minimise(unary, smoothness=smoothness)
            yield Row(f"{what}, gap / energy", found.gap / abs(found.energy), bar=Bar.most(GAP), unit="")


def messages(unary: np.ndarray, run: Run) -> Row:
    """Those of whole iterations, that is with all that is done between them, beside plain ones."""
    smoothness = 0.01
    label = np.arange(SIDE)
    distances = np.float32(smoothness) * ((label[:, None] - label) ** 2).astype(np.float32)
    some = unary.reshape(-1, SIDE, SIDE)[::10].astype(np.float32)
    calls = {
        "ours": lambda: mrf.minimise(unary, smoothness=smoothness, method="bp", iterations=ITERATIONS),
        "plainly": lambda: [by_numba(costs, distances) for costs in some],
    }
    times = run.medians(calls, 9)
    plainly = times["plainly"] / len(some) * N_MESSAGES
    return Row(
        "MRF, cross, smoothness 0.01, an iteration of 3720 messages", times["ours"] / ITERATIONS, "Numba, plainly",
        plainly, Bar.most(0.006),
    )  # fmt: skip


def many(given: dict[str, np.ndarray], run: Run) -> Iterator[Row]:
    pairs = [unary for unary, _ in zip(list(given.values()) * 13, range(25), strict=False)]
    options = {"smoothness": 0.01, "iterations": ITERATIONS, "gap": -1}
    what = f"MRF, {len(pairs)} pairs x {ITERATIONS} iterations"
    # A message's minimum is 31 sums and comparisons per label and axis; costs and messages are read, and written.
    labels = len(pairs) * ITERATIONS * N_MESSAGES * SIDE**2
    work = Work(4 * 4 * labels, 2 * 2 * SIDE * labels, "single")
    if not run.on_gpu:
        times = run.medians({"ours": lambda: mrf.minimise_batch(pairs, device="cpu", **options)}, 3)
        yield Row(f"{what}, threads: {torch.get_num_threads()}", times["ours"])
        return
    batch = Batch(pairs, Settings(0.01), device=run.device)

    def iterate() -> None:
        for _ in range(ITERATIONS):
            batch.energies(batch.iterate()[0])

    calls = {
        "ours": lambda: mrf.minimise_batch(pairs, device=run.device, **options),
        "iterations": iterate,
        "threads": lambda: mrf.minimise_batch(pairs, device="cpu", **options),
    }
    times = run.medians(calls, 5)
    steps = "kernels" if on_triton.is_usable() else "torch's operations: Triton cannot launch kernels here"
    there, here = (mrf.minimise_batch(pairs[:2], device=device, smoothness=0.01) for device in (run.device, "cpu"))
    right = all(abs(a.energy - b.energy) <= 2e-4 * abs(b.energy) for a, b in zip(there, here, strict=True))
    yield Row(what, times["ours"], "our threads", times["threads"], None, work, right=right, note=steps)
    yield Row(f"{what}, once costs are there", times["iterations"], bar=Bar.most(0.015), work=work, right=right)
