"""The speed of building an index beside that of the network alone, on the same photos in one run.

    python tests/benchmarks/build_index.py PHOTOS [--limit 100] [--scales 1,0.7]

Prints photos a second of a bare forward loop over decoded pictures (no writing, no decoding), of `index.build`, and
their ratio. The two take turns, so that other work on the machine slows both.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from corrcore import backbones, images
from corrcore import index as indexes
from corrcore.datasets import folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--scales", default="1,0.7")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    scales = tuple(float(scale) for scale in options.scales.split(","))
    photos = folder.photos(options.photos)[: options.limit]
    backbone = backbones.load()
    layers = backbone.architecture.default_layers
    pictures = []
    for photo in photos:
        image = photo.load()
        height, width = image.shape[:2]
        pictures += [
            images.resize_to(image, height=round(height * scale), width=round(width * scale)) for scale in scales
        ]
    backbone.extract(pictures[0], layers)
    forward, built = [], []
    for _ in range(options.rounds):
        begun = time.perf_counter()
        for picture in pictures:
            backbone.extract(picture, layers)
        forward.append(len(photos) / (time.perf_counter() - begun))
        with tempfile.TemporaryDirectory() as root:
            begun = time.perf_counter()
            index = indexes.build(photos, Path(root) / "it", backbone=backbone, layers=layers, scales=scales)
            built.append(len(photos) / (time.perf_counter() - begun))
            per_photo = index.n_bytes / len(photos) / 1e6
    ratios = [b / f for b, f in zip(built, forward, strict=True)]
    print(f"{len(photos)} photos, {len(pictures)} pictures, {per_photo:.2f} MB a photo on disk")
    print(f"forward loop {median(forward):6.1f} photos/s")
    print(f"index.build  {median(built):6.1f} photos/s, ratio {median(ratios):.2f} (of each round: {ratios})")


if __name__ == "__main__":
    main()
