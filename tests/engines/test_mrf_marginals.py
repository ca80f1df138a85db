"""Min-marginals against the least energy over all labellings, counted one by one."""

import itertools

import numpy as np
import pytest

from corrcore.engines import mrf
from tests.engines.test_mrf import energy_by_definition, random_unary


def by_brute_force(unary: np.ndarray, smoothness: float) -> np.ndarray:
    """The least energy of the labellings that give a cell a label, less that of all."""
    rows, columns, height, width = unary.shape
    labels = np.indices((height, width)).reshape(2, -1).T
    least = np.full((rows * columns, len(labels)), np.inf)
    for labelling in itertools.product(range(len(labels)), repeat=rows * columns):
        energy = sum(energy_by_definition(unary, labels[list(labelling)].reshape(rows, columns, 2), smoothness))
        for cell, label in enumerate(labelling):
            least[cell, label] = min(least[cell, label], energy)
    return (least - least.min()).reshape(unary.shape)


@pytest.mark.parametrize("method", ["trw-s", "bp"])
@pytest.mark.parametrize("shape", [(1, 4, 2, 3), (4, 1, 2, 3), (1, 4, 1, 5), (1, 1, 3, 2)])
@pytest.mark.parametrize("forbidden", [0, 0.3])
def test_on_a_chain_they_are_exact(shape, method, forbidden):
    unary = random_unary(shape, seed=3, forbidden=forbidden)
    found = mrf.min_marginals(unary, smoothness=0.07, method=method, iterations=2)
    np.testing.assert_allclose(found, by_brute_force(unary, 0.07), atol=1e-6)


def test_without_smoothness_they_are_the_costs():
    unary = random_unary((3, 4, 3, 5), seed=0)
    found = mrf.min_marginals(unary, smoothness=0.0)
    np.testing.assert_allclose(found, unary - unary.min(axis=(2, 3), keepdims=True), atol=1e-6)


def test_on_a_grid_their_order_is_mostly_the_energys():
    """Of labels of one cell, over many grids with a loop."""
    agree = []
    for seed in range(20):
        unary = random_unary((2, 2, 2, 3), seed)
        exact, found = by_brute_force(unary, 0.05), mrf.min_marginals(unary, smoothness=0.05)
        assert found.min() == 0
        first, second = (each.reshape(4, 6, 1) - each.reshape(4, 1, 6) for each in (exact, found))
        agree.append((np.sign(first) == np.sign(second)).mean())
    assert np.mean(agree) > 0.9


def test_what_cannot_be_minimised_is_refused():
    with pytest.raises(ValueError, match="iterations must be at least 1; got 0"):
        mrf.min_marginals(np.zeros((1, 1, 1, 1)), smoothness=0.1, iterations=0)
