"""Points matched between photos, against shifts that are known and a search by brute force."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from torch.nn import functional as F

from corrcore import images
from corrcore.engines import mrf
from corrcore.features import Feature
from corrcore.tasks import alignment, matching
from corrcore.tasks.matching import MatchOptions
from tests.conftest import smooth_noise

CONV4, SIFT20 = Feature("alexnet", "conv4"), Feature("sift", "20")
STRIDE = 16


@pytest.fixture(scope="module")
def scene():
    """A picture to look at through a window of 320 x 256 px."""
    return smooth_noise(520, 460, seed=3)


def window(scene, left, top):
    return scene[top : top + 256, left : left + 320]


POINTS = np.array([[120.0, 100.0], [200.5, 90.0], [150.0, 140.25], [210.0, 150.0]])


@pytest.mark.parametrize("feature", [CONV4, SIFT20], ids=str)
def test_nn_finds_by_how_much_a_copy_is_shifted(alexnet, scene, feature):
    """By whole cells, so that cells of both see the same; a point lies at most half a cell from the cell it gets."""
    first, second = window(scene, 96, 96), window(scene, 96 + 2 * STRIDE, 96 - STRIDE)
    found = matching.match_photos(
        first, second, POINTS, feature, network=alexnet, options=MatchOptions(longer_side=320)
    )
    assert np.abs(found - (POINTS - [2 * STRIDE, -STRIDE])).max() <= STRIDE / 2 + 1e-6


def test_refined_places_are_nearer_to_shifts_between_cells(alexnet, scene):
    x, y = np.meshgrid(np.arange(80, 250, 13.0), np.arange(60, 200, 13.0))
    points = np.stack([x.ravel(), y.ravel()], axis=-1)
    errors: dict[bool, list[float]] = {False: [], True: []}
    for shift in ([8, 4], [5, -3], [11, 7]):
        first, second = window(scene, 96, 96), window(scene, 96 + shift[0], 96 + shift[1])
        for refine, of in errors.items():
            options = MatchOptions(longer_side=320, refine=refine)
            found = matching.match_photos(first, second, points, CONV4, network=alexnet, options=options)
            of += np.linalg.norm(found - (points - shift), axis=1).tolist()
    assert np.median(errors[True]) < 0.8 * np.median(errors[False])


def test_alignment_finds_a_shift_between_cells(alexnet, scene):
    first, second = window(scene, 96, 96), window(scene, 96 + 9, 96 - 5)
    options = MatchOptions("mrf", position=0.0)
    found = matching.match_photos(first, second, POINTS, CONV4, network=alexnet, options=options)
    assert np.linalg.norm(found - (POINTS - [9, -5]), axis=1).mean() < 5


def test_points_are_in_the_pixels_of_their_own_photos(alexnet, scene):
    """The target is the same picture at half the size."""
    points = np.array([[200.0, 150.0], [300.0, 300.0]])
    found = matching.match_photos(scene, images.resize(scene, longer_side=260), points, CONV4, network=alexnet)
    np.testing.assert_allclose(found, (points + 0.5) / 2 - 0.5, atol=STRIDE / 2 * 260 / 448 + 1)


def test_nn_is_the_best_of_all_cells_by_brute_force(alexnet):
    """Between cells descriptors are weighed by nearness; then one target cell after another is asked."""
    first, second = smooth_noise(300, 220, 1), smooth_noise(260, 300, 2)
    found = matching.match_photos(first, second, POINTS, CONV4, network=alexnet)
    grids = [alexnet.extract(images.resize(one, longer_side=448), ["conv4"])["conv4"] for one in (first, second)]
    source, target = (F.normalize(grid.descriptors, dim=-1).numpy() for grid in grids)
    field = grids[0].receptive_field
    for point, place in zip(POINTS, found, strict=True):
        x, y = ((point + 0.5) * [448 / 300, 329 / 220] - 0.5 - field.offset) / field.stride
        near = sum(
            source[row, column] * max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row))
            for row in range(source.shape[0])
            for column in range(source.shape[1])
        )
        best = max(
            (float(near @ target[row, column]), row, column)
            for row in range(target.shape[0])
            for column in range(target.shape[1])
        )
        centre = field.offset + field.stride * np.array([best[2], best[1]])
        np.testing.assert_allclose(place, (centre + 0.5) / [388 / 260, 448 / 300] - 0.5)


@pytest.mark.parametrize("method", ["nn", "mrf"])
def test_an_object_is_found_again_where_its_box_is(alexnet, scene, method):
    """The same object in both photos, elsewhere and twice as large."""
    first, second = scene[100:300, 100:360], images.resize_to(scene[60:330, 60:400], height=540, width=680)
    boxes = (39.5, 39.5, 199.5, 159.5), (159.5, 159.5, 479.5, 399.5)
    points = np.array([[80.0, 70.0], [150.0, 120.0], [120.0, 90.0]])
    expected = (points + 40 + 0.5) * 2 - 0.5
    options = MatchOptions(method, "box", refine=method == "nn")
    found = matching.match_photos(first, second, points, CONV4, network=alexnet, options=options, boxes=boxes)
    assert np.linalg.norm(found - expected, axis=1).max() < 20  # a cell of 18 or 28 has 14 to 21 px


@pytest.mark.parametrize("feature", [CONV4, SIFT20], ids=str)
def test_no_place_lies_beyond_the_photo(alexnet, feature):
    """Of a photo ten times as wide as high, whose whole cells reach beyond it."""
    x, y = np.meshgrid(np.linspace(0, 299, 7), np.linspace(0, 399, 7))
    points = np.stack([x.ravel(), y.ravel()], axis=-1)
    options = MatchOptions("mrf")
    source, target = (
        matching.describe(photo, [feature], network=alexnet, options=options)[feature]
        for photo in (smooth_noise(300, 400, seed=4), smooth_noise(1068, 100, seed=5))
    )
    assert target.transform.edges[1] < -9
    found = matching.match_points(source, target, points, options=options)
    for places, (width, height) in (
        (found.places, (1068, 100)),
        (found.runners_up, (1068, 100)),
        (found.returned, (300, 400)),
    ):
        assert (places >= -0.5).all()
        assert (places <= [width - 0.5, height - 0.5]).all()
    np.testing.assert_array_equal(matching.match(source, target, points, options=options), found.places)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"method": "best"}, "method must be one of nn, mrf; got 'best'"),
        ({"extent": "half"}, "extent must be one of photo, box; got 'half'"),
        ({"longer_side": 0}, "longer_side must be 1 to 4096 px"),
        ({"method": "mrf", "refine": True}, "refine is for method nn"),
    ],
)
def test_options_that_cannot_be_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        inspect.unwrap(MatchOptions.__init__)(object.__new__(MatchOptions), **options)  # unchecked by tests


def test_what_cannot_be_matched_is_said(alexnet, scene):
    with pytest.raises(ValueError, match="extent box needs the objects' boxes"):
        matching.match_photos(scene, scene, POINTS, CONV4, network=alexnet, options=MatchOptions("mrf", "box"))
    with pytest.raises(ValueError, match="points must be finite"):
        matching.match_photos(scene, scene, np.full((1, 2), np.nan), CONV4, network=alexnet)
    fine = MatchOptions("mrf", longer_side=448)
    with pytest.raises(ValueError, match=r"takes 67,108,864 costs at most .* conv1 has \d+,\d+,\d+ here"):
        matching.match_photos(scene, scene, POINTS, Feature("alexnet", "conv1"), network=alexnet, options=fine)


@pytest.mark.parametrize("feature", [CONV4, SIFT20], ids=str)
@pytest.mark.parametrize(("method", "refine"), [("nn", False), ("nn", True), ("mrf", False)])
def test_what_speaks_for_a_match_is_as_its_definition_says(alexnet, scene, feature, method, refine):
    first, second = window(scene, 96, 96), window(scene, 130, 84)
    options = MatchOptions(method, refine=refine)
    source, target = (
        matching.describe(photo, [feature], network=alexnet, options=options)[feature] for photo in (first, second)
    )
    found = matching.match_points(source, target, POINTS, options=options)
    np.testing.assert_array_equal(found.places, matching.match(source, target, POINTS, options=options))
    reach = matching.NEIGHBOURHOOD * 320
    centres = target.transform.to_image(target.grid.cells.centres())
    for number, point in enumerate(POINTS):
        cosines = matching.similarity_map(source, target, point)
        if method == "nn":
            best = np.unravel_index(cosines.argmax(), cosines.shape)
            assert np.abs(found.places[number] - centres[best]).max() <= (8 * 320 / 448 if refine else 0) + 1e-6
            assert found.similarities[number] == pytest.approx(cosines.max(), abs=1e-5)
        away = np.linalg.norm(centres - found.places[number], axis=-1)
        beyond = np.where(away > reach, cosines, -np.inf)
        assert found.runner_up_similarities[number] == pytest.approx(beyond.max(), abs=1e-6)
        np.testing.assert_allclose(found.runners_up[number], centres[np.unravel_index(beyond.argmax(), beyond.shape)])
        margin = found.similarities[number] - beyond.max()
        assert found.margins[number] == pytest.approx(margin, abs=1e-6)
        assert margin >= 0 or method == "mrf"
        back = matching.match(target, source, found.places[number : number + 1], options=MatchOptions(refine=refine))
        np.testing.assert_allclose(found.returned[number], back[0], atol=1e-4)
        assert found.cycle_errors[number] == pytest.approx(np.linalg.norm(back[0] - point), abs=1e-4)


def test_min_marginal_margins_are_of_the_points_own_cells(alexnet, scene):
    """Beyond a tenth of the target's longer side, less at the place; all other methods have none."""
    first, second = window(scene, 96, 96), window(scene, 130, 84)
    options = MatchOptions("mrf")
    source, target = (
        matching.describe(photo, [CONV4], network=alexnet, options=options)[CONV4] for photo in (first, second)
    )
    found = matching.match_points(source, target, POINTS, options=options)
    unary = alignment.data_term(source.grid, target.grid, position=options.position)
    marginals = mrf.min_marginals(unary, smoothness=options.smoothness, iterations=options.iterations)
    centres = target.transform.to_image(target.grid.cells.centres())
    own = source.transform.to_image(source.grid.cells.centres())
    for point, place, margin in zip(POINTS, found.places, found.min_marginal_margins, strict=True):
        nearest = np.unravel_index(np.linalg.norm(own - point, axis=-1).argmin(), own.shape[:2])
        away = np.linalg.norm(centres - place, axis=-1)
        at_place, beyond = marginals[nearest].ravel()[away.argmin()], marginals[nearest][away > 0.1 * 320].min()
        assert margin == pytest.approx(beyond - at_place, abs=1e-5)
    assert np.isnan(matching.match_points(source, target, POINTS).min_marginal_margins).all()


