"""What is drawn on pictures, where, and in which colour."""

import numpy as np
import pytest
from PIL import ImageColor

from dashboard import figures

from .pixels import GREY, covered, rgb


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


@pytest.mark.parametrize("scale", [1, 2])
def test_a_mark_is_a_cross_at_its_place(scale):
    drawn = figures.draw_crosses(GREY, [((30.0, 20.0), "#d55e00")], scale=scale)
    cross = covered(drawn, ImageColor.getrgb("#d55e00"))
    np.testing.assert_allclose(cross.mean(axis=0), ((30.5) * scale - 0.5, 20.5 * scale - 0.5), atol=0.6)


def test_places_have_the_colours_of_the_corners_that_they_are_between():
    size = (101, 51)
    corners = np.array([[-0.5, -0.5], [100.5, -0.5], [-0.5, 50.5], [100.5, 50.5]])
    expected = figures.place_colours(corners, size).astype(float)
    assert len({tuple(each) for each in expected}) == 4
    middle = figures.place_colours(np.array([[50.0, 25.0]]), size)[0]
    np.testing.assert_allclose(middle, expected.mean(axis=0), atol=1)
    np.testing.assert_allclose(
        figures.place_colours(np.array([[50.0, -0.5]]), size)[0], expected[:2].mean(axis=0), atol=1
    )


def test_dots_are_where_their_points_are_and_lines_lead_to_their_places():
    grey = np.full((40, 60, 3), 90, np.uint8)
    red = np.array([[255, 0, 0]], np.uint8)
    dots = figures.draw_dots(grey, np.array([[20.0, 10.0]]), red, scale=2, radius=3)
    assert dots.shape == (80, 120, 3)
    rows, columns = np.nonzero((dots == red).all(axis=-1))
    assert (rows.mean(), columns.mean()) == pytest.approx((20.5, 40.5), abs=0.6)
    lines = figures.draw_lines(grey, grey[:30], np.array([[20.0, 10.0]]), np.array([[30.0, 10.0]]), red, gap=10)
    rows, columns = np.nonzero((lines == red).all(axis=-1))
    assert abs(columns.min() - (40.5 - 3)) <= 1
    assert abs(columns.max() - (2 * (60 + 10 + 30.5) - 0.5 + 3)) <= 1
    assert (lines[70, 190] == 255).all()  # below the smaller picture
