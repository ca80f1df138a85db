"""Pictures and charts of alignments: what is drawn, where, and in which colour."""

import colorsys

import numpy as np
import pytest
from PIL import ImageColor

from corrcore.engines.mrf import Solution
from corrcore.geometry import CellGrid, ReceptiveField
from corrcore.tasks.alignment import Alignment
from dashboard import figures

GREY = np.full((60, 80, 3), 128, np.uint8)
VIRIDIS_ENDS = ((68, 1, 84), (253, 231, 37))


def rgb(number):
    return ImageColor.getrgb(figures.keypoint_colour(number))


def is_colour(pixel, colour):
    return np.abs(pixel.astype(int) - colour).max() <= 2


def covered(picture, colour):
    """(x, y) of the pixels that have a colour."""
    return np.argwhere(np.abs(picture.astype(int) - colour).max(axis=-1) <= 2)[:, ::-1]


@pytest.fixture
def alignment():
    """Of 4 x 5 cells of 16 px; all stay but one, which moves a cell to the right and one down."""
    cells = CellGrid(ReceptiveField(31, 16, 7.5), 4, 5, (80, 64))
    displacement = np.zeros((4, 5, 2))
    displacement[1, 2] = 2, 1
    history = np.array([[9.0, 1.0], [7.0, 2.0], [8.0, 3.0]])
    solution = Solution(np.zeros((4, 5, 2), int), 5.0, 2.0, 3.0, history)
    return Alignment(cells, cells, solution, displacement)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_keypoint_is_a_dot_of_its_colour_at_its_place(scale):
    points = np.array([[20.0, 15.0], [61.0, 40.0]])
    drawn = figures.draw_keypoints(GREY, points, scale=scale)
    assert drawn.shape == (60 * scale, 80 * scale, 3)
    for number, point in enumerate(points):
        dot = covered(drawn, rgb(number))
        np.testing.assert_allclose((dot.min(axis=0) + dot.max(axis=0)) / 2, (point + 0.5) * scale - 0.5, atol=0.5)
        assert np.ptp(dot[:, 0]) == pytest.approx(8 * scale, abs=1.5)


def test_keypoints_that_are_nan_are_not_drawn():
    np.testing.assert_array_equal(
        figures.draw_keypoints(GREY, np.array([[np.nan, np.nan], [5.0, np.nan]]), scale=1), GREY
    )


def test_a_right_keypoint_is_filled_and_a_wrong_one_a_ring_with_a_line_to_the_truth():
    points, truth = np.array([[20.0, 30.0], [60.0, 30.0]]), np.array([[22.0, 30.0], [40.0, 30.0]])
    drawn = figures.draw_keypoints(GREY, points, truth=truth, radii_px=(6, 6))
    at = np.rint((points + 0.5) * 2 - 0.5).astype(int)
    assert len(covered(drawn[at[0, 1] - 4 : at[0, 1] + 5, at[0, 0] - 4 : at[0, 0] + 5], rgb(0))) > 70
    inside = drawn[at[1, 1] - 4 : at[1, 1] + 5, at[1, 0] - 4 : at[1, 0] + 5]
    assert 0 < len(covered(inside, rgb(1))) < 20  # the line's beginning, and nothing else
    ring = covered(drawn, rgb(1))
    assert np.abs(ring - at[1]).max(axis=0)[0] > 2 * 20  # as far as the truth and its circle
    line = drawn[at[1, 1] - 1 : at[1, 1] + 3, 90:105]
    assert len(covered(line, rgb(1))) >= 15


def test_the_circle_of_what_counts_as_right_is_at_the_truth():
    drawn = figures.draw_keypoints(
        GREY, np.full((1, 2), np.nan), truth=np.array([[40.0, 30.0]]), radii_px=(10, 10), scale=2
    )
    circle = covered(drawn, rgb(0))
    middle = circle.mean(axis=0)
    np.testing.assert_allclose(middle, (80.5, 60.5), atol=0.5)  # which Pillow rounds to whole pixels
    distances = np.hypot(*(circle - middle).T)
    assert distances.min() > 20 - 2 - 0.7  # two pixels wide, to the inside
    assert distances.max() < 20 + 0.7


