import numpy as np
import pytest

from corrcore.metrics import bootstrap_interval, keypoint_errors, pck


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        low, high = bootstrap_interval(rng.normal(3.0, 1.0, size=60), rng=rng, n_resamples=400)
        covered += low <= 3.0 <= high
    assert 0.90 < covered / 400 < 0.98


def test_interval_of_a_normal_sample_is_near_the_textbook_one():
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrap_interval(values, rng=np.random.default_rng(2))
    margin = 1.96 * values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - margin, abs=0.015)
    assert high == pytest.approx(values.mean() + margin, abs=0.015)


def test_one_sample_has_no_interval():
    with pytest.raises(ValueError, match="needs at least 2 samples; got 1"):
        bootstrap_interval(np.array([1.0]), rng=np.random.default_rng(0))


HIDDEN = [np.nan, np.nan]
BOXES = np.array([[0, 0, 100, 50], [10, 20, 30, 60], [-0.5, -0.5, 99.5, 19.5]], dtype=float)  # longer: 100, 40, 100
TRUTH = np.array([[[10, 10], [30, 30], HIDDEN], [[15, 25], [20, 50], HIDDEN], [HIDDEN, [5, 5], HIDDEN]], dtype=float)
PREDICTED = np.array(
    [
        [[20, 10], HIDDEN, [1, 1]],  # a tenth of the box; missing
        [[15, 29.5], [20, 50], HIDDEN],  # 4.5 of 40; exact
        [[50, 50], [11, 13], [7, 7]],  # not shown; 10 of 100
    ],
    dtype=float,
)
ERRORS = np.array([[0.1, np.inf, np.nan], [0.1125, 0, np.nan], [np.nan, 0.1, np.nan]])


def accuracy(errors, **options):
    return pck(np.asarray(errors, dtype=float), rng=np.random.default_rng(0), **options)


def test_keypoint_errors_are_shares_of_the_boxs_longer_side():
    np.testing.assert_allclose(keypoint_errors(PREDICTED, TRUTH, BOXES), ERRORS)


def test_a_prediction_with_one_coordinate_missing_is_missing():
    found = keypoint_errors(np.array([[[5.0, np.nan]]]), np.array([[[5.0, 5.0]]]), BOXES[:1])
    assert found == np.inf


def test_pck_is_by_keypoint_type_and_then_the_mean():
    found = accuracy(keypoint_errors(PREDICTED, TRUTH, BOXES), alpha=0.1)
    # Of the first keypoint one of two, of the second two of three; over all keypoints it would be three of five.
    np.testing.assert_allclose(found.by_keypoint, [50, 200 / 3, np.nan])
    assert found.mean == pytest.approx((50 + 200 / 3) / 2)
    np.testing.assert_array_equal(found.shown, [2, 3, 0])


@pytest.mark.parametrize(("alpha", "expected"), [(0.0999, 0), (0.1, 100), (0.1001, 100)])
def test_an_error_of_alpha_is_right(alpha, expected):
    assert accuracy([[0.1], [0.1]], alpha=alpha).mean == expected


def test_a_missing_prediction_is_wrong_at_any_alpha():
    assert accuracy([[np.inf], [0.0]], alpha=1e300).mean == 50


def some_errors(n_objects):
    """Objects that are good or bad as a whole, and show one of three keypoints in two."""
    rng = np.random.default_rng(5)
    errors = rng.uniform(0, 0.2, (n_objects, 3)) * rng.choice([0.4, 1.4], size=(n_objects, 1))
    return np.where(rng.random(errors.shape) < (0.5, 0.9, 0.7), errors, np.nan)


def test_the_interval_is_that_of_objects_drawn_again_one_by_one():
    errors = some_errors(40)
    found = accuracy(errors, n_resamples=8000)
    rng, means = np.random.default_rng(1), []
    for _ in range(4000):
        drawn = errors[rng.integers(0, len(errors), len(errors))]
        rates = [(column[~np.isnan(column)] <= 0.1).mean() for column in drawn.T]
        means.append(100 * np.mean(rates))
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1)
    assert found.low < found.mean < found.high
    # Keypoints drawn for themselves would seem surer than they are.
    narrow = (
        2
        * 1.96
        * np.sqrt(
            sum((rate / 100) * (1 - rate / 100) / n for rate, n in zip(found.by_keypoint, found.shown, strict=True))
        )
        / 3
    )
    assert found.high - found.low > 1.1 * 100 * narrow


def test_a_narrower_level_gives_a_narrower_interval():
    wide, narrow = (accuracy(some_errors(40), level=level) for level in (0.95, 0.5))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_objects_that_show_nothing_change_nothing():
    errors = np.array([[0.05, np.nan], [0.3, 0.02]])
    empty = np.full((6, 2), np.nan)
    found, expected = accuracy(np.concatenate([errors, empty])), accuracy(errors)
    assert (found.mean, found.low, found.high) == (expected.mean, expected.low, expected.high)
    np.testing.assert_array_equal(found.shown, expected.shown)


def test_pck_of_objects_that_show_nothing_is_refused():
    with pytest.raises(ValueError, match="needs an object with at least one visible keypoint; none has any"):
        accuracy([[np.nan, np.nan]])
