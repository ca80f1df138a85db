from dataclasses import replace
from math import comb

import numpy as np
import pytest

from corrcore.metrics import (
    accuracy,
    bootstrap_counts,
    bootstrap_interval,
    bootstrap_pair_counts,
    difference,
    keypoint_errors,
    mcnemar,
    mean_of,
    pck,
)


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


def pck_of(errors, **options):
    return pck(np.asarray(errors, dtype=float), rng=np.random.default_rng(0), **options)


def test_keypoint_errors_are_shares_of_the_boxs_longer_side():
    np.testing.assert_allclose(keypoint_errors(PREDICTED, TRUTH, BOXES), ERRORS)


def test_a_prediction_with_one_coordinate_missing_is_missing():
    found = keypoint_errors(np.array([[[5.0, np.nan]]]), np.array([[[5.0, 5.0]]]), BOXES[:1])
    assert found == np.inf


def test_pck_is_by_keypoint_type_and_then_the_mean():
    found = pck_of(keypoint_errors(PREDICTED, TRUTH, BOXES), alpha=0.1)
    # Of the first keypoint one of two, of the second two of three; over all keypoints it would be three of five.
    np.testing.assert_allclose(found.by_keypoint, [50, 200 / 3, np.nan])
    assert found.mean == pytest.approx((50 + 200 / 3) / 2)
    np.testing.assert_array_equal(found.shown, [2, 3, 0])


@pytest.mark.parametrize(("alpha", "expected"), [(0.0999, 0), (0.1, 100), (0.1001, 100)])
def test_an_error_of_alpha_is_right(alpha, expected):
    assert pck_of([[0.1], [0.1]], alpha=alpha).mean == expected


def test_a_missing_prediction_is_wrong_at_any_alpha():
    assert pck_of([[np.inf], [0.0]], alpha=1e300).mean == 50


def some_errors(n_objects):
    """Objects that are good or bad as a whole, and show one of three keypoints in two."""
    rng = np.random.default_rng(5)
    errors = rng.uniform(0, 0.2, (n_objects, 3)) * rng.choice([0.4, 1.4], size=(n_objects, 1))
    return np.where(rng.random(errors.shape) < (0.5, 0.9, 0.7), errors, np.nan)


def test_the_interval_is_that_of_objects_drawn_again_one_by_one():
    errors = some_errors(40)
    found = pck_of(errors, n_resamples=8000)
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
    wide, narrow = (pck_of(some_errors(40), level=level) for level in (0.95, 0.5))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_objects_that_show_nothing_change_nothing():
    errors = np.array([[0.05, np.nan], [0.3, 0.02]])
    empty = np.full((6, 2), np.nan)
    found, expected = pck_of(np.concatenate([errors, empty])), pck_of(errors)
    assert (found.mean, found.low, found.high) == (expected.mean, expected.low, expected.high)
    np.testing.assert_array_equal(found.shown, expected.shown)


def test_pck_of_objects_that_show_nothing_is_refused():
    with pytest.raises(ValueError, match="needs an object with at least one visible keypoint; none has any"):
        pck_of([[np.nan, np.nan]])


# --- Rows compared ---------------------------------------------------------------------------------------------------


def drawn(n, n_resamples=1000, seed=0):
    return bootstrap_counts(n, n_resamples, np.random.default_rng(seed))


# Of the first keypoint type one of two, of the second none of one, of the third three of three.
HIT = np.array([[True, False, True], [False, False, True], [False, False, True]])
SHOWN = np.array([[True, False, True], [True, True, True], [False, False, True]])


@pytest.mark.parametrize(
    ("over", "expected"),
    [("macro", (50 + 0 + 100) / 3), ("per_image", (100 + 100 / 3 + 100) / 3), ("micro", 100 * 4 / 6)],
)
def test_accuracy_is_averaged_as_asked(over, expected):
    assert accuracy(HIT, SHOWN, drawn(3), over=over).value == pytest.approx(expected)


