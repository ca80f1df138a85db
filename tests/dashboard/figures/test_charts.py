"""Charts of one measurement."""

from dataclasses import replace

import numpy as np

from corrcore.engines.mrf import Solution
from dashboard import figures


def test_the_energy_is_the_least_so_far_and_the_bound_as_it_was(alignment):
    energy, bound = figures.energy_history(alignment.solution).data
    assert (energy["name"], bound["name"]) == ("energy", "lower bound")
    assert list(energy["x"]) == [1, 2, 3]
    assert list(energy["y"]) == [9, 7, 7]
    assert list(bound["y"]) == [1, 2, 3]


def test_the_energy_ends_at_that_of_the_solution(alignment):
    better = replace(alignment.solution, data=4.5)  # improved cell by cell after the last iteration
    energy, bound = figures.energy_history(better).data
    assert list(energy["y"]) == [9, 7, 7, better.energy]
    assert list(energy["x"]) == [1, 2, 3, 4]
    assert len(bound["y"]) == 3
    assert energy["customdata"][-1] == "improving single cells"


def test_without_a_bound_only_the_energy_is_drawn():
    history = np.array([[9.0, -np.inf], [7.0, -np.inf]])
    figure = figures.energy_history(Solution(np.zeros((1, 1, 2), int), 7.0, 0.0, -np.inf, history))
    assert [trace["name"] for trace in figure.data] == ["energy"]
    assert [annotation["text"] for annotation in figure.layout.annotations] == ["energy"]
