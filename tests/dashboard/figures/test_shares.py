"""Positional shares as pictures, at one scale of colours."""

from dataclasses import replace

import numpy as np

from corrcore.tasks.position import Position
from dashboard import figures


def layer(values):
    return Position("conv4", np.array(values, float), {}, 0.0, 0.0, np.zeros(0), (64, 64), 2, {})


def test_colours_end_at_the_highest_share_and_never_below_a_tenth():
    low, high = layer([[0.0, 0.02], [0.01, 0.03]]), layer(np.full((2, 2), 0.6))
    assert figures.share_limit([low]) == 0.1
    assert figures.share_limit([low, high]) == 0.6
    assert figures.share_limit([replace(high, map=high.map * 2)]) == 1


def test_equal_shares_of_layers_have_one_colour_and_cells_are_squares():
    first, second = layer([[0.0, 0.2], [0.1, 0.3]]), layer([[0.3, 0.1], [0.2, -0.01]])
    one, other = (figures.share_picture(each, limit=0.3) for each in (first, second))
    assert one.shape == other.shape
    side = len(one) // 2
    assert (one[:side, :side] == one[0, 0]).all()
    np.testing.assert_array_equal(one[-1, -1], other[0, 0])
    np.testing.assert_array_equal(one[0, 0], other[-1, -1])  # nothing is below 0
    assert (one[0, 0] != one[-1, -1]).any()
