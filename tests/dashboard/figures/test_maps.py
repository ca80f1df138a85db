"""Maps over pictures: which colour lies where."""

import colorsys

import numpy as np
from PIL import ImageColor

from dashboard import figures

from .pixels import GREY, covered, is_colour

VIRIDIS_ENDS = ((68, 1, 84), (253, 231, 37))


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
