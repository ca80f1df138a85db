"""Numbers that say how good a result is, and how sure."""

import numpy as np
from jaxtyping import Float


def bootstrap_interval(
    values: Float[np.ndarray, " samples"],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    n_resamples: int = 2000,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean over independent samples (photos, say, not their cells).

    Raises ValueError for fewer than two samples, of which no spread can be told.
    """
    if len(values) < 2:
        msg = f"an interval needs at least 2 samples; got {len(values)}."
        raise ValueError(msg)
    means = values[rng.integers(0, len(values), size=(n_resamples, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
