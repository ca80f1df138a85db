"""Copies of a photo are found, other photos are not."""

import io

import numpy as np
import pytest
from PIL import Image

from corrcore import images
from corrcore.datasets import folder
from corrcore.patch_index import build, copies
from tests.conftest import ArrayPhoto
from tests.patch_index.exact import Means, noise_photos


def scaled(image, factor):
    height, width = image.shape[:2]
    return images.resize_to(image, height=round(height * factor), width=round(width * factor))


def as_jpeg(image, quality):
    return np.asarray(Image.open(io.BytesIO(images.encode(image, format="JPEG", quality=quality))))


CHANGES = {
    "itself": lambda image: image,
    "doubled": lambda image: scaled(image, 2),
    "a quarter": lambda image: scaled(image, 0.25),
    "squeezed": lambda image: images.resize_to(image, height=image.shape[0], width=image.shape[1] * 2 // 3),
    "JPEG of quality 20": lambda image: as_jpeg(image, 20),
    "mirrored": images.hflip,
    "mirrored, shrunk, recompressed": lambda image: as_jpeg(images.hflip(scaled(image, 0.4)), 40),
    "darker": lambda image: (image * 0.7 + 10).astype(np.uint8),
    "one pixel changed": lambda image: (
        image ^ np.pad([[[1, 0, 0]]], [(0, s - 1) for s in image.shape[:2]] + [(0, 0)]).astype(np.uint8)
    ),
}


@pytest.fixture(scope="module")
def photos():
    return [ArrayPhoto(photo.name, photo.pixels) for photo in noise_photos(12, 200, 150)]


@pytest.fixture(scope="module")
def index(photos, tmp_path_factory):
    return build(photos, tmp_path_factory.mktemp("copies") / "it", extractor=Means(), longer_side=160)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_its_photo_and_no_other(index, photos, change):
    for number, photo in enumerate(photos):
        assert index.photos_like(CHANGES[change](photo.pixels)) == [number]


def test_only_the_same_pixels_are_found_where_copies_are_not_asked_for(index, photos):
    image = photos[3].pixels
    assert index.photos_like(image, near=False) == [3]
    assert index.photos_like(index.photo(3), near=False) == [3]  # as shrunk
    assert index.photos_like(CHANGES["one pixel changed"](image), near=False) == []


def test_photos_of_one_colour_are_no_copies_of_each_other(tmp_path):
    flat = [ArrayPhoto(f"{level}", np.full((40, 40, 3), level, np.uint8)) for level in (10, 200)]
    index = build([*flat, *noise_photos(1)], tmp_path / "it", extractor=Means())
    assert copies.fingerprint(flat[0].pixels) is None
    assert index.photos_like(flat[1].pixels) == [1]
    assert index.photos_like(np.full((40, 40, 3), 90, np.uint8)) == []


def test_the_fingerprint_of_a_mirrored_photo_is_at_no_distance():
    image = noise_photos(1, 64, 64)[0].pixels
    own, mirrored = copies.fingerprint(image), copies.fingerprint(images.hflip(image))
    assert own is not None
    assert mirrored is not None
    assert np.bitwise_count(own ^ mirrored).sum() > copies.MAX_DISTANCE
    assert copies.distances(own, mirrored[None]) <= 2  # rounding


@pytest.mark.slow
def test_no_two_photos_of_a_real_data_set_are_taken_for_copies(data_folder):
    """The claim of `corrcore.patch_index.copies`, over all pairs."""
    root = data_folder / "VOC2011"
    if not root.is_dir():
        pytest.skip("there is no VOC2011 in the folder of data sets")
    found = [copies.fingerprint(photo.load()) for photo in folder.photos(root).photos]
    prints = np.array([own for own in found if own is not None])
    nearest = [copies.distances(own, prints[:number]).min() for number, own in enumerate(prints) if number]
    print(f"{len(prints)} photos; the nearest two differ in {min(nearest)} bits")
    assert min(nearest) > copies.MAX_DISTANCE
