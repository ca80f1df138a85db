"""Classifiers of several features at once, against the steps they consist of."""

import numpy as np
import pytest

from corrcore.datasets import toy
from corrcore.features import SIFT, Feature
from corrcore.tasks import classification
from corrcore.tasks.classification import CropProtocol

CONV3, SIFT20 = Feature("alexnet", "conv3"), Feature(SIFT, "20")
PROTOCOL = CropProtocol(longer_side_px=250, sides=False)


@pytest.fixture(scope="module")
def data():
    return toy.load(n_train=5, n_val=1)


@pytest.fixture(scope="module")
def steps(alexnet, data):
    """Samples, and what trains a feature's classifier on them at a cost."""
    names = data.keypoint_names["toy cat"]
    found = classification.samples(
        data.instances("toy cat", "train"), [CONV3, SIFT20], names, network=alexnet, protocol=PROTOCOL
    )

    def train(feature, cost):
        return classification.train(
            found, feature, classification.class_names(names, PROTOCOL), cost=cost, protocol=PROTOCOL
        )

    return found, train


def trained(alexnet, data, **options):
    return classification.train_classifiers(
        data.instances("toy cat", "train"),
        [CONV3, SIFT20],
        data.keypoint_names["toy cat"],
        network=alexnet,
        protocol=PROTOCOL,
        **options,
    )


def assert_same(one, other):
    assert (one.feature, one.names, one.protocol) == (other.feature, other.names, other.protocol)
    assert one.linear.cost == other.linear.cost
    np.testing.assert_allclose(one.linear.weights, other.linear.weights, atol=1e-5)


@pytest.mark.parametrize("cost", [2.0, {CONV3: 0.5, SIFT20: 10.0}])
def test_costs_are_those_given_for_all_or_for_each(alexnet, data, steps, cost):
    for feature, classifier in trained(alexnet, data, cost=cost).items():
        assert_same(classifier, steps[1](feature, cost[feature] if isinstance(cost, dict) else cost))


def test_without_a_cost_it_is_the_best_of_cross_validation(alexnet, data, steps):
    photos, told = [one.photo.name for one in data.instances("toy cat", "train")], []
    found = trained(alexnet, data, progress=lambda *now: told.append(now))
    assert list(found) == [CONV3, SIFT20]
    for feature, classifier in found.items():
        assert_same(classifier, steps[1](feature, classification.best_cost(steps[0], feature, photos)[0]))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert told[-1] == (pytest.approx(0.9), "training classifiers of SIFT, radius 20 px")
