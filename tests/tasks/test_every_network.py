"""Every registered network goes through every task by its roles alone, on a small picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from corrcore import extractors, networks
from corrcore.datasets import toy
from corrcore.datasets.samples import samples
from corrcore.features import Extractor, Feature
from corrcore.networks import WeightsNotFoundError
from corrcore.tasks import alignment, classification, detection
from corrcore.tasks.alignment import CropSpec
from corrcore.tasks.classification import CropProtocol
from tests.conftest import smooth_noise


@pytest.fixture(scope="module", params=networks.names())
def network(request) -> Extractor:
    try:
        return networks.open(request.param, device="cpu")
    except WeightsNotFoundError as error:
        if request.param != "vgg16":
            pytest.skip(str(error))
    request.getfixturevalue("vgg16_weights")
    return networks.open(request.param, device="cpu")


def test_layers_are_extracted_at_points_and_at_every_pixel(network):
    image = smooth_noise(70, 64, 2)
    features = [Feature(network.name, layer) for layer in network.roles.reconstruction]
    points = np.array([[31.0, 30.0], [40.2, 33.9]])
    grids = extractors.extract(image, features, network=network)
    at = extractors.sample_at(image, points, features, network=network)
    assert list(grids) == list(at) == features
    for feature in features:
        rows, columns = np.transpose([grids[feature].cells.nearest(*point) for point in points])
        torch.testing.assert_close(at[feature], grids[feature].descriptors[rows, columns])
    last = features[-1]
    valid = extractors.valid_region(last, (70, 64), network=network)
    region = valid._replace(right=valid.left + 3, bottom=valid.top + 2)
    [(part, found)] = extractors.iter_tiles(image, last, network=network, region=region)
    assert part == region
    torch.testing.assert_close(found[0, 0], grids[last].descriptors[0, 0], rtol=1e-3, atol=1e-3)


def test_an_object_is_aligned_to_itself_moved_by_a_cell(network):
    photo, feature = samples()["chelsea"].load(), Feature(network.name, network.roles.transfer)
    crop = CropSpec(n_cells=6, margin=0, context_px=48)
    stride = network.receptive_field(feature.layer).stride
    side = 6 * stride
    source, target = (
        alignment.describe(
            photo, (left - 0.5, 79.5, left + side - 0.5, 79.5 + side), [feature], network=network, crop=crop
        )
        for left in (160, 160 - stride)
    )
    found = alignment.align(source.grids[feature], target.grids[feature], refine=False)
    np.testing.assert_array_equal(found.displacement[1:-1, 1:-2], np.broadcast_to([1.0, 0.0], (4, 3, 2)))
    assert source.summary @ target.summary > 0.5


def test_an_object_is_described_for_its_detectors_and_prior(network):
    feature = Feature(network.name, network.roles.detection)
    image = smooth_noise(120, 120, 3)
    found = detection.describe(image, [feature], network=network)
    own = network.extract(image, [network.roles.detection, network.roles.prior])
    torch.testing.assert_close(found.grids[feature].descriptors, own[feature.layer].descriptors.half())
    whole = own[network.roles.prior].flat().flatten()
    np.testing.assert_allclose(found.summary, (whole / whole.norm()).numpy(), atol=1e-3)


def test_keypoints_are_described_by_the_layers_to_be_compared(network):
    data = toy.load(n_train=1, n_val=1)
    [cat] = data.instances("toy cat", "train")
    few = replace(cat, keypoints=np.where(np.arange(len(cat.keypoints))[:, None] < 6, cat.keypoints, np.nan))
    features = [Feature(network.name, layer) for layer in network.roles.classification]
    protocol = CropProtocol(longer_side_px=120)
    found = classification.samples([few], features, data.keypoint_names["toy cat"], network=network, protocol=protocol)
    assert not found.left_out
    assert list(found.features) == features
    for values in found.features.values():
        assert len(values) == few.visible.sum() > 0
        np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)