def test_a_hit_that_is_not_shown_counts_for_nothing():
    assert accuracy(HIT | ~SHOWN, SHOWN, drawn(3)).value == accuracy(HIT, SHOWN, drawn(3)).value


def test_accuracy_over_types_is_pck():
    errors = some_errors(40)
    errors = errors[~np.isnan(errors).all(axis=1)]
    expected = pck_of(errors)
    found = accuracy(np.nan_to_num(errors, nan=np.inf) <= 0.1, ~np.isnan(errors), drawn(len(errors)))
    assert (found.value, found.low, found.high) == (expected.mean, expected.low, expected.high)


def two_rows(n_objects):
    """Objects that are hard or easy for both rows alike; the first is a little better."""
    rng = np.random.default_rng(3)
    easy = rng.choice([0.2, 0.8], size=(n_objects, 1))
    shown = rng.random((n_objects, 4)) < 0.7
    shown[:, 0] = True
    common = rng.random((n_objects, 4))
    return (common < easy + 0.08), (common < easy), shown


def one_by_one(hit, shown, over):
    """The averages in words."""
    if over == "macro":
        return 100 * np.mean([h[s].mean() for h, s in zip(hit.T, shown.T, strict=True) if s.any()])
    if over == "per_image":
        return 100 * np.mean([h[s].mean() for h, s in zip(hit, shown, strict=True)])
    return 100 * hit[shown].mean()


@pytest.mark.parametrize("over", ["macro", "per_image", "micro"])
def test_the_difference_of_two_rows_is_that_of_the_same_objects_drawn_again(over):
    first, second, shown = two_rows(60)
    found = difference(first, second, shown, drawn(60, 8000), over=over)
    rng, differences = np.random.default_rng(1), []
    for _ in range(4000):
        n = rng.integers(0, 60, 60)
        differences.append(one_by_one(first[n], shown[n], over) - one_by_one(second[n], shown[n], over))
    assert found.value == pytest.approx(one_by_one(first, shown, over) - one_by_one(second, shown, over))
    assert (found.low, found.high) == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=0.4)
    # Rows resampled for themselves would leave far more open.
    apart = [accuracy(hit, shown, drawn(60, seed=n), over=over).resampled for n, hit in enumerate((first, second))]
    assert np.subtract(*np.quantile(apart[0] - apart[1], [0.975, 0.025])) > 2 * (found.high - found.low)


def test_objects_of_one_group_are_drawn_together():
    first, second, shown = two_rows(30)
    twice = [np.repeat(each, 2, axis=0) for each in (first, second, shown)]
    photos = np.repeat(np.arange(30), 2)
    alone = difference(first, second, shown, drawn(30))
    assert difference(*twice, drawn(30)[:, photos]).low == pytest.approx(alone.low)
    assert difference(*twice, drawn(60)).low > alone.low


def test_p_is_the_share_of_resamples_beyond_zero_on_both_sides():
    rng, shown = np.random.default_rng(4), np.full((25, 3), True)
    first, second = rng.random((25, 3)) < 0.55, rng.random((25, 3)) < 0.4
    found = difference(first, second, shown, drawn(25, 999))
    beyond = sum(value <= 0 for value in found.resampled)
    assert 0 < beyond < 500
    assert found.p_value == pytest.approx(2 * (beyond + 1) / 1000)
    assert difference(second, first, shown, drawn(25, 999)).p_value == found.p_value


@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_samples_of_one_sign_are_no_certainty(n):
    shown = np.full((n, 3), True)
    found = difference(shown, ~shown, shown, drawn(n))
    assert found.p_value < 0.01
    assert replace(found, samples=n).p_value == pytest.approx(2 ** (1 - n))  # the sign test's
    both = mean_of([replace(found, samples=n)] * 2, rng=np.random.default_rng(0))
    assert both.p_value == pytest.approx(2 ** (1 - 2 * n))


