"""Charts of one measurement."""

from dataclasses import replace

import numpy as np

from corrcore.engines.mrf import Solution
from corrcore.features import Feature
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


def test_curves_of_sift_are_told_apart_by_dashes_and_labels_that_do_not_touch():
    radii = [Feature("sift", radius) for radius in ("10", "20", "40", "80")]
    curves = {feature: ((0.1, 1.0), (0.2, 0.7 + 0.001 * number)) for number, feature in enumerate(radii)}
    colours = dict.fromkeys(radii, "#05875f")
    figure = figures.accuracy_curves(curves, dict.fromkeys(radii, 1.0), colours=colours, highest=0.8)
    assert len({trace["line"]["dash"] for trace in figure.data}) == 4
    labels = figure.layout.annotations
    assert [label["text"] for label in labels] == ["10 px", "20 px", "40 px", "80 px"]
    assert min(np.diff([label["y"] for label in labels])) > 4  # percent, of some 80 over 300 px
