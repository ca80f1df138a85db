"""Layers at every pixel: a rectangle, a whole photo, and one crop a pixel on a small region, in one run.

    python tests/benchmarks/responses.py [--layer conv5]

The photo is a sample, enlarged to 500 x 375 px. The crop a pixel is the image shifted so that the pixel is a
cell's centre, cut to its receptive field; its values are compared.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from corrcore import images, networks
from corrcore.datasets.samples import samples
from corrcore.descriptors import sift
from corrcore.geometry import PixelBox
from corrcore.networks import every_pixel


def seconds(work: Callable[[], object], rounds: int) -> float:
    work()
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", default="conv5")
    options = parser.parse_args()
    network = networks.open("alexnet")
    image = images.resize_to(samples()["chelsea"].load(), width=500, height=375)
    layer, field = options.layer, network.receptive_field(options.layer)
    square = PixelBox(240, 180, 261, 201)
    of_square = seconds(lambda: every_pixel.extract(image, layer, network=network, region=square), 9)
    print(f"{layer}, 21 x 21 px of {image.shape[1]} x {image.shape[0]}: {1e3 * of_square:.0f} ms on {network.device}")
    of_whole = seconds(lambda: every_pixel.extract(image, layer, network=network), 3)
    there = every_pixel.valid_region(layer, (500, 375), network=network)
    print(f"{layer}, whole, {there.width} x {there.height} px: {of_whole:.2f} s")

    small = PixelBox(240, 180, 245, 184)
    found = every_pixel.extract(image, layer, network=network, region=small).descriptors.cpu()
    worst, begun = 0.0, time.perf_counter()
    reach = -(-(field.size // 2) // field.stride) * field.stride + int(field.offset)  # a cell's centre in every crop
    for y in range(small.top, small.bottom):
        for x in range(small.left, small.right):
            crop = np.ascontiguousarray(image[y - reach : y + reach + 1, x - reach : x + reach + 1])
            grid = network.extract(crop, [layer])[layer]
            row, column = grid.cells.nearest(reach, reach)
            own = grid.descriptors[row, column].cpu()
            worst = max(worst, float((own - found[y - small.top, x - small.left]).abs().max()))
    a_pixel = (time.perf_counter() - begun) / (small.width * small.height)
    share = of_whole / (there.width * there.height)
    print(
        f"one crop a pixel: {1e3 * a_pixel:.1f} ms a pixel, {a_pixel / share:.0f}x the whole photo's; values within "
        f"{worst:.1e}"
    )
    of_sift = seconds(lambda: sift.extract(image, radius_px=20, stride=1, offset=0), 3)
    print(f"SIFT of radius 20 px at every pixel of {image.shape[1]} x {image.shape[0]}: {of_sift:.2f} s")


if __name__ == "__main__":
    main()
