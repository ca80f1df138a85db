"""Keypoints named by the descriptor there."""

from dataclasses import replace

import numpy as np
import pytest

from corrcore import decoding, extractors
from corrcore.datasets import toy
from corrcore.engines import svm
from corrcore.features import Feature
from corrcore.tasks import classification
from corrcore.tasks.classification import CropProtocol

CONV3, SIFT10, SIFT20 = Feature("alexnet", "conv3"), Feature("sift", "10"), Feature("sift", "20")

NAMES = ("L_Eye", "R_Eye", "Nose", "L_F_Paw", "R_F_Paw")


@pytest.fixture(scope="module")
def data():
    return toy.load(n_train=8, n_val=4)


@pytest.fixture(scope="module")
def found(alexnet, data):
    return classification.samples(
        data.instances("toy cat", "train"),
        (CONV3, SIFT20),
        data.keypoint_names["toy cat"],
        network=alexnet,
        protocol=CropProtocol(longer_side_px=250),
    )


def test_without_sides_pairs_are_one_class():
    assert classification.class_names(NAMES, CropProtocol()) == NAMES
    assert classification.class_names(NAMES, CropProtocol(sides=False)) == ("Eye", "Nose", "F_Paw")


def test_the_box_is_seen_at_its_scale(data):
    cat = data.instances("toy cat", "train")[0]
    image, placement = classification.view(cat, CropProtocol(longer_side_px=200, margin=0.25))
    assert max(image.shape[:2]) == 200
    left, top, right, bottom = cat.box
    corners = placement.to_crop(np.array([[left, top], [right, bottom]]))
    sides = np.array([image.shape[1], image.shape[0]])
    np.testing.assert_allclose((corners + 0.5) / sides, [[1 / 6, 1 / 6], [5 / 6, 5 / 6]], atol=1e-6)
    assert placement.scale[0] == pytest.approx(placement.scale[1], rel=0.02)


def test_the_whole_photo_is_seen_as_it_is(data):
    cat = data.instances("toy cat", "train")[0]
    image, placement = classification.view(cat, CropProtocol(longer_side_px=None))
    np.testing.assert_array_equal(image, cat.photo.load())
    np.testing.assert_allclose(placement.to_crop(cat.keypoints), cat.keypoints)


def test_every_visible_keypoint_is_a_sample(found, alexnet, data):
    cats = data.instances("toy cat", "train")
    expected = [(number, keypoint) for number, cat in enumerate(cats) for keypoint in np.flatnonzero(cat.visible)]
    assert list(zip(found.objects, found.keypoints, strict=True)) == expected
    np.testing.assert_array_equal(found.labels, found.keypoints)
    last = found.objects == 7
    image, placement = classification.view(cats[7], CropProtocol(longer_side_px=250))
    points = placement.to_crop(cats[7].keypoints[cats[7].visible])
    at = extractors.sample_at(image, points, [CONV3], network=alexnet)[CONV3].numpy()
    np.testing.assert_allclose(found.features[CONV3][last], at / np.linalg.norm(at, axis=1, keepdims=True), atol=1e-5)


def test_raw_descriptors_are_as_they_are():
    values = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_array_equal(classification.scaled(values, CropProtocol(unit_length=False)), values)
    np.testing.assert_allclose(classification.scaled(values, CropProtocol()), [[0.6, 0.8], [0, 0]], atol=1e-7)


def test_folds_share_no_photo(found):
    photos = ["a", "b", "c", "a", "d", "e", "f", "b"]
    folds = classification.folds(found, photos, 3, np.random.default_rng(0))
    assert set(folds) == {0, 1, 2}
    by_photo = {}
    for number, fold in zip(found.objects, folds, strict=True):
        by_photo.setdefault(photos[number], set()).add(fold)
    assert all(len(each) == 1 for each in by_photo.values())


