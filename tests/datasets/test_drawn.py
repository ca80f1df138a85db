"""The drawn animals that come along: the pictures are those of the toy data set, and there are no others."""

import numpy as np
import pytest

from corrcore.datasets import drawn
from corrcore.datasets.drawn.draw import instance_of

ALL = {**drawn.to_search(), **drawn.unseen()}


def test_files_are_those_that_are_named_and_less_than_a_megabyte():
    assert {path.stem for path in drawn.FOLDER.glob("*.webp")} == set(ALL)
    assert len(ALL) == len(drawn.to_search()) + len(drawn.unseen()) == 68
    assert sum(each.path.stat().st_size for each in ALL.values()) < 1e6


@pytest.mark.parametrize("name", [*list(drawn.to_search())[::11], *drawn.unseen()])
def test_a_picture_is_the_drawing_of_its_name(name):
    kept, drawing = ALL[name].load(), instance_of(name).photo.load()
    assert kept.shape == drawing.shape
    error = np.square(kept.astype(float) - drawing).mean()
    assert 10 * np.log10(255**2 / error) > 33  # dB; WebP leaves 35 to 45


@pytest.mark.parametrize("name", drawn.unseen())
def test_the_noted_pixel_is_on_an_eye(name):
    eye = np.array(drawn.unseen()[name].eye)
    distances = np.linalg.norm(instance_of(name).keypoints[:2] - eye, axis=1)
    assert np.nanmin(distances) <= 2


def test_what_is_looked_at_is_of_the_other_split():
    assert all("-train-" in name for name in drawn.to_search())
    assert all("-val-" in name for name in drawn.unseen())
