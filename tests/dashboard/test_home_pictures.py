"""Home's pictures are what the code makes today, not what it made once."""

import numpy as np
import pytest
from PIL import Image

from dashboard.navigation import PICTURES
from dashboard.pictures.__main__ import average, match, rebuild


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(float)


@pytest.fixture(scope="module")
def made(cache_folder, alexnet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    match(folder, alexnet)
    rebuild(folder, alexnet)
    average(folder, alexnet)
    return folder


def test_the_first_pictures_are_the_codes(made):
    names = [path.name for path in made.iterdir()]
    assert {
        "point.jpg",
        "match_conv4.jpg",
        "match_sift20.jpg",
        "photo.jpg",
        "rebuilt_conv3.jpg",
        "rebuilt_conv5.jpg",
        "seed.jpg",
        "average_conv5.png",
    } <= set(names)
    for name in names:
        kept, drawn = pixels(PICTURES / name), pixels(made / name)
        assert np.abs(kept - drawn).mean() < 2, name  # other patches differ by 30 and more
