"""Small square pictures of photos and objects, for galleries."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from corrcore import concurrency, decoding, images, store
from corrcore.datasets.records import Instance
from corrcore.patch_index import PatchIndex
from dashboard.services import caches

SIDE_PX = 112
QUALITY = 85  # of WebP, in which they are kept: 3 kB each
DARK, BRIGHT = 50, 215  # grey levels beyond which little of a coat can be made out
WELL_LIT = 0.75  # share of pixels that lie between


@st.cache_data(max_entries=64, show_spinner="Opening the photos")
def of_objects(state: str, _instances: Sequence[Instance]) -> list[np.ndarray]:
    """Square thumbnails of objects, a little of their surroundings around them; grey where a photo cannot be read.

    Kept on disk under `state`, for drawing takes a while.
    """

    def one(instance: Instance) -> np.ndarray:
        left, top, right, bottom = instance.box
        side = 1.1 * max(right - left, bottom - top) / 2
        x, y = (left + right) / 2, (top + bottom) / 2
        edges = (x - side, y - side, x + side, y + side)
        try:
            return images.crop_resized(instance.photo.load(), edges, width=SIDE_PX, height=SIDE_PX)
        except (decoding.ImageError, OSError):
            return np.full((SIDE_PX, SIDE_PX, 3), 160, np.uint8)

    def all_of_them() -> tuple[dict[str, np.ndarray], dict[str, object]]:
        found: list[bytes] = []
        concurrency.map_in_order(
            lambda instance: images.encode(one(instance), quality=QUALITY), _instances, found.append
        )
        return {str(number): np.frombuffer(picture, np.uint8) for number, picture in enumerate(found)}, {}

    key = store.key(task="object thumbnails", objects=state, side=SIDE_PX, quality=QUALITY)
    kept = caches.results().get_or_compute(key, all_of_them).arrays
    return [decoding.decode(kept[str(number)].tobytes()) for number in range(len(_instances))]


@st.cache_data(max_entries=64, show_spinner="Opening the photos")
def well_lit_first(state: str, _instances: Sequence[Instance]) -> list[int]:
    """The places of objects, those first that are neither silhouettes nor glare in the middle.

    A photo that cannot be read is not well lit.
    """
    quarter = SIDE_PX // 4
    inner = [picture[quarter:-quarter, quarter:-quarter].mean(axis=2) for picture in of_objects(state, _instances)]
    lit = [((grey > DARK) & (grey < BRIGHT)).mean() if np.ptp(grey) else 0 for grey in inner]
    return sorted(range(len(lit)), key=lambda n: lit[n] < WELL_LIT)


@st.cache_data(max_entries=32, show_spinner=False)
def of_indexed(
    digest: str,  # noqa: ARG001 - what the numbers count in
    numbers: tuple[int, ...],
    _index: PatchIndex,
) -> list[np.ndarray]:
    """Square thumbnails of an index's photos."""
    return [thumbnail(_index.photo(number)) for number in numbers]


@st.cache_data(max_entries=2, show_spinner=False)
def of_samples(names: tuple[str, ...]) -> list[np.ndarray]:
    return [thumbnail(caches.sample_photo(name)) for name in names]


def thumbnail(image: np.ndarray) -> np.ndarray:
    """The square middle of a picture, small."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    return images.resize_to(square, height=SIDE_PX, width=SIDE_PX)
