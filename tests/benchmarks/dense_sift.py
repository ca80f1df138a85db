"""Times dense SIFT on a 500 x 500 picture against OpenCV's, at the same points.

    python tests/benchmarks/dense_sift.py [--reference vlfeat_dsift.npz]

Needs opencv-python-headless. Times are medians over runs in turn; on a busy machine only their ratios mean something.
The picture is grey for both. OpenCV's time holds that of its pyramid, which it makes at each call.

With a reference, that is VLFeat's descriptors as `{set}_xy` and `{set}_descriptors` of its `image`, agreement
with it is told as cosines: the median, the 5th percentile and the lowest, all of descriptors that are not zero.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.data import astronaut

from corrcore import images
from corrcore.descriptors import sift
from corrcore.features import FeatureGrid

RADII = (10, 20, 40, 80, 160)
SETS = {"bin8_step8": 16} | {f"radius{radius}": radius for radius in RADII}


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def opencv(image: np.ndarray, points: np.ndarray, radius: float) -> np.ndarray:
    """Its bins are 1.5 times a keypoint's size."""
    keypoints = [cv2.KeyPoint(float(x), float(y), radius / 2 / 1.5, 0.0) for x, y in points]
    return cv2.SIFT_create().compute(image, keypoints)[1]


def compare(image: np.ndarray, jobs: dict[str, tuple[tuple[int, ...], int]], n_runs: int) -> None:
    print(f"{'':34s}points  Gaussian      flat    OpenCV   OpenCV/Gaussian")
    for name, (radii, stride) in jobs.items():

        def ours(window: sift.VoteWindow, radii: tuple = radii, stride: int = stride) -> list[FeatureGrid]:
            return [sift.extract(image, radius_px=r, stride=stride, window=window, device="cpu") for r in radii]

        points = [grid.cells.centres().reshape(-1, 2) for grid in ours("gaussian")]
        calls = {
            "gaussian": lambda ours=ours: ours("gaussian"),
            "flat": lambda ours=ours: ours("flat"),
            "opencv": lambda radii=radii, points=points: [opencv(image, *at) for at in zip(points, radii, strict=True)],
        }
        times = {call: [] for call in calls}
        for run in range(n_runs):
            for call in calls:
                if call != "opencv" or run < 3:
                    times[call].append(seconds(calls[call]))
        gaussian, flat, its = (1e3 * np.median(times[call]) for call in calls)
        n_points = sum(map(len, points))
        print(f"{name:34s}{n_points:6d}{gaussian:7.1f} ms{flat:7.1f} ms{its:7.0f} ms{its / gaussian:18.1f}", flush=True)


def agree(reference: Path) -> None:
    recorded = np.load(reference)
    print("agreement with VLFeat                    Gaussian                    flat")
    for name, radius in SETS.items():
        theirs = recorded[f"{name}_descriptors"]
        told = []
        for window in ("gaussian", "flat"):
            found = sift.describe(
                recorded["image"], recorded[f"{name}_xy"], radius_px=radius, window=window, device="cpu"
            )
            ours = np.minimum(512 * found.numpy(), 255)  # VLFeat's, kept as bytes, end there
            lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
            cosines = (ours * theirs).sum(axis=1)[lengths > 0] / lengths[lengths > 0]
            told.append(f"{np.median(cosines):.6f} {np.percentile(cosines, 5):.6f} {cosines.min():.6f}")
        print(f"{name:30s}{told[0]}  {told[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="VLFeat's descriptors, whose image is timed too")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    model = Path("/proc/cpuinfo")
    lines = model.read_text().splitlines() if model.exists() else []
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    print(f"{names[0] if names else platform.processor()}, {options.threads} threads, load {os.getloadavg()[0]:.1f}")
    print(f"torch {torch.__version__}, OpenCV {cv2.__version__}")
    if options.reference:
        image = np.load(options.reference)["image"]
    else:
        picture = images.resize_to(astronaut(), height=500, width=500)
        image = np.rint(images.grey(picture)).astype(np.uint8)
    first = seconds(lambda: sift.extract(image, device="cpu"))
    print(f"first call {first:.1f} s, with compilation if none was kept")
    each = {f"radius {radius}, stride 16": ((radius,), 16) for radius in RADII}
    compare(image, {"bin 8 (radius 16), stride 8": ((16,), 8), **each, "all five radii": (RADII, 16)}, options.runs)
    if options.reference:
        agree(options.reference)


if __name__ == "__main__":
    main()
