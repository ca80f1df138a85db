"""What a newcomer sees first: the view that shows what its page is about, and no other."""

import csv
import io
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest

from corrcore import patch_index
from corrcore.datasets import drawn, toy
from corrcore.datasets.records import Instance
from dashboard import first_views
from dashboard.parts import pickers

from .conftest import texts

CAT = "toy cat"


@dataclass(frozen=True)
class Flat:
    """A photo of one grey level, with a little light in the middle."""

    name: str
    grey: int

    @property
    def stamp(self):
        return self.name, self.grey

    def load(self):
        picture = np.full((300, 300, 3), self.grey, np.uint8)
        picture[140:160, 140:160] = 100
        return picture


def photographed(name, grey=120, side=250, n_visible=16):
    keypoints = np.full((16, 2), np.nan)
    keypoints[:n_visible] = 150
    return Instance(name, CAT, Flat(name, grey), (20, 20, 20 + side, 20 + side), keypoints)


@pytest.fixture
def data_of():
    """``data_of(objects)``: a data set of photos with these val objects."""
    few = toy.load(n_train=1, n_val=1)
    return lambda objects: replace(few, synthetic=False, splits={(CAT, "val"): objects})


def test_photos_begin_with_large_evenly_lit_objects_that_show_many_keypoints(cache_folder, data_of):
    objects = [
        photographed("silhouette", grey=10),
        photographed("small", side=30),
        photographed("hidden", n_visible=2),
        photographed("glare", grey=250),
        photographed("plain"),
        *(photographed(f"other {n}", grey=10, n_visible=15) for n in range(20)),
    ]
    found = [one.name for one in pickers.offered_objects(data_of(objects), CAT)]
    assert found[0] == "plain"
    assert {"silhouette", "glare"} <= set(found[1 : pickers.PER_SHEET])
    assert {"small", "hidden"} == set(found[-2:])
    assert sorted(found) == sorted(one.name for one in objects)


def test_drawn_animals_come_in_their_own_order():
    data = toy.load(n_train=1, n_val=5)
    assert pickers.offered_objects(data, "toy cat") == data.visible_instances("toy cat", "val")


@pytest.mark.slow
def test_the_first_patch_is_rebuilt_from_eyes_by_every_layer(alexnet, cache_folder):
    animal, index = drawn.unseen()[first_views.REBUILT], patch_index.samples(alexnet)
    train = {one.name: one for one in toy.load(n_train=drawn.N_TO_SEARCH, n_val=1).splits["toy cat", "train"]}
    for layer, grid in alexnet.extract(animal.load(), index.layers).items():
        ids = np.asarray(index.search(layer, grid.descriptors[grid.cells.nearest(*animal.eye)][None], 3).ids)[0]
        for photo, centre in zip(index.locate(layer, ids).photos, index.centres(layer, ids), strict=True):
            eyes = train[index.photos[photo]].keypoints[:2]
            assert np.nanmin(np.linalg.norm(eyes - centre, axis=1)) < 24, layer


@pytest.mark.slow
def test_prediction_begins_where_conv5_finds_all_keypoints_and_sift_nearly_all(open_page, offered):
    at = open_page("prediction")
    assert at.number_input[0].value == 1
    rows = [row for row in csv.DictReader(io.StringIO(offered["keypoints.csv"]().decode())) if row["right"]]
    right = {name: [row["right"] for row in rows if row["row"] == name] for name in ("sift16+prior", "conv5+prior")}
    assert {name: (each.count("1"), len(each)) for name, each in right.items()} == {
        "sift16+prior": (49, 52),
        "conv5+prior": (52, 52),
    }
    alone = open_page("prediction", prior="none")
    assert any("the network's detectors still find most, and SIFT's do not" in text for text in texts(alone))
    rows = [row for row in csv.DictReader(io.StringIO(offered["keypoints.csv"]().decode())) if row["right"]]
    share = {name: np.mean([row["right"] == "1" for row in rows if row["row"] == name]) for name in ("sift16", "conv5")}
    assert share["sift16"] < 0.5 < share["conv5"]


@pytest.mark.slow
def test_responses_begin_where_layers_are_highest_at_the_keypoint_and_sift_is_not(open_page):
    at = open_page("responses")
    assert at.selectbox(key="keypoint").value == first_views.KEYPOINT
    said = [re.search(r", (\d+) px from the keypoint", text) for text in texts(at)]
    conv3, conv5, sift = (int(found[1]) for found in said if found)
    assert conv3 <= 6
    assert conv5 <= 12
    assert sift > 100
