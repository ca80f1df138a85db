"""An alignment to draw."""

import numpy as np
import pytest

from corrcore.engines.mrf import Solution
from corrcore.geometry import CellGrid, ReceptiveField
from corrcore.tasks.alignment import Alignment


@pytest.fixture
def alignment():
    """Of 4 x 5 cells of 16 px; all stay but one, which moves a cell to the right and one down."""
    cells = CellGrid(ReceptiveField(31, 16, 7.5), 4, 5, (80, 64))
    displacement = np.zeros((4, 5, 2))
    displacement[1, 2] = 2, 1
    history = np.array([[9.0, 1.0], [7.0, 2.0], [8.0, 3.0]])
    solution = Solution(np.zeros((4, 5, 2), int), 5.0, 2.0, 3.0, history)
    return Alignment(cells, cells, solution, displacement)
