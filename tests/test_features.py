"""Features as people write them, and grids."""

import re

import numpy as np
import pytest
import torch

from corrcore.features import SIFT, Feature, FeatureGrid, group_by_extractor
from corrcore.geometry import ReceptiveField

CONV4, OTHER, SIFT20 = Feature("alexnet", "conv4"), Feature("vgg16", "conv4_3"), Feature(SIFT, "20")


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("conv4", CONV4),
        ("alexnet:conv4", CONV4),
        ("vgg16:conv4_3", OTHER),
        ("sift20", SIFT20),
        ("sift20.0", SIFT20),
        ("sift8.5", Feature(SIFT, "8.5")),
        ("sift:20", SIFT20),
        ("sift:20.0", SIFT20),
        ("sift1.2.3", Feature("alexnet", "sift1.2.3")),
        ("sift.", Feature("alexnet", "sift.")),
        ("vit_s14:block9", Feature("vit_s14", "block9")),
        ("mine:of:several", Feature("mine:of", "several")),
    ],
)
def test_a_feature_is_read_as_it_is_written(text, feature):
    assert Feature.parse(text, network="alexnet") == feature


@pytest.mark.parametrize("feature", [CONV4, OTHER, SIFT20, Feature(SIFT, "8.5"), Feature("net", "sift20x")], ids=str)
def test_names_are_read_again(feature):
    assert Feature.parse(str(feature), network="another") == feature
    assert Feature.parse(feature.key, network=feature.extractor) == feature
    assert Feature.parse(feature, network="another") is feature


def test_the_layer_without_a_network_is_that_of_the_one_understood():
    assert Feature.parse("conv5", network="vgg16") == Feature("vgg16", "conv5")
    assert Feature.parse("sift20", network="vgg16") == SIFT20


def test_keys_titles_and_names():
    assert (CONV4.key, CONV4.title, str(CONV4)) == ("conv4", "conv4", "alexnet:conv4")
    assert (SIFT20.key, SIFT20.title, str(SIFT20)) == ("sift20", "SIFT, radius 20 px", "sift20")
    assert SIFT20.is_sift
    assert not CONV4.is_sift


@pytest.mark.parametrize("text", ["", ":", "alexnet:", ":conv4"])
def test_what_names_no_feature_is_refused(text):
    with pytest.raises(ValueError, match=re.escape(f"such as conv4, vgg16:conv4_3 or sift20; got {text!r}")):
        Feature.parse(text, network="alexnet")


def test_features_of_one_extractor_come_together_in_order():
    conv5 = Feature("alexnet", "conv5")
    found = group_by_extractor([CONV4, SIFT20, OTHER, conv5])
    assert list(found.items()) == [("alexnet", [CONV4, conv5]), (SIFT, [SIFT20]), ("vgg16", [OTHER])]


def test_a_grids_cells_lie_where_its_receptive_field_says():
    values = torch.arange(24.0).reshape(2, 3, 4)
    grid = FeatureGrid(values, ReceptiveField(size=9, stride=8, offset=3.0), (30, 20), "made")
    np.testing.assert_array_equal(grid.cells.centres()[1, 2], [19, 11])
    torch.testing.assert_close(grid.flat()[5], values[1, 2])
    assert grid.cells.image_size == (30, 20)
