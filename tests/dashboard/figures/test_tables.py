"""Tables drawn."""

import numpy as np

from dashboard import figures

from .pixels import covered


def test_a_drawn_table_has_its_cells_in_the_colours_of_its_numbers():
    cells = [["conv4", "50.0", ""], ["NN", "0.0", "9.9"]]
    picture = figures.table_picture("A table", ["", "cat", "cow"], cells, [[None, 1.0, None], [None, 0.0, 0.5]])
    full = np.array(figures.TEAL)
    half = np.rint((255 + full) / 2)
    there = {tuple(pixel) for pixel in picture.reshape(-1, 3)}
    assert tuple(full) in there
    assert tuple(half.astype(int)) in there
    top = covered(picture, full)
    assert np.ptp(top[:, 1]) < 50  # one row of cells
