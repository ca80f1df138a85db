"""Numbers that say how good a result is, and how sure."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float


def bootstrap_interval(
    values: Float[np.ndarray, " samples"],
    *,
    rng: np.random.Generator,
    statistic: Callable[..., np.ndarray] = np.mean,
    level: float = 0.95,
    n_resamples: int = 2000,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean over independent samples (photos, say, not their cells).

    Or of another `statistic`, such as `numpy.median`, which bears infinite values. Raises ValueError for fewer than
    two samples, of which no spread can be told.
    """
    if len(values) < 2:
        msg = f"an interval needs at least 2 samples; got {len(values)}."
        raise ValueError(msg)
    resampled = statistic(values[rng.integers(0, len(values), size=(n_resamples, len(values)))], axis=1)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return float(low), float(high)
