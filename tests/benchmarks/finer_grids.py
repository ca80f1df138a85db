"""Finer grids of a vision transformer, by overlapping patches and by shifted images.

    python tests/benchmarks/finer_grids.py [--network dinov2-s] [--photo FILE]

Seconds are of one processor's time, by one thread, so that what else runs counts little. Cosines are of the same
pixels' descriptors, in the layer for transfer.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from corrcore import decoding, images, networks
from corrcore.datasets.samples import samples
from corrcore.features import Extractor, Image


def seconds(work: Callable[[], object]) -> float:
    work()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _without(network: Extractor, image: Image, layer: str, x: int, y: int) -> torch.Tensor:
    return network.extract(np.ascontiguousarray(image[y:, x:]), [layer])[layer].descriptors


def shifted(network: Extractor, image: Image, layer: str, step: int) -> torch.Tensor:
    """The descriptors every `step` pixels, of the image without its first columns and rows."""
    stride = network.receptive_field(layer).stride
    grids = [[_without(network, image, layer, x, y) for x in range(0, stride, step)] for y in range(0, stride, step)]
    rows, columns, channels = grids[-1][-1].shape
    n = stride // step
    found = torch.empty(rows * n, columns * n, channels)
    for y, line in enumerate(grids):
        for x, grid in enumerate(line):
            found[y::n, x::n] = grid[:rows, :columns]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="dinov2-s")
    parser.add_argument("--photo", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    photo = decoding.decode(options.photo) if options.photo else next(iter(samples().values())).load()
    plain = networks.open(options.network, device="cpu")
    layer = plain.roles.transfer
    stride = plain.receptive_field(layer).stride
    for side, step in ((140, stride // 2), (224, stride // 2), (392, stride // 2), (448, stride // 2), (224, 2)):
        image = images.resize_to(photo, height=side, width=side)
        finer = networks.open(options.network, device="cpu", grid_stride=step)
        overlapping = seconds(lambda image=image, finer=finer: finer.extract(image, [layer]))
        passes = (stride // step) ** 2
        shifts = passes * seconds(lambda image=image: plain.extract(image, [layer]))
        print(f"{side} px, every {step} px: overlapping {overlapping:.2f} s; {passes} shifted images {shifts:.2f} s")
    image = images.resize_to(photo, height=392, width=392)
    finer = networks.open(options.network, device="cpu", grid_stride=stride // 2)
    first, second = finer.extract(image, [layer])[layer].descriptors, shifted(plain, image, layer, stride // 2)
    rows, columns, _ = second.shape
    cosines = torch.cosine_similarity(first[:rows, :columns], second, dim=-1)
    both = cosines[::2, ::2]
    print(f"cosine of the two at 392 px: mean {cosines.mean():.3f}, of patches of both grids {both.mean():.3f}")


if __name__ == "__main__":
    main()
