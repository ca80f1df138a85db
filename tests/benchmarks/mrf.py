"""Times the alignment's energy minimiser on a pair of 31 x 31 grids, and tells how low it gets.

    python tests/benchmarks/mrf.py [--pairs mrf_pairs.npz]

The pairs are unit descriptors as `{kind}_source` and `{kind}_target`, kinds warp and cross; by default SIFT's of two of
scikit-image's pictures: of one warped and itself, and of two that show different things. Needs SciPy for the warp.

Prints for each pair and smoothness: the median time of an iteration in one thread; energy, lower bound and gap after
convergence; belief propagation's energy after 60 iterations. Then the time of one message against minima taken plainly,
label by label, by Numba and by NumPy, in turn in the same run; of 25 pairs by threads; and by CUDA where there is one.
On a busy machine only ratios mean something.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch
from scipy.ndimage import map_coordinates
from skimage.data import astronaut, chelsea

from corrcore import images
from corrcore.descriptors import sift
from corrcore.engines import mrf
from corrcore.engines.mrf import on_torch, on_triton
from corrcore.engines.mrf.on_cpu import State
from corrcore.engines.mrf.problem import Settings

SIDE, STRIDE, RADIUS = 31, 16, 20
SMOOTHNESS = (0.003, 0.01, 0.03)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def medians(calls: dict[str, Callable[[], object]], n_runs: int) -> dict[str, float]:
    """Of runs in turn, after one of each that is not timed."""
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    for _ in range(n_runs):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return {name: float(np.median(own)) for name, own in times.items()}


def pictures() -> dict[str, np.ndarray]:
    """A face, the same warped and with noise, and a cat."""
    face, cat = (images.grey(images.resize_to(picture(), height=500, width=500)) for picture in (astronaut, chelsea))
    y, x = np.mgrid[:500, :500].astype(float)
    dx, dy = 40 * np.sin(y / 110) + 18 * np.cos(x / 70) + 25, 30 * np.cos(x / 130) + 14 * np.sin(y / 60) - 12
    warped = map_coordinates(face, [y + dy, x + dx], order=1, mode="mirror")
    warped = np.clip(warped + np.random.default_rng(0).normal(0, 12, warped.shape), 0, 255)
    return {"face": face, "warped": warped, "cat": cat}


def unaries_of(pairs: Path | None) -> dict[str, np.ndarray]:
    if pairs:
        kept = np.load(pairs)
        descriptors = {kind: (kept[f"{kind}_source"], kept[f"{kind}_target"]) for kind in ("warp", "cross")}
    else:
        points = 10.0 + STRIDE * np.indices((SIDE, SIDE))[::-1].reshape(2, -1).T
        found = {
            name: sift.describe(picture.astype(np.float32), points, radius_px=RADIUS, device="cpu").numpy()
            for name, picture in pictures().items()
        }
        descriptors = {"warp": (found["warped"], found["face"]), "cross": (found["cat"], found["face"])}
    return {
        kind: np.maximum(2 - 2 * source @ target.T, 0).reshape(SIDE, SIDE, SIDE, SIDE)
        for kind, (source, target) in descriptors.items()
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


def by_numpy(costs: np.ndarray, distances: np.ndarray) -> np.ndarray:
    between = (costs[None] + distances[:, :, None]).min(axis=1)
    return (between[:, None] + distances).min(axis=2)


def converge(unaries: dict[str, np.ndarray], n_runs: int) -> None:
    print(f"{'':14s}ms/iteration  iterations    energy     bound       gap   bp, 60 iterations")
    for kind, unary in unaries.items():
        for smoothness in SMOOTHNESS:
            state = State(unary, Settings(smoothness))
            each = medians({"": state.iterate}, n_runs)[""]
            found = mrf.minimise(unary, smoothness=smoothness, iterations=150, gap=1e-6)
            bp = mrf.minimise(unary, smoothness=smoothness, method="bp", iterations=60)
            print(
                f"{kind:6s}{smoothness:6.3f}  {1e3 * each:12.2f}{len(found.history):12d}{found.energy:10.3f}"
                f"{found.lower_bound:10.3f}{found.gap:10.4f}{bp.energy:20.3f}",
                flush=True,
            )


def messages(unary: np.ndarray, n_runs: int) -> None:
    """Those of a whole iteration, that is with all that is done between them, and plain ones."""
    smoothness = 0.01
    n_messages = 4 * SIDE * (SIDE - 1)
    label = np.arange(SIDE)
    distances = np.float32(smoothness) * ((label[:, None] - label) ** 2).astype(np.float32)
    some = unary.reshape(-1, SIDE, SIDE)[::10].astype(np.float32)
    assert np.allclose(by_numba(some[0], distances), by_numpy(some[0], distances), atol=1e-5)
    state = State(unary, Settings(smoothness))
    times = medians(
        {
            "corrcore's, an iteration's share": state.iterate,
            "Numba, every label against every other": lambda: [by_numba(costs, distances) for costs in some],
            "NumPy, every label against every other": lambda: [by_numpy(costs, distances) for costs in some],
        },
        n_runs,
    )
    counts = dict(zip(times, (n_messages, len(some), len(some)), strict=True))
    each = {name: 1e6 * times[name] / counts[name] for name in times}
    ours = next(iter(each.values()))
    for name, microseconds in each.items():
        print(f"{name:42s}{microseconds:8.2f} us a message{microseconds / ours:8.1f}")


def many(unaries: dict[str, np.ndarray], n_runs: int) -> None:
    pairs = [unary for unary, _ in zip(list(unaries.values()) * 13, range(25), strict=False)]
    options = {"smoothness": 0.01, "iterations": 10, "gap": -1}
    n_threads = torch.get_num_threads()
    calls = {f"threads, {n_threads}": lambda: mrf.minimise_batch(pairs, device="cpu", **options)}
    if torch.cuda.is_available():
        device = torch.device("cuda")
        batch = on_torch.Batch(pairs, Settings(0.01), device=device)

        def iterate() -> None:
            for _ in range(10):
                batch.energies(batch.iterate()[0])
            torch.cuda.synchronize()

        calls |= {
            "CUDA": lambda: mrf.minimise_batch(pairs, device=device, **options),
            "CUDA, once the costs are there": iterate,
        }
    for name, each in medians(calls, min(n_runs, 5)).items():
        print(f"25 pairs x 10 iterations, {name:32s}{1e3 * each:8.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, help="descriptors of two pairs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of many pairs")
    parser.add_argument("--runs", type=int, default=25)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = Path("/proc/cpuinfo")
    lines = model.read_text().splitlines() if model.exists() else []
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    print(f"{names[0] if names else platform.processor()}, load {os.getloadavg()[0]:.1f}")
    if torch.cuda.is_available():
        kernel = f"Triton {on_triton.triton.__version__}" if on_triton.AVAILABLE else "no Triton"
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {kernel}")
    unaries = unaries_of(options.pairs)
    first = seconds(lambda: mrf.minimise(unaries["warp"][:2, :2], smoothness=0.01))
    print(f"first call {first:.1f} s, with compilation if none was kept")
    converge(unaries, options.runs)
    messages(unaries["cross"], options.runs)
    many(unaries, options.runs)


if __name__ == "__main__":
    main()
