"""Layers at every pixel: a rectangle, a whole photo, and one crop per pixel on a small region, in one run.

The photo is a sample, enlarged to 500 x 375 px. The crop per pixel is the image shifted so that the pixel is a cell's
centre, cut to its receptive field; its values are compared. Options: layer, and stride, of SIFT.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from corrcore import extractors, images, networks
from corrcore.datasets.samples import samples
from corrcore.descriptors import sift
from corrcore.features import Extractor, Feature
from corrcore.geometry import PixelBox
from tests.benchmarks.measure import Bar, Row, Run, Work

WIDTH, HEIGHT = 500, 375


def work_at(network: Extractor, layer: str, pixels: int) -> Work:
    """Of every convolution up to the layer, evaluated at so many pixels; what surroundings cost comes on top."""
    per_pixel, weights = 0, 0
    for step in network._steps(layer):
        if isinstance(step.module, nn.Conv2d):
            per_pixel += 2 * step.module.weight.numel()
            weights += step.module.weight.numel()
    return Work(4 * weights, per_pixel * pixels)


def rows(run: Run) -> Iterator[Row]:
    layer = run.option("layer", "conv5")
    network = networks.open("alexnet", device=run.device)
    image = images.resize_to(samples()["chelsea"].load(), width=WIDTH, height=HEIGHT)
    square, small = PixelBox(240, 180, 261, 201), PixelBox(240, 180, 245, 184)
    valid = network.valid_region(layer, (WIDTH, HEIGHT))
    whole = PixelBox(valid.left, valid.top, valid.right, valid.top + 60) if run.quick else valid

    crops, worst = crop_per_pixel(image, layer, network, small)
    calls = {
        "square": lambda: at_every_pixel(network, image, layer, square),
        "crops": lambda: [network.extract(crop, [layer]) for crop in crops],
    }
    times = run.medians(calls, 9)
    per_crop = times["crops"] / len(crops)
    right = worst < (1e-3 if run.on_gpu else 1e-4)
    note = f"values within {worst:.1e} of one crop per pixel"
    yield Row(
        f"{layer} at each of 21 x 21 px",
        times["square"], "one crop per pixel", per_crop * 21 * 21, None if run.on_gpu else Bar.most(0.150),
        work_at(network, layer, 21 * 21), right=right, note=note,
    )  # fmt: skip
    of_whole = run.medians({"ours": lambda: at_every_pixel(network, image, layer, whole)}, 3, warm=run.on_gpu)["ours"]
    n = whole.width * whole.height
    yield Row(
        f"{layer} at each of {whole.width} x {whole.height} px",
        of_whole, "one crop per pixel", per_crop * n, Bar.most(0.060) if run.on_gpu else Bar.ratio(100),
        work_at(network, layer, n), right=right,
    )  # fmt: skip
    stride = run.option("stride", 1)
    of_sift = run.medians(
        {"ours": lambda: sift.extract(image, radius_px=20, stride=stride, offset=0, device=run.device)}, 3
    )["ours"]
    yield Row(f"SIFT of radius 20 px every {stride} px of {WIDTH} x {HEIGHT}", of_sift)


def at_every_pixel(network: Extractor, image: np.ndarray, layer: str, region: PixelBox) -> torch.Tensor:
    return extractors.extract_region(image, Feature(network.name, layer), network=network, region=region)


def crop_per_pixel(
    image: np.ndarray, layer: str, network: Extractor, region: PixelBox
) -> tuple[list[np.ndarray], float]:
    """The crops, and the greatest difference between what they give and what one pass gives."""
    field = network.receptive_field(layer)
    found = at_every_pixel(network, image, layer, region)
    worst, crops = 0.0, []
    reach = -(-(field.size // 2) // field.stride) * field.stride + int(field.offset)  # a cell's centre in every crop
    for y in range(region.top, region.bottom):
        for x in range(region.left, region.right):
            crop = np.ascontiguousarray(image[y - reach : y + reach + 1, x - reach : x + reach + 1])
            crops.append(crop)
            grid = network.extract(crop, [layer])[layer]
            row, column = grid.cells.nearest(reach, reach)
            difference = grid.descriptors[row, column] - found[y - region.top, x - region.left]
            worst = max(worst, float(difference.abs().max()))
    return crops, worst
