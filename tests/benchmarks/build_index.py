"""The speed of building an index beside that of the network alone, on the same photos in one run.

    python tests/benchmarks/build_index.py PHOTOS [--limit 240] [--scales 1,0.7]

Prints photos a second of a bare forward loop over decoded pictures (no writing, no decoding), of `index.build`, and
their ratio. The two take turns every few photos, so that other work on the machine slows both.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from statistics import median

from corrcore import images, networks
from corrcore import patch_index as indexes
from corrcore.datasets import folder

CHUNK = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=240)
    parser.add_argument("--scales", default="1,0.7")
    options = parser.parse_args()
    scales = tuple(float(scale) for scale in options.scales.split(","))
    photos = folder.photos(options.photos).photos[: options.limit]
    backbone = networks.load()
    layers = backbone.architecture.default_layers
    pictures = []
    for photo in photos:
        image = photo.load()
        height, width = image.shape[:2]
        sizes = [{"height": round(height * scale), "width": round(width * scale)} for scale in scales]
        pictures.append([images.resize_to(image, **size) for size in sizes])
    backbone.extract(pictures[0][0], layers)
    forward, built = [], []
    for start in range(0, len(photos), CHUNK):
        begun = time.perf_counter()
        for picture in itertools.chain(*pictures[start : start + CHUNK]):
            backbone.extract(picture, layers)
        forward.append(time.perf_counter() - begun)
        chunk = photos[start : start + CHUNK]
        with tempfile.TemporaryDirectory() as root:
            begun = time.perf_counter()
            index = indexes.build(chunk, Path(root) / "it", backbone=backbone, layers=layers, scales=scales)
            built.append(time.perf_counter() - begun)
            per_photo = index.n_bytes / len(chunk) / 1e6
    ratios = sorted(f / b for f, b in zip(forward, built, strict=True))
    print(f"{len(photos)} photos at {len(scales)} scales, {per_photo:.2f} MB a photo on disk")
    print(f"forward loop {CHUNK / median(forward):6.1f} photos/s")
    print(f"index.build  {CHUNK / median(built):6.1f} photos/s, ratio {median(ratios):.2f}", end=" ")
    print(
        f"(of {len(ratios)} rounds: {ratios[0]:.2f} to {ratios[-1]:.2f}; of the sums: {sum(forward) / sum(built):.2f})"
    )


if __name__ == "__main__":
    main()
