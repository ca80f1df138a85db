"""Linear support vector machines, against liblinear (through scikit-learn) and arithmetic."""

import inspect
import re

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from corrcore.engines import svm
from corrcore.engines.svm import descent
from corrcore.engines.svm.samples import Rows


def problem(n=600, d=40, classes=5, seed=0, spread=0.5):
    """Samples of classes that overlap."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    centres = spread * rng.normal(size=(classes, d))
    return np.maximum(centres[labels] + rng.normal(size=(n, d)), 0).astype(np.float32), labels


def objective(features, signs, weights, bias, cost, sample_weights=1.0):
    """P as liblinear has it, in double precision."""
    slack = np.maximum(0, 1 - signs * (features.astype(float) @ weights + bias))
    return (weights @ weights + bias**2) / 2 + cost * (sample_weights * slack**2).sum()


@pytest.mark.parametrize("cost", [1e-4, 0.01, 1.0, 30.0])
def test_objective_and_predictions_are_liblinears(cost):
    features, labels = problem()
    found = svm.fit(features, labels, cost=cost, device="cpu")
    peer = LinearSVC(C=cost, tol=1e-6, max_iter=200_000).fit(features, labels)
    for number in range(5):
        signs = np.where(labels == number, 1, -1)
        own = objective(features, signs, found.weights[number], found.bias[number], cost)
        theirs = objective(features, signs, peer.coef_[number], peer.intercept_[number], cost)
        assert own <= theirs * (1 + 1e-4)
        assert found.objective[number] == pytest.approx(own, rel=1e-4)
    assert (found.predict(features) == peer.predict(features)).mean() >= 0.999


@pytest.mark.parametrize("tolerance", [0.1, 1e-3, 1e-6])
def test_the_gap_is_certain(tolerance):
    features, labels = problem(seed=1)
    features = features.astype(np.float64)
    best = svm.fit(features, labels, tolerance=1e-12, device="cpu").objective
    found = svm.fit(features, labels, tolerance=tolerance, device="cpu")
    assert (found.objective - best <= found.gap + 1e-9 * best).all()
    assert (found.gap <= tolerance * found.objective).all()


def test_the_gradient_vanishes_at_the_solution():
    features, labels = problem(n=60, d=80, seed=2)
    features = features.astype(np.float64)
    found = svm.fit(features, labels, cost=2.0, tolerance=1e-14, device="cpu")
    signs = np.where(labels == 3, 1, -1)
    slack = np.maximum(0, 1 - signs * (features @ found.weights[3] + found.bias[3]))
    np.testing.assert_allclose(found.weights[3], 2 * 2.0 * (slack * signs) @ features, atol=1e-5)
    np.testing.assert_allclose(found.bias[3], 2 * 2.0 * (slack * signs).sum(), atol=1e-5)


def test_raw_activations_of_any_scale_are_solved():
    features, labels = problem(seed=3)
    for scale in (1e-4, 300.0):
        scaled = features * np.float32(scale) + np.float32(5 * scale)
        found = svm.fit(scaled, labels, cost=1.0, device="cpu")
        peer = LinearSVC(C=1.0, tol=1e-5, max_iter=500_000, dual=False).fit(scaled.astype(float), labels)
        signs = np.where(labels == 0, 1, -1)
        own = objective(scaled, signs, found.weights[0], found.bias[0], 1.0)
        assert own <= objective(scaled, signs, peer.coef_[0], peer.intercept_[0], 1.0) * (1 + 1e-3)


def given_to_minimise(features, labels, cost):
    """What `descent.minimise` is given: samples, signs, costs and weights to begin with."""
    samples, signs = Rows(torch.from_numpy(features)), torch.from_numpy(svm.one_against_all(labels, None).T)
    return samples, signs, torch.full_like(signs, cost), torch.zeros(len(signs), features.shape[1] + 1)


@pytest.mark.parametrize(("n", "scale", "offset"), [(300, 100.0, 0.0), (600, 30.0, 0.0), (300, 1.0, 100.0)])
def test_fewer_samples_than_features_of_any_scale_have_a_solution_that_knows_itself(n, scale, offset):
    rng = np.random.default_rng(n)
    labels = np.arange(n) % 3
    centres = rng.normal(size=(3, 800))[labels] * 0.1
    features = (np.maximum(rng.normal(size=(n, 800)) + centres, 0) * scale + offset).astype(np.float32)
    given = given_to_minimise(features, labels, 0.01)
    w = descent.minimise(*given, tolerance=1e-4, most_steps=8)
    objectives, gaps = descent.certify(*given[:3], w)
    inputs, w = np.c_[features.astype(float), np.ones(n)], w.T.numpy().astype(float)
    assert ((inputs @ w).argmax(axis=1) == labels).all()
    for number in range(3):
        signs, weights = np.where(labels == number, 1, -1), w[:, number]
        slack = np.maximum(0, 1 - signs * (inputs @ weights))
        gradient = weights - 2 * 0.01 * (slack * signs) @ inputs
        assert float(objectives[number]) == pytest.approx(weights @ weights / 2 + 0.01 * (slack**2).sum(), rel=1e-6)
        assert float(gaps[number]) == pytest.approx(gradient @ gradient / 2, rel=1e-3)


def test_many_more_features_than_a_preconditioner_has_directions_are_solved_too():
    features, labels = problem(n=80, d=400, seed=4)
    found = svm.fit(features, labels, device="cpu", tolerance=1e-5)
    expected = svm.fit(features.astype(np.float64), labels, device="cpu", tolerance=1e-12)
    np.testing.assert_allclose(found.weights, expected.weights, atol=3e-3)
    assert (expected.gap <= 1e-12 * expected.objective).all()


def test_weights_count_as_repetition():
    features, labels = problem(n=80, d=6, seed=5)
    weights = np.random.default_rng(0).integers(0, 3, 80).astype(float)
    weights[:5] = 1
    found = svm.fit(features, labels, weights=weights, tolerance=1e-7, device="cpu")
    repeated = np.repeat(np.arange(80), weights.astype(int))
    expected = svm.fit(features[repeated], labels[repeated], tolerance=1e-7, device="cpu")
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-3)


def test_targets_may_overlap_and_leave_samples_out():
    features, labels = problem(n=100, d=8, seed=6)
    targets = svm.one_against_all(labels, None)
    targets[:50, 0] = 0
    found = svm.fit_targets(features, targets, tolerance=1e-7, device="cpu")
    alone = svm.fit_targets(features[50:], targets[50:, :1], tolerance=1e-7, device="cpu")
    np.testing.assert_allclose(found.weights[0], alone.weights[0], atol=1e-3)


def test_a_start_near_the_end_takes_no_step():
    features, labels = problem(seed=7)
    targets, steps = svm.one_against_all(labels, None), []
    first = svm.fit_targets(features, targets, device="cpu", tolerance=1e-5, progress=steps.append)
    assert len(steps) > 3
    steps.clear()
    again = svm.fit_targets(features, targets, start=first, device="cpu", tolerance=1e-4, progress=steps.append)
    assert steps == [0]  # told before each step, and before what would be the first
    np.testing.assert_array_equal(again.weights, first.weights)


def test_scores_are_those_of_the_hyperplanes():
    found = svm.LinearClassifier(
        weights=np.array([[1.0, 0.0], [0.0, 2.0]]),
        bias=np.array([0.5, -1.0]),
        cost=1.0,
        objective=np.zeros(2),
        gap=np.zeros(2),
    )
    np.testing.assert_array_equal(found.scores(np.array([[[3.0, 1.0]]])), [[[3.5, 1.0]]])
    np.testing.assert_array_equal(found.predict(np.array([[3.0, 1.0], [0.0, 4.0]])), [0, 1])


# --- Cross validation ------------------------------------------------------------------------------------------------


def test_cross_validation_is_training_without_each_fold():
    features, labels = problem(n=300, d=20, classes=3, seed=8)
    folds = np.random.default_rng(1).integers(0, 4, 300)
    costs, told = (10.0, 0.01, 0.3), []
    right = svm.cross_validate(features, labels, folds, costs=costs, tolerance=1e-6, device="cpu", progress=told.append)
    for number, cost in enumerate(costs):
        for fold in range(4):
            out = folds == fold
            peer = LinearSVC(C=cost, tol=1e-6, max_iter=200_000).fit(features[~out], labels[~out])
            expected = peer.predict(features[out]) == labels[out]
            assert (right[number, out] == expected).mean() >= 0.98
    assert told == pytest.approx([1 / 3, 2 / 3, 1])


def test_cross_validation_says_which_class_a_fold_needs():
    features, labels = problem(n=40, d=5, classes=2)
    text = "every class needs samples outside of every fold; class 1 has none outside of fold 0."
    with pytest.raises(ValueError, match=re.escape(text)):
        svm.cross_validate(features, labels, np.where(labels == 1, 0, 1), costs=(1.0,))
    with pytest.raises(ValueError, match="costs must have at least one value"):
        svm.cross_validate(features, labels, np.arange(40) % 2, costs=())


# --- What is refused -------------------------------------------------------------------------------------------------


def broken(value):
    features, labels = problem(n=20, d=3, classes=2)
    features[7, 1] = value
    return features, labels


@pytest.mark.parametrize(
    ("features", "labels", "options", "text"),
    [
        (*broken(np.nan), {}, "features must be finite numbers; sample 7 has others."),
        (*broken(np.inf), {}, "features must be finite numbers; sample 7 has others."),
        (np.ones((5, 2)), np.zeros(5, int), {}, "samples of at least 2 classes; got 5 samples of 1."),
        (np.ones((0, 2)), np.zeros(0, int), {}, "samples of at least 2 classes; got 0 samples of 0."),
        (
            np.ones((5, 2)),
            np.array([0, 0, 1, 1, 0]),
            {"n_classes": 3},
            "every class needs samples in it and samples against it; class 2 of 3 does not have both.",
        ),
        (np.ones((2, 2)), np.array([0, 5]), {"n_classes": 3}, "labels must be between 0 and 2; got 0 to 5."),
        (np.ones((2, 2)), np.array([0, -1]), {"n_classes": 3}, "labels must be between 0 and 2; got -1 to 0."),
        (*broken(0), {"cost": 0.0}, "cost must be a positive number; got 0.0."),
        (*broken(0), {"cost": np.nan}, "cost must be a positive number; got nan."),
    ],
)  # fmt: skip
def test_bad_input_is_named(features, labels, options, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        svm.fit(features, labels, **options)


def test_no_samples_are_too_few():
    with pytest.raises(ValueError, match="at least 2 classes; got 0 samples of 3"):
        svm.fit(np.zeros((0, 2), np.float32), np.zeros(0, int), n_classes=3)


def test_features_and_labels_of_different_samples_are_refused():
    fit_targets = inspect.unwrap(svm.fit_targets)  # without the tests' own check of shapes
    with pytest.raises(ValueError, match="of the same samples, at least 2; got 4 and 3"):
        fit_targets(np.ones((4, 2)), np.ones((3, 2)), device="cpu")


def test_five_samples_are_enough_for_two_classes():
    found = svm.fit(np.array([[0.0], [0.1], [0.2], [3.0], [3.1]]), np.array([0, 0, 0, 1, 1]), cost=10.0)
    np.testing.assert_array_equal(found.predict(np.array([[0.0], [4.0]])), [0, 1])


@pytest.mark.gpu
def test_a_gpu_finds_the_same(cuda):
    features, labels = problem()
    own, found = (svm.fit(features, labels, device=device) for device in ("cpu", cuda))
    np.testing.assert_allclose(found.objective, own.objective, rtol=1e-3)