def test_the_same_number_has_the_same_colour_and_neighbours_differ():
    colours = [figures.keypoint_colour(number) for number in range(16)]
    assert len(set(colours)) == 16
    assert figures.keypoint_colour(16) == colours[0]


@pytest.mark.parametrize("scale", [1, 2])
def test_a_mark_is_a_cross_at_its_place(scale):
    drawn = figures.draw_crosses(GREY, [((30.0, 20.0), "#d55e00")], scale=scale)
    cross = covered(drawn, ImageColor.getrgb("#d55e00"))
    np.testing.assert_allclose(cross.mean(axis=0), ((30.5) * scale - 0.5, 20.5 * scale - 0.5), atol=0.6)


def test_no_displacement_is_white():
    assert (figures.displacement_colours(np.zeros((2, 3, 2)), longest=5) == 255).all()


def test_directions_are_hues_a_quarter_turn_apart():
    directions = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], float)
    hues = [colorsys.rgb_to_hsv(*colour / 255)[0] for colour in figures.displacement_colours(directions, longest=1)]
    np.testing.assert_allclose(np.diff(hues), 0.25, atol=0.06)


def test_longer_displacements_are_fuller_up_to_the_longest():
    along = np.array([[length, length] for length in (0, 1, 2, 3, 4, 9)], float)
    saturation = [
        colorsys.rgb_to_hsv(*colour / 255)[1] for colour in figures.displacement_colours(along, longest=np.hypot(4, 4))
    ]
    assert (np.diff(saturation[:5]) > 0.1).all()
    assert saturation[4] == saturation[5] > 0.9


def test_the_wheel_is_the_key_to_the_colours():
    wheel = figures.colour_wheel(201)  # 2 across, so 0.01 a pixel
    assert is_colour(wheel[100, 100], (255, 255, 255))
    for x, y in ((1, 0), (0, 1), (-0.6, 0.3), (0.2, -0.7)):
        expected = figures.displacement_colours(np.array([x, y], float), longest=1)
        assert is_colour(wheel[round(100 + 100 * y), round(100 + 100 * x)], expected)


def test_the_field_is_a_square_a_cell(alignment):
    drawn = figures.displacement_picture(alignment, longest=3, side=50)
    assert drawn.shape == (40, 50, 3)
    moved = figures.displacement_colours(np.array([2.0, 1.0]), longest=3)
    assert all(is_colour(pixel, moved) for pixel in drawn[10:20, 20:30].reshape(-1, 3))
    drawn = drawn.copy()
    drawn[10:20, 20:30] = 255
    assert (drawn == 255).all()


def test_arrows_start_at_the_centres_of_their_cells_and_end_where_these_go(alignment):
    drawn = figures.displacement_arrows(np.zeros((64, 80, 3), np.uint8), alignment, scale=2)
    yellow = covered(drawn, ImageColor.getrgb(figures.YELLOW))
    centre = np.array([2 * 16 + 8, 16 + 8]) * 2 - 0.5  # of the cell that moves
    tip = centre + 2 * 16 * np.array([2, 1])
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = centre + share * (tip - centre)
        assert np.hypot(*(yellow - at).T).min() < 2
    still = np.array([0 * 16 + 8, 3 * 16 + 8]) * 2 - 0.5
    assert 0 < (np.hypot(*(yellow - still).T) < 4).sum() < 40
    assert len(yellow) < 19 * 40 + 400