@pytest.mark.parametrize("method", ["nn", "mrf"])
def test_a_match_is_mutual_if_cells_choose_each_other(alexnet, scene, method):
    """The point's own cell and the one at its place, by all pairs of cells; also of points between cells."""
    first, second = window(scene, 96, 96), window(scene, 140, 120)
    options = MatchOptions(method)
    source, target = (
        matching.describe(photo, [CONV4], network=alexnet, options=options)[CONV4] for photo in (first, second)
    )
    x, y = np.meshgrid(np.arange(30, 290, 7.0), np.arange(30, 226, 7.0))
    points = np.stack([x.ravel(), y.ravel()], axis=-1)
    found = matching.match_points(source, target, points, options=options)
    cosines = (source.grid.flat() @ target.grid.flat().T).cpu().numpy()
    own, there = (
        np.ravel_multi_index(grid.cells.nearest_cells(at), grid.descriptors.shape[:2])
        for grid, at in (
            (source.grid, source.transform.to_crop(points)),
            (target.grid, target.transform.to_crop(found.places)),
        )
    )
    expected = (cosines.argmax(axis=1)[own] == there) & (cosines.argmax(axis=0)[there] == own)
    np.testing.assert_array_equal(found.mutual, expected)
    assert 0 < found.mutual.mean() < 1


def test_many_points_are_matched_a_part_at_a_time(two_of_conv1):
    source, target = two_of_conv1
    points = np.random.default_rng(0).uniform(40, 200, (9000, 2))
    found = matching.match_points(source, target, points)
    some = matching.match_points(source, target, points[-50:])
    for name in ("places", "similarities", "runners_up", "returned", "mutual"):
        np.testing.assert_array_equal(getattr(found, name)[-50:], getattr(some, name))


@pytest.fixture
def two_of_conv1(alexnet, scene):
    conv1 = Feature("alexnet", "conv1")
    photos = window(scene, 96, 96), window(scene, 140, 120)
    return tuple(matching.describe(photo, [conv1], network=alexnet)[conv1] for photo in photos)


def test_where_all_of_the_target_is_near_there_is_no_runner_up(alexnet, scene):
    photo = scene[:200, :200]
    source = matching.describe(photo, [CONV4], network=alexnet)[CONV4]
    one_cell = replace(source, grid=replace(source.grid, descriptors=source.grid.descriptors[:1, :1]))
    found = matching.match_points(source, one_cell, np.array([[100.0, 100.0]]))
    assert np.isnan(found.margins).all()
    assert np.isnan(found.runners_up).all()
    assert np.isfinite(found.places).all()
