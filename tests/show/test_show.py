"""Figures and pictures of matches show what the task finds, and a click asks it again."""

import io
import json
import subprocess
import sys

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from corrcore import show
from corrcore.features import Feature
from corrcore.tasks import matching
from corrcore.tasks.matching import MatchOptions
from tests.cli.matched import POINTS, save, window

FIRST, SECOND = window(96, 96), window(128, 80)[:200]
CONV4, SIFT20 = Feature("alexnet", "conv4"), Feature("sift", "20")
QUICK = {"longer_side": 160}
POINT = (120.0, 100.0)


def described(alexnet, how, photo):
    return matching.describe(photo, [CONV4, SIFT20], network=alexnet, options=how)


def check(figure, alexnet, point, **options):
    """Every trace is what the task says of a point."""
    how = MatchOptions(**QUICK, **options)
    first, second = (described(alexnet, how, photo) for photo in (FIRST, SECOND))
    traces = {trace.name: trace for trace in figure.data if trace.name}
    assert (traces["point"].x[0], traces["point"].y[0]) == point
    for number, feature in enumerate((CONV4, SIFT20), start=1):
        at = np.array(point, float)
        heatmap, mark = traces[f"{feature} similarities"], traces[f"{feature} place"]
        np.testing.assert_array_equal(
            heatmap.z, matching.similarity_map(first[feature], second[feature], at), strict=True
        )
        centres = second[feature].transform.to_image(second[feature].grid.cells.centres())
        rows, columns = heatmap.z.shape
        np.testing.assert_allclose(heatmap.x0 + heatmap.dx * np.arange(columns), centres[0, :, 0])
        np.testing.assert_allclose(heatmap.y0 + heatmap.dy * np.arange(rows), centres[:, 0, 1])
        found = matching.match_points(first[feature], second[feature], at[None], options=how)
        np.testing.assert_array_equal([mark.x, mark.y], found.places.T)
        title = figure.layout.annotations[number].text
        for part in (str(feature), f"{found.similarities[0]:.3f}", f"{found.margins[0]:.3f}"):
            assert part in title


@pytest.mark.parametrize("options", [{}, {"refine": True}, {"method": "mrf", "iterations": 3}], ids=str)
def test_the_figure_is_what_the_task_finds(alexnet, options):
    figure = show.match(FIRST, SECOND, point=POINT, features=["conv4", "sift20"], network=alexnet, **QUICK, **options)
    assert isinstance(figure, go.FigureWidget)
    check(figure, alexnet, POINT, **options)


def test_the_title_of_a_map_says_how_probably_its_place_is_right_where_that_is_known(alexnet):
    options = {"features": ["conv1", "conv4"], "network": alexnet, "refine": True}
    figure = show.match(FIRST, SECOND, point=POINT, **options)
    [known] = show.matches(FIRST, SECOND, [POINT], **options).matches[CONV4].confidences
    unknown, title = (figure.layout.annotations[number].text for number in (1, 2))
    assert f"confidence {known:.0%}" in title
    assert "confidence" not in unknown


def click(figure, x, y, trace=0):
    """What the browser sends of a click, in the words of plotly's widget."""
    points = {"trace_indexes": [trace], "point_indexes": [[y, x]], "xs": [x], "ys": [y], "zs": [{}]}
    state = {"alt": False, "ctrl": False, "meta": False, "shift": False, "button": 0, "buttons": 1}
    message = {"event_type": "plotly_click", "points": points, "device_state": state, "selector": None}
    figure.set_state({"_js2py_pointsCallback": message})


def test_a_click_on_the_first_photo_moves_the_point(alexnet):
    figure = show.match(FIRST, SECOND, features="conv4, sift20", network=alexnet, **QUICK)
    check(figure, alexnet, (159.5, 127.5))  # the middle
    click(figure, 120, 100)
    check(figure, alexnet, (120, 100))
    click(figure, 9, 9, trace=2)  # the second photo
    check(figure, alexnet, (120, 100))


def test_large_photos_are_shown_smaller_at_their_own_pixels(alexnet):
    large = np.repeat(np.repeat(FIRST, 4, axis=0), 4, axis=1)
    figure = show.match(large, SECOND, point=(4 * 120 + 1.5, 4 * 100 + 1.5), features="conv4", network=alexnet, **QUICK)
    photo = figure.data[0]
    assert (photo.x0, photo.dx, photo.y0, photo.dy) == (0.5, 2, 0.5, 2)
    assert list(figure.layout.xaxis.range) == [-0.5, 1279.5]
    assert list(figure.layout.yaxis.range) == [1023.5, -0.5]