def test_likeness_lies_over_its_cell_from_one_end_of_viridis_to_the_other():
    similarity = np.zeros((3, 4))
    similarity[1, 3] = 1
    drawn = figures.similarity_overlay(GREY, similarity, opacity=1.0, scale=2)
    low, high = VIRIDIS_ENDS
    assert is_colour(drawn[60, 140], high)
    assert len(covered(drawn, high)) == 40 * 40
    assert len(covered(drawn, low)) == 120 * 160 - 40 * 40
    np.testing.assert_array_equal(covered(drawn, high)[[0, -1]], [[120, 40], [159, 79]])


def test_likeness_beyond_its_range_has_the_colours_of_its_ends():
    np.testing.assert_array_equal(
        figures.similarity_overlay(GREY, np.array([[-0.5, 1.5]])), figures.similarity_overlay(GREY, np.array([[0, 1]]))
    )


def test_half_a_likeness_shows_half_the_picture():
    overlay = figures.similarity_overlay(GREY, np.zeros((1, 1)), opacity=0.5)
    assert is_colour(overlay[5, 5], (np.array(VIRIDIS_ENDS[0]) + 128) // 2)


def test_the_energy_is_the_least_so_far_and_the_bound_as_it_was(alignment):
    energy, bound = figures.energy_history(alignment.solution).data
    assert (energy["name"], bound["name"]) == ("energy", "lower bound")
    assert list(energy["x"]) == [1, 2, 3]
    assert list(energy["y"]) == [9, 7, 7]
    assert list(bound["y"]) == [1, 2, 3]


def test_without_a_bound_only_the_energy_is_drawn():
    history = np.array([[9.0, -np.inf], [7.0, -np.inf]])
    figure = figures.energy_history(Solution(np.zeros((1, 1, 2), int), 7.0, 0.0, -np.inf, history))
    assert [trace["name"] for trace in figure.data] == ["energy"]
    assert [annotation["text"] for annotation in figure.layout.annotations] == ["energy"]


# Tables


def test_bars_stand_side_by_side_with_whiskers_and_the_published_numbers_over_them():
    rows = {"conv4": [(30.0, 25.0, 37.0), (40.0, 38.0, 41.0)], "SIFT": [(20.0, 19.0, 22.0), (np.nan,) * 3]}
    styles = {"conv4": figures.row_style("conv4"), "SIFT": figures.row_style("sift16+5 priors")}
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


def luminance(colour):
    """WCAG's."""
    levels = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    linear = np.where(levels <= 0.03928, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("row", [*figures.FEATURE_COLOURS, "NN", "fc6", "sift8"])
def test_rows_are_legible_on_white_and_on_dark(row):
    own = luminance(figures.row_style(row).colour)
    assert 1.05 / (own + 0.05) >= 3
    assert (own + 0.05) / (luminance("#14181b") + 0.05) >= 3


def test_a_row_has_its_features_colour_and_its_priors_line():
    rows = ("conv5", "conv5+prior", "conv5+5 priors", "conv5+prior, fine")
    styles = [figures.row_style(row) for row in rows]
    assert {style.colour for style in styles} == {figures.FEATURE_COLOURS["conv5"]}
    assert [style.dash for style in styles] == ["solid", "dot", "dash", "dashdot"]
    assert len({style.pattern for style in styles}) == 4
    assert [figures.row_style(row).dash for row in ("prior", "5 priors", "NN")] == ["dot", "dash", "solid"]
    assert len(set(figures.FEATURE_COLOURS.values())) == len(figures.FEATURE_COLOURS)


@pytest.mark.parametrize("n", [2, 8])
def test_legends_lie_over_the_plot_with_room_for_every_row(n):
    rows = {f"row {k}": [(1.0, 0.0, 2.0)] for k in range(n)}
    styles = {row: figures.row_style("conv5") for row in rows}
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
    figure = figures.pck_curves(ends, [0, 0.2], at=0.1, styles={row: figures.row_style("conv4") for row in ends})
    places = [note.y for note in figure.layout.annotations]
    assert [note.text for note in figure.layout.annotations] == ["a", "b", "c"]
    assert np.diff(places).min() >= 4


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
