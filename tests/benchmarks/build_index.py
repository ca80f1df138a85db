"""The speed of building an index beside that of the network alone, on the same photos in one run.

The peer is a bare forward loop over pictures that are decoded and resized already, which writes nothing. The two take
turns every few photos, so that other work on the machine slows both. Without a folder the photos are drawn animals, 500
px wide. Options: photos (a folder), limit, scales.
"""

import itertools
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from corrcore import images, networks
from corrcore import patch_index as indexes
from corrcore.datasets import drawn, folder
from tests.benchmarks.measure import Bar, Row, Run

CHUNK = 12


def rows(run: Run) -> Iterator[Row]:
    scales = tuple(float(scale) for scale in run.option("scales", "1,0.7").split(","))
    where, limit = run.option("photos", ""), run.option("limit", 24 if run.quick else 60)
    photos = (folder.photos(Path(where)).photos if where else list(drawn.to_search().values()))[:limit]
    network = networks.open("alexnet", device=run.device)
    layers = network.roles.reconstruction
    pictures = []
    for photo in photos:
        image = photo.load()
        height, width = image.shape[:2]
        sizes = [{"height": round(height * scale), "width": round(width * scale)} for scale in scales]
        pictures.append([images.resize_to(image, **size) for size in sizes])
    network.extract(pictures[0][0], layers)
    forward, built, n_bytes = [], [], 0
    for start in range(0, len(photos), CHUNK):
        chunk = photos[start : start + CHUNK]

        def loop(start: int = start) -> None:
            for picture in itertools.chain(*pictures[start : start + CHUNK]):
                network.extract(picture, layers)

        with tempfile.TemporaryDirectory() as root:
            build = partial(indexes.build, chunk, Path(root) / "it", extractor=network, layers=layers, scales=scales)
            forward.append(run.seconds(loop) / len(chunk))
            built.append(run.seconds(build) / len(chunk))
            n_bytes += indexes.PatchIndex(Path(root) / "it").n_bytes
    yield Row(
        f"index of {len(photos)} photos at {len(scales)} scales, per photo",
        median(built), "forward loop", median(forward), Bar.ratio(0.8),
        note=f"{n_bytes / len(photos) / 1e6:.2f} MB per photo on disk",
    )  # fmt: skip
