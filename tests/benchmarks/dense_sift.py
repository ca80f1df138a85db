"""Dense SIFT on a 500 x 500 picture beside OpenCV's, at the same points.

The picture is grey for both. OpenCV's time holds that of its pyramid, which it makes at each call. With `--option
reference=vlfeat_dsift.npz`, VLFeat's descriptors as `{set}_xy` and `{set}_descriptors` of its `image`, agreement with
it is told as cosines: the median, the 5th percentile and the lowest, of descriptors that are not zero.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.data import astronaut

from corrcore import images
from corrcore.descriptors import sift
from corrcore.features import FeatureGrid
from tests.benchmarks.measure import Bar, Row, Run, Work

RADII = (10, 20, 40, 80, 160)
SETS = {"bin8_step8": 16} | {f"radius{radius}": radius for radius in RADII}
CHANNELS = 128


def opencv(image: np.ndarray, points: np.ndarray, radius: float) -> np.ndarray:
    """Its bins are 1.5 times a keypoint's size."""
    keypoints = [cv2.KeyPoint(float(x), float(y), radius / 2 / 1.5, 0.0) for x, y in points]
    return cv2.SIFT_create().compute(image, keypoints)[1]


def rows(run: Run) -> Iterator[Row]:
    reference = run.option("reference", "")
    if reference:
        image = np.load(reference)["image"]
    else:
        picture = images.resize_to(astronaut(), height=500, width=500)
        image = np.rint(images.grey(picture)).astype(np.uint8)
    cv2.setNumThreads(torch.get_num_threads())
    # bars of 14 and 140 ms, where OpenCV took 69 and 1,900 ms
    jobs = {"bin 8, step 8": ((16,), 8, 69 / 14), "radii 10 to 160, step 16": (RADII, 16, 1900 / 140)}
    if not run.quick:
        jobs |= {f"radius {radius}, step 16": ((radius,), 16, None) for radius in RADII}
    for name, (radii, stride, bar) in jobs.items():

        def ours(window: sift.VoteWindow, radii: tuple = radii, stride: int = stride) -> list[FeatureGrid]:
            return [sift.extract(image, radius_px=r, stride=stride, window=window, device=run.device) for r in radii]

        points = [grid.cells.centres().reshape(-1, 2) for grid in ours("gaussian")]
        calls = {
            "gaussian": lambda ours=ours: ours("gaussian"),
            "flat": lambda ours=ours: ours("flat"),
            "OpenCV": lambda radii=radii, points=points: [opencv(image, *at) for at in zip(points, radii, strict=True)],
        }
        times = run.medians(calls, 9)
        n_points = sum(map(len, points))
        # eight votes of every pixel are written and read by sums that take each tap of a row once
        work = Work(4 * len(radii) * 16 * image.size + 4 * CHANNELS * n_points)
        what = f"dense SIFT, {name}, {n_points} points"
        floor = {"work": work, "peer": "OpenCV", "theirs": times["OpenCV"]}
        yield Row(what, times["gaussian"], bar=bar and Bar.ratio(round(bar, 1)), **floor)
        yield Row(f"{what}, flat window", times["flat"], **floor)
    if reference:
        yield from agree(Path(reference), run)


def agree(reference: Path, run: Run) -> Iterator[Row]:
    recorded = np.load(reference)
    for name, radius in SETS.items():
        theirs = recorded[f"{name}_descriptors"]
        for window in ("gaussian", "flat"):
            found = sift.describe(
                recorded["image"], recorded[f"{name}_xy"], radius_px=radius, window=window, device=run.device
            )
            ours = np.minimum(512 * found.cpu().numpy(), 255)  # VLFeat's, kept as bytes, end there
            lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
            cosines = (ours * theirs).sum(axis=1)[lengths > 0] / lengths[lengths > 0]
            yield Row(
                f"SIFT, {name}, {window} window, median cosine to VLFeat's", float(np.median(cosines)), unit="",
                bar=Bar.least(0.998) if window == "gaussian" else None,
                note=f"5th percentile {np.percentile(cosines, 5):.6f}, lowest {cosines.min():.6f}",
            )  # fmt: skip
