"""Measures of a confidence, against scikit-learn's and against counts one by one."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import auc, roc_auc_score

from corrcore import metrics

N = 400
NO_RESAMPLES = np.ones((3, N))


def made_up(*, ties: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and whether points are right, as often as these say."""
    rng = np.random.default_rng(seed)
    confidences = rng.uniform(size=N)
    if ties:
        confidences = np.round(confidences, 1)
    return confidences, rng.uniform(size=N) < confidences


def test_bins_and_their_error_are_those_of_scikit_learn():
    confidences, right = made_up(ties=False)
    found = metrics.reliability(confidences, right, NO_RESAMPLES, np.arange(N))
    share, mean = calibration_curve(right, confidences, n_bins=10, strategy="quantile")
    np.testing.assert_allclose([each.value for each in found.right], 100 * share)
    np.testing.assert_allclose(found.confidences, 100 * mean)
    assert found.counts.tolist() == [N // 10] * 10
    assert found.expected_error == pytest.approx(100 * np.abs(share - mean).mean())


@pytest.mark.parametrize("ties", [False, True])
def test_risk_at_each_coverage_is_as_counted(ties):
    confidences, right = made_up(ties=ties)
    coverage, risk = metrics.risk_coverage(confidences, right)
    for number in (0, 17, N // 2, N - 1):
        least = np.sort(confidences)[::-1][number]
        surely, perhaps = confidences > least, confidences == least
        wrong = (~right[surely]).sum() + (number + 1 - surely.sum()) * (~right[perhaps]).mean()
        assert risk[number] == pytest.approx(100 * wrong / (number + 1))
    assert coverage[[0, -1]].tolist() == [100 / N, 100]


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_is_the_mean_risk(ties):
    confidences, right = made_up(ties=ties)
    found = metrics.area_under_risk_coverage(confidences, right, NO_RESAMPLES, np.arange(N))
    coverage, risk = metrics.risk_coverage(confidences, right)
    assert [found.value, found.low, found.high] == pytest.approx([risk.mean()] * 3)
    assert found.value == pytest.approx(auc(coverage, risk) / 100, abs=0.2)
    nothing = metrics.area_under_risk_coverage(np.full(N, 0.3), right, NO_RESAMPLES, np.arange(N))
    assert nothing.value == pytest.approx(100 * (~right).mean())


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_under_roc_is_scikit_learns_also_of_resamples(ties):
    scores, positive = made_up(ties=ties)
    rng = np.random.default_rng(1)
    of = rng.integers(0, 40, N)  # groups of points
    times = metrics.bootstrap_counts(40, 200, rng)
    found = metrics.area_under_roc(scores, positive, times, of)
    assert found.value == pytest.approx(roc_auc_score(positive, scores))
    expected = [roc_auc_score(positive, scores, sample_weight=each[of]) for each in times]
    np.testing.assert_allclose(found.resampled, expected)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(expected, [0.025, 0.975])))


def test_intervals_are_as_wide_as_groups_are_few():
    """Points that are the same four times over are no more than one."""
    confidences, right = made_up(ties=False)
    rng = np.random.default_rng(0)
    alone = metrics.reliability(confidences, right, metrics.bootstrap_counts(N, 1000, rng), np.arange(N), n_bins=2)
    four = [np.repeat(each, 4) for each in (confidences, right, np.arange(N))]
    times = metrics.bootstrap_counts(N, 1000, np.random.default_rng(0))
    together = metrics.reliability(four[0], four[1], times, four[2], n_bins=2)
    for one, other in zip(alone.right, together.right, strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high))
    assert 3 < alone.right[0].high - alone.right[0].low < 20


def test_a_roc_curve_of_one_kind_is_refused():
    with pytest.raises(ValueError, match="needs points of both kinds; got 0 positive ones of 400"):
        metrics.area_under_roc(np.zeros(N), np.zeros(N, bool), NO_RESAMPLES, np.arange(N))
