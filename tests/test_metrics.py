import numpy as np
import pytest

from corrcore.metrics import bootstrap_interval


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