def test_rows_that_are_the_same_do_not_differ():
    first, _, shown = two_rows(25)
    found = difference(first, first, shown, drawn(25))
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_p_of_rows_that_are_equally_good_is_small_as_seldom_as_it_says():
    rng, small = np.random.default_rng(7), 0
    for n in range(300):
        first, second = rng.random((2, 80, 1)) < 0.5
        found = difference(first, second, np.full((80, 1), True), drawn(80, 400, seed=n))
        small += found.p_value <= 0.05
    assert 0.02 < small / 300 < 0.09


def test_the_mean_of_independent_estimates_is_surer_than_each():
    hit = np.random.default_rng(0).random((200, 1)) < 0.5
    each = [accuracy(hit, np.full((200, 1), True), drawn(200)) for _ in range(4)]  # resampled alike, as if by one seed
    found = mean_of(each, rng=np.random.default_rng(0))
    assert found.value == pytest.approx(np.mean([one.value for one in each]))
    width = np.sqrt(sum((one.high - one.low) ** 2 for one in each)) / 4  # independent errors
    assert found.high - found.low == pytest.approx(width, rel=0.1)


def test_an_object_that_shows_nothing_is_refused():
    with pytest.raises(ValueError, match="every object must show a keypoint; 1 of 3 show none"):
        accuracy(HIT, SHOWN & np.array([[True], [False], [True]]), drawn(3))


def test_mcnemar_counts_what_only_one_has_right():
    first = np.array([True] * 9 + [False] * 2 + [True] * 5 + [False] * 4)
    second = np.array([False] * 9 + [True] * 2 + [True] * 5 + [False] * 4)
    found = mcnemar(first, second)
    assert (found.first_only, found.second_only) == (9, 2)
    # By chance each of the 11 would go either way: at most 2 on one of the two sides.
    assert found.p == pytest.approx(2 * sum(comb(11, n) for n in range(3)) / 2**11)


@pytest.mark.parametrize("pair", [([True, False], [True, False]), ([True, False], [False, True])])
def test_mcnemar_of_rows_equally_good_is_no_difference(pair):
    assert mcnemar(*map(np.array, pair)).p == 1


def test_pairs_are_there_as_often_as_their_photos_are():
    """Against lists of photos drawn one by one, in which every pair is looked up."""
    first, second = np.array([5, 5, 7, 9]), np.array([7, 9, 5, 7])
    found = bootstrap_pair_counts(first, second, 200, np.random.default_rng(3))
    drawn = bootstrap_counts(3, 200, np.random.default_rng(3)).astype(int)
    compared = 0
    for times, counts in zip(found, drawn, strict=True):
        photos = np.repeat([5, 7, 9], counts)
        expected = [
            sum(a == one and b == other for a in photos for b in photos)
            for one, other in zip(first, second, strict=True)
        ]
        if any(expected):
            compared += 1
            assert times.tolist() == expected
    assert compared > 150
    assert found.any(axis=1).all()  # those without any pair were drawn again


def test_an_interval_over_photos_covers_as_often_as_it_says_and_one_over_pairs_does_not():
    """Photos are good or bad targets: 380 pairs of 20 photos tell as much as 20 photos do."""
    rng, covered = np.random.default_rng(0), {"photos": 0, "pairs": 0}
    sources, targets = np.array([(a, b) for a in range(20) for b in range(20) if a != b]).T
    for _ in range(200):
        chance = rng.uniform(size=20)
        hit = rng.uniform(size=len(targets)) < chance[targets]
        times = {
            "photos": bootstrap_pair_counts(sources, targets, 200, rng),
            "pairs": bootstrap_counts(len(hit), 200, rng),
        }
        for over, each in times.items():
            found = accuracy(hit[:, None], np.ones((len(hit), 1), bool), each, over="micro")
            covered[over] += found.low <= 50 <= found.high
    assert covered["photos"] / 200 > 0.9
    assert covered["pairs"] / 200 < 0.7


def test_a_photo_is_no_pair_with_itself():
    with pytest.raises(ValueError, match="needs pairs of two different photos"):
        bootstrap_pair_counts(np.array([0, 1]), np.array([1, 1]), 10, np.random.default_rng(0))
