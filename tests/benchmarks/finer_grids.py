"""Finer grids of a vision transformer, by overlapping patches and by shifted images.

Seconds are of one processor's time, by one thread, so that what else runs counts little. Cosines are of the same
pixels' descriptors, in the layer for transfer. Options: network, photo.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from corrcore import decoding, images, networks
from corrcore.datasets.samples import samples
from corrcore.features import Extractor, Image
from tests.benchmarks.measure import Row, Run


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
    lines, columns, channels = grids[-1][-1].shape
    n = stride // step
    found = torch.empty(lines * n, columns * n, channels)
    for y, line in enumerate(grids):
        for x, grid in enumerate(line):
            found[y::n, x::n] = grid[:lines, :columns]
    return found


def rows(run: Run) -> Iterator[Row]:
    torch.set_num_threads(1)
    name, file = run.option("network", "dinov2-s"), run.option("photo", "")
    photo = decoding.decode(file) if file else next(iter(samples().values())).load()
    plain = networks.open(name, device="cpu")
    layer = plain.roles.transfer
    stride = plain.receptive_field(layer).stride
    for side, step in ((140, stride // 2), (224, stride // 2), (392, stride // 2), (448, stride // 2), (224, 2)):
        image = images.resize_to(photo, height=side, width=side)
        finer = networks.open(name, device="cpu", grid_stride=step)
        passes = (stride // step) ** 2
        yield Row(
            f"{name}, {side} px, every {step} px",
            seconds(lambda image=image, finer=finer: finer.extract(image, [layer])),
            f"{passes} shifted images",
            passes * seconds(lambda image=image: plain.extract(image, [layer])),
        )
    image = images.resize_to(photo, height=392, width=392)
    finer = networks.open(name, device="cpu", grid_stride=stride // 2)
    first, second = finer.extract(image, [layer])[layer].descriptors, shifted(plain, image, layer, stride // 2)
    lines, columns, _ = second.shape
    cosines = torch.cosine_similarity(first[:lines, :columns], second, dim=-1)
    yield Row(f"{name}, 392 px, cosine of the two, mean", float(cosines.mean()), unit="")
    yield Row(f"{name}, 392 px, the same of patches of both grids", float(cosines[::2, ::2].mean()), unit="")
