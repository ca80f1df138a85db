"""Charts of tables."""

import numpy as np
import pytest

from corrcore.experiments import Row
from dashboard import figures

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")


def style(key):
    """How a row is drawn, by its key."""
    return figures.row_style(Row.parse(key, network="any"), LAYERS)


def test_bars_stand_side_by_side_with_whiskers_and_the_published_numbers_over_them():
    rows = {"conv4": [(30.0, 25.0, 37.0), (40.0, 38.0, 41.0)], "SIFT": [(20.0, 19.0, 22.0), (np.nan,) * 3]}
    styles = {
        "conv4": style("conv4"),
        "SIFT": style("sift16+5 priors"),
    }
    figure = figures.category_bars(rows, {"conv4": [19.6, None], "SIFT": [None, None]}, ["cat", "cow"], styles=styles)
    conv4, paper, sift = figure.data
    np.testing.assert_allclose(conv4.error_y.array, [7, 1])
    np.testing.assert_allclose(conv4.error_y.arrayminus, [5, 2])
    assert (paper.x[0], paper.y[0], len(paper.x)) == (conv4.x[0], 19.6, 1)
    assert (paper.marker.symbol, paper.marker.color) == ("diamond", "white")
    assert paper.marker.line.color == "#202020"  # seen on hatching, on white and on dark
    gap = sift.x[0] - conv4.x[0]
    assert conv4.width <= gap < 0.5
    assert sift.marker.pattern.shape == "/"


@pytest.mark.parametrize("n", [2, 8])
def test_legends_lie_over_the_plot_with_room_for_every_row(n):
    rows = {f"row {k}": [(1.0, 0.0, 2.0)] for k in range(n)}
    styles = {row: style("conv5") for row in rows}
    for figure in (
        figures.by_difficulty(rows, ["15"], title="", highest=10, styles=styles),
        figures.category_bars(rows, {}, ["cat"], styles=styles),
    ):
        legend = figure.layout.legend
        assert legend.yanchor == "bottom"
        assert legend.y > 1
        assert figure.layout.margin.t >= 20 * n / 2  # two names a line


def test_labels_of_curves_do_not_lie_on_one_another():
    ends = {row: [(0.0, 0.0, 0.0), (50 + n / 10, 40.0, 60.0)] for n, row in enumerate("abc")}
    figure = figures.pck_curves(
        ends,
        [0, 0.2],
        at=0.1,
        styles={row: style("conv4") for row in ends},
    )
    places = [note.y for note in figure.layout.annotations]
    assert [note.text for note in figure.layout.annotations] == ["a", "b", "c"]
    assert np.diff(places).min() >= 4


def test_rows_stand_under_their_groups_with_intervals_and_hollow_published_numbers():
    groups = {
        "AlexNet": [
            figures.Dot("conv1", (30.0, 25.0, 37.0), "#0d84c9", 17.0),
            figures.Dot("conv5", (40.0, 38.0, 41.0), "#cf7c00"),
        ],
        "ViT": [figures.Dot("norm", (50.0, 49.0, 51.0), "#cf7c00")],
    }
    figure = figures.grouped_dots(groups, title="PCK")
    conv1, paper, conv5, norm = figure.data
    assert (conv1.name, conv1.x[0], conv1.marker.color) == ("AlexNet · conv1", 30, "#0d84c9")
    assert (conv1.error_x.array[0], conv1.error_x.arrayminus[0]) == (7, 5)
    assert (paper.name, paper.x[0], paper.y[0]) == ("AlexNet · conv1, published", 17, conv1.y[0])
    assert paper.marker.symbol.endswith("open")
    ticks = dict(zip(figure.layout.yaxis.ticktext, figure.layout.yaxis.tickvals, strict=True))
    assert [ticks[name] for name in ("conv1", "conv5", "norm")] == [conv1.y[0], conv5.y[0], norm.y[0]]
    assert ticks["<b>AlexNet</b>"] < ticks["conv1"] < ticks["conv5"] < ticks["<b>ViT</b>"] < ticks["norm"]
    bottom, top = figure.layout.yaxis.range
    assert bottom > ticks["norm"]  # the first row is above the last
    assert top < ticks["<b>AlexNet</b>"]
    many = figures.grouped_dots({"a": groups["AlexNet"] * 20}, title="PCK")
    assert many.layout.height / 40 > 20  # px a row