def test_photos_may_be_files_pictures_and_arrays(alexnet, tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path / "cache"))
    save(tmp_path / "a.png", FIRST)
    figures = [
        show.match(first, Image.fromarray(SECOND), point=POINT, features="conv4", network=network, **QUICK)
        for first, network in ((FIRST, alexnet), (str(tmp_path / "a.png"), "alexnet"), (tmp_path / "a.png", alexnet))
    ]
    titles = [figure.layout.annotations[0].text for figure in figures]
    assert titles == ["first photo", "a.png", "a.png"]
    maps = [next(figure.select_traces({"name": "alexnet:conv4 similarities"})).z for figure in figures]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)
    np.testing.assert_array_equal(maps[0], maps[2])


def test_features_are_the_networks_for_transfer_and_sift_unless_given(alexnet):
    assert show.matches(FIRST, SECOND, [POINT], network=alexnet, **QUICK).features == (CONV4, SIFT20)
    assert show.matches(FIRST, SECOND, [POINT], features="sift20,conv4", network=alexnet, **QUICK).features == (
        SIFT20,
        CONV4,
    )


def test_the_picture_of_several_points_has_their_numbers_at_their_places(alexnet, tmp_path):
    (tmp_path / "points.csv").write_text("".join(f"{name},{x},{y}\n" for name, (x, y) in POINTS.items()))
    views = [
        show.matches(FIRST, SECOND, points, features="conv4", network=alexnet, **QUICK)
        for points in (POINTS, tmp_path / "points.csv", list(POINTS.values()))
    ]
    assert [tuple(view.names) for view in views] == [tuple(POINTS), tuple(POINTS), ("1", "2", "3")]
    how = MatchOptions(**QUICK)
    first, second = (described(alexnet, how, photo) for photo in (FIRST, SECOND))
    found = matching.match_points(first[CONV4], second[CONV4], np.array(list(POINTS.values())), options=how)
    for view in views:
        np.testing.assert_array_equal(view.matches[CONV4].places, found.places)
    picture = np.asarray(Image.open(io.BytesIO(views[0]._repr_png_())))
    scales, widths = (340 / 256, 480 / 320), (425, 480)  # as large as fits 480 x 340
    assert picture.shape[1] == 16 + widths[0] + 24 + widths[1] + 16
    assert picture.shape[0] == 16 + 22 + (22 + 340 + 24) + 2 * 22 + 8
    tops = 16 + 22 + 22, 16 + 22 + 22 + (340 - 300) // 2
    for scale, left, top, places in zip(scales, (16, 16 + 425 + 24), tops, (found.points, found.places), strict=True):
        x, y = (places[0] + 0.5) * scale + (left, top)
        dot = picture[round(y) - 9 : round(y) + 10, round(x) - 9 : round(x) + 10].reshape(-1, 3)
        assert (dot == (0x00, 0x72, 0xB2)).all(axis=1).sum() > 100  # of 254 px; the rest are edge and number


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: show.match(FIRST, SECOND, point=(320, 1)),
            "point 1 at (320, 1) is outside first photo",
        ),
        (lambda: show.matches(FIRST, SECOND, [(1, 2), (3, 900)]), "point 2 at (3, 900) is outside first photo"),
        (lambda: show.matches(FIRST, SECOND, {"nose": 7}), "points must be (x, y) in pixels of the first photo"),
        (lambda: show.match(FIRST, SECOND, features=[]), "give at least one feature"),
        (lambda: show.match(FIRST / 255, SECOND), "first_photo must be uint8"),
        (lambda: show.match("none.png", SECOND), "'none.png' cannot be read"),
        (lambda: show.match(FIRST, SECOND, extent="box"), "extent box needs the objects' boxes"),
    ],
    ids=range(7),
)
def test_what_cannot_be_shown_is_a_sentence(call, sentence):
    with pytest.raises(ValueError) as told:
        call()
    assert sentence in str(told.value)


def in_python(code):
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


def test_plotly_is_imported_for_a_figure_alone():
    code = "import json, sys, corrcore; corrcore.show.MatchView; print(json.dumps('plotly' in sys.modules))"
    assert in_python(code) is False


def test_without_widgets_it_is_a_plain_figure():
    code = """if True:
        import json, sys
        sys.modules["anywidget"] = None  # not there
        import numpy as np
        import corrcore
        photo = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)
        figure = corrcore.show.match(photo, photo, features="sift20", point=(40, 50))
        marks = [[float(trace.x[0]), float(trace.y[0])] for trace in figure.select_traces({"type": "scatter"})]
        print(json.dumps([type(figure).__name__, marks]))
    """
    kind, [point, place] = in_python(code)
    assert kind == "Figure"
    assert point == [40, 50]
    assert np.abs(np.subtract(place, point)).max() <= 4  # the nearest cell of the same photo