def test_a_classifier_names_what_it_has_learnt(found, data):
    names = classification.class_names(data.keypoint_names["toy cat"], CropProtocol())
    classifier = classification.train(
        found, SIFT20, names, cost=100.0
    )  # taken exactly at keypoints, which may share a cell
    called = [classifier.names[n] for n in classifier.linear.predict(found.features[SIFT20])]
    assert np.mean([name == names[label] for name, label in zip(called, found.labels, strict=True)]) > 0.95


def test_classes_nobody_shows_are_never_named(found, data):
    names = classification.class_names(data.keypoint_names["toy cat"], CropProtocol())
    some = found.labels >= 2
    fewer = replace(
        found,
        features={name: values[some] for name, values in found.features.items()},
        labels=found.labels[some],
        keypoints=found.keypoints[some],
        objects=found.objects[some],
    )
    classifier = classification.train(fewer, CONV3, names, cost=1.0)
    assert classifier.names == tuple(names[n] for n in np.unique(fewer.labels))
    assert names[0] not in classifier.names
    assert classifier.linear.weights.shape == (len(classifier.names), 384)
    assert isinstance(classifier.linear, svm.LinearClassifier)


class Broken:
    name, stamp = "broken.jpg", "x"

    def load(self):
        msg = "broken.jpg is no picture."
        raise decoding.ImageError(msg)


def test_a_photo_that_cannot_be_read_is_left_out(alexnet, data):
    cats = data.instances("toy cat", "train")[:2]
    broken, told = replace(cats[0], photo=Broken()), []
    names = data.keypoint_names["toy cat"]
    some = classification.samples(
        [broken, cats[1]], [SIFT10], names, network=alexnet, progress=lambda *now: told.append(now)
    )
    assert set(some.objects) == {1}
    assert told[-1] == (1.0, "describing objects: 2 of 2")
    with pytest.raises(ValueError, match="no object of 1 could be described; the first: "):
        classification.samples([broken], [SIFT10], names, network=alexnet)


def test_an_object_without_visible_keypoints_has_no_samples(alexnet, data):
    """At the nearest cells, and exactly at points, of which there are none."""
    cats = data.instances("toy cat", "train")[:2]
    hidden = replace(cats[0], keypoints=np.full_like(cats[0].keypoints, np.nan))
    for exact in (False, True):
        protocol = CropProtocol(longer_side_px=None, exact=exact)
        one = replace(
            cats[1], keypoints=np.where(np.arange(len(cats[1].keypoints))[:, None] < 3, cats[1].keypoints, np.nan)
        )
        found = classification.samples(
            [hidden, one], [CONV3], data.keypoint_names["toy cat"], network=alexnet, protocol=protocol
        )
        assert set(found.objects) == {1}
        assert not found.left_out


def test_where_nothing_can_be_described_the_reason_is_said(alexnet, data):
    cats, names = data.instances("toy cat", "train")[:2], data.keypoint_names["toy cat"]
    for some, feature, reason in (
        (
            cats,
            Feature("alexnet", "conv9"),
            "no object of 2 could be described; the first: layer of alexnet must be one of",
        ),
        ([], CONV3, "no object of 0 could be described; the first: there are none"),
    ):
        with pytest.raises(ValueError, match=reason):
            classification.samples(some, [feature], names, network=alexnet)


def test_the_best_cost_is_that_of_cross_validation(found, data):
    photos = [cat.photo.name for cat in data.instances("toy cat", "train")]
    cost, curve = classification.best_cost(found, SIFT20, photos, costs=(1e-4, 1e-2, 1.0), n_folds=3)
    folds = classification.folds(found, photos, 3, np.random.default_rng(0))
    by_hand = svm.cross_validate(found.features[SIFT20], found.labels, folds, costs=(1e-4, 1e-2, 1.0)).mean(axis=1)
    np.testing.assert_allclose(curve, by_hand)
    assert cost == (1e-4, 1e-2, 1.0)[int(by_hand.argmax())]
