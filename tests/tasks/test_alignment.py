"""Objects described and aligned, against surroundings cut by hand and known warps; and keypoints carried along."""

import inspect
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import map_coordinates
from torch.nn import functional as F

from corrcore import images, networks
from corrcore.crops import CropTransform
from corrcore.datasets import toy
from corrcore.datasets.samples import samples
from corrcore.decoding import ImageError, ImageNotReadError
from corrcore.descriptors import sift
from corrcore.engines import mrf
from corrcore.features import Feature, FeatureGrid
from corrcore.geometry import CellGrid, ReceptiveField
from corrcore.tasks import alignment
from corrcore.tasks.alignment import Alignment, CropSpec, DescribedCrop, NeighbourPool, TransferOptions, align
from corrcore.tasks.alignment.warp import NOTHING
from tests.networks import tiny

CONV3, CONV4, CONV5 = (Feature("alexnet", f"conv{number}") for number in (3, 4, 5))
SIFT8, SIFT20 = (Feature("sift", radius) for radius in ("8.5", "20"))
STRIDE = 16
LEFT, TOP, SIDE = 100, 60, 192  # a square of a photo that makes 6 x 6 cells at half its scale
BOX = (LEFT - 0.5, TOP - 0.5, LEFT + SIDE - 0.5, TOP + SIDE - 0.5)


@pytest.fixture(scope="module")
def photo():
    return samples()["chelsea"].load()


@pytest.fixture(scope="module")
def cats():
    return toy.load(n_train=13, n_val=1).instances("toy cat", "train")


def describe(photo, box, features, *, network, **crop) -> DescribedCrop:
    return alignment.describe(photo, box, features, network=network, crop=CropSpec(**crop))


def cut_by_hand(photo, box, width, height):
    """`box` in Pillow's coordinates, whose pixel 0 is from 0 to 1."""
    return np.array(Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC, box=box))


def unit(descriptors):
    return F.normalize(descriptors, dim=-1)


def grid(descriptors, stride=STRIDE):
    values = torch.as_tensor(np.asarray(descriptors), dtype=torch.float32)
    rows, columns, _ = values.shape
    field = ReceptiveField(stride, stride, (stride - 1) / 2)
    return FeatureGrid(values, field, (columns * stride, rows * stride), "made")


def moved_by(displacement, target_shape=None):
    """An alignment with a displacement in cells, (dx, dy)."""
    displacement = np.asarray(displacement, dtype=float)
    shapes = displacement.shape[:2], target_shape or displacement.shape[:2]
    cells = [
        CellGrid(grid(np.zeros((1, 1, 1))).receptive_field, *shape, (shape[1] * STRIDE, shape[0] * STRIDE))
        for shape in shapes
    ]
    nothing = mrf.Solution(np.zeros((*shapes[0], 2), int), 0.0, 0.0, 0.0, np.zeros((1, 2)))
    return Alignment(*cells, nothing, displacement)


def pixels(width, height):
    return np.stack(np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float)), axis=-1)


# --- Describing ------------------------------------------------------------------------------------------------------


def test_cells_of_all_features_are_at_the_same_points(alexnet, photo):
    found = describe(photo, BOX, (CONV3, CONV5, SIFT20, SIFT8), network=alexnet, n_cells=6, margin=0)
    assert list(found.grids) == [CONV3, CONV5, SIFT20, SIFT8]
    middles = (np.arange(6) + 0.5) * STRIDE - 0.5  # of six parts of the cut-out
    for feature, described in found.grids.items():
        assert described.layer == feature.key
        assert described.image_size == found.transform.size == (96, 96)
        np.testing.assert_array_equal(described.cells.centres()[..., 0], np.tile(middles, (6, 1)))
        np.testing.assert_array_equal(described.cells.centres()[..., 1], np.tile(middles[:, None], 6))
        torch.testing.assert_close(described.descriptors.norm(dim=-1), torch.ones(6, 6))
    assert [described.receptive_field.size for described in found.grids.values()] == [99, 163, 40, 17]


def test_a_cell_has_the_descriptor_of_its_surroundings_cut_by_hand(alexnet, photo):
    found = describe(photo, BOX, (CONV4, SIFT20), network=alexnet, n_cells=6, margin=0)
    # The first cell sees what is around pixel 15 of a picture, and is to be at 7.5 of the cut-out: 7.5 px more, twice
    # that in the photo.
    around = cut_by_hand(photo, (LEFT - 15, TOP - 15, LEFT + SIDE + 15, TOP + SIDE + 15), 111, 111)
    expected = alexnet.extract(around, ["conv4", "conv5"])
    torch.testing.assert_close(found.grids[CONV4].descriptors, unit(expected["conv4"].descriptors))
    points = np.stack(np.meshgrid(15 + STRIDE * np.arange(6.0), 15 + STRIDE * np.arange(6.0)), axis=-1).reshape(-1, 2)
    by_sift = sift.describe(around, points, radius_px=20.0).reshape(6, 6, 128)
    torch.testing.assert_close(found.grids[SIFT20].descriptors, unit(by_sift))
    # Six by six cells are the six by six parts of which the summary has the greatest values.
    whole = expected["conv5"].descriptors.permute(2, 0, 1).flatten()
    np.testing.assert_allclose(found.summary, unit(whole).numpy(), atol=1e-6)
    np.testing.assert_array_equal(found.image, cut_by_hand(photo, (LEFT, TOP, LEFT + SIDE, TOP + SIDE), 96, 96))


def test_the_summary_keeps_the_greatest_values_of_six_by_six_parts(alexnet, photo):
    found = describe(photo, BOX, (), network=alexnet, n_cells=12, margin=0)
    around = cut_by_hand(photo, (LEFT - 7.5, TOP - 7.5, LEFT + SIDE + 7.5, TOP + SIDE + 7.5), 207, 207)
    cells = alexnet.extract(around, ["conv5"])["conv5"].descriptors
    whole = cells.reshape(6, 2, 6, 2, -1).amax(dim=(1, 3)).permute(2, 0, 1).flatten()
    np.testing.assert_allclose(found.summary, unit(whole).numpy(), atol=1e-6)


def test_with_context_a_cell_sees_the_photo_and_no_padding(alexnet, photo):
    box = (LEFT - 0.5, TOP - 0.5, LEFT + 95.5, TOP + 95.5)
    found = describe(photo, box, (CONV4,), network=alexnet, n_cells=6, margin=0, context_px=32)
    # Two more cells on every side are the fewest that show 32 px.
    more = 7.5 + 2 * STRIDE
    around = cut_by_hand(photo, (LEFT - more, TOP - more, LEFT + 96 + more, TOP + 96 + more), 175, 175)
    expected = alexnet.extract(around, ["conv4", "conv5"])
    inner = np.s_[2:8, 2:8]
    torch.testing.assert_close(found.grids[CONV4].descriptors, unit(expected["conv4"].descriptors[inner]))
    whole = expected["conv5"].descriptors[inner].permute(2, 0, 1).flatten()
    np.testing.assert_allclose(found.summary, unit(whole).numpy(), atol=1e-6)


def test_a_square_cut_out_squeezes_the_box(alexnet, photo):
    box = (LEFT - 0.5, TOP - 0.5, LEFT + 191.5, TOP + 95.5)
    found = describe(photo, box, (CONV4,), network=alexnet, n_cells=6, margin=0)
    assert found.transform == CropTransform(box, (96, 96))
    around = cut_by_hand(photo, (LEFT - 15, TOP - 7.5, LEFT + 192 + 15, TOP + 96 + 7.5), 111, 111)
    torch.testing.assert_close(
        found.grids[CONV4].descriptors, unit(alexnet.extract(around, ["conv4"])["conv4"].descriptors)
    )


def test_a_cut_out_that_keeps_proportions_is_widened_to_whole_cells(alexnet, photo):
    # 192 px are 6 cells of 32 px; 80 px are two and a half, so 8 px more on both sides make three.
    box = (LEFT - 0.5, TOP - 0.5, LEFT + 191.5, TOP + 79.5)
    found = describe(photo, box, (CONV4,), network=alexnet, n_cells=6, margin=0, square=False)
    assert found.transform == CropTransform((box[0], box[1] - 8, box[2], box[3] + 8), (96, 48))
    assert found.grids[CONV4].descriptors.shape == (3, 6, 256)
    around = cut_by_hand(photo, (LEFT - 15, TOP - 8 - 15, LEFT + 192 + 15, TOP + 88 + 15), 111, 63)
    torch.testing.assert_close(
        found.grids[CONV4].descriptors, unit(alexnet.extract(around, ["conv4"])["conv4"].descriptors)
    )


def test_the_box_is_widened_by_a_share_of_each_side(alexnet, photo):
    found = describe(photo, (100.0, 50.0, 200.0, 90.0), (), network=alexnet, n_cells=6, margin=0.1)
    assert found.transform.edges == pytest.approx((90, 46, 210, 94))


def test_beyond_the_photo_its_border_goes_on(alexnet, photo):
    features = (CONV4, SIFT20)
    box = (-40.5, 199.5, 119.5, 359.5)
    padded = np.pad(photo, ((200, 200), (200, 200), (0, 0)), mode="edge")
    moved = tuple(edge + 200 for edge in box)
    ours, expected = (
        describe(one, where, features, network=alexnet, n_cells=6, context_px=20)
        for one, where in ((photo, box), (padded, moved))
    )
    np.testing.assert_array_equal(ours.image, expected.image)
    for feature in features:
        torch.testing.assert_close(ours.grids[feature].descriptors, expected.grids[feature].descriptors)


def test_networks_of_other_strides_have_cells_at_the_same_points_too(photo):
    spec = networks.spec("vgg16")
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in spec.build().state_dict().items()}
    torch.manual_seed(0)
    weights = {name: 0.05 * torch.randn(shape) for name, shape in shapes.items() if name.startswith("features.")}
    vgg = spec.open(weights=weights, device="cpu")
    for layer, stride in (("conv4_3", 8), ("conv5_3", 16)):
        feature = Feature("vgg16", layer)
        found = describe(photo, BOX, (feature, Feature("sift", "10")), network=vgg, n_cells=6, margin=0)
        assert found.image.shape == (6 * stride, 6 * stride, 3)
        for described in found.grids.values():
            assert described.descriptors.shape[:2] == (6, 6)
            assert described.receptive_field.offset == (stride - 1) / 2
        # This network's cells are centred as ours, so nothing around the cut-out is needed.
        expected = unit(vgg.extract(found.image, [layer])[layer].descriptors)
        torch.testing.assert_close(found.grids[feature].descriptors, expected)


def test_without_contrast_sift_is_zero_and_not_nan(alexnet):
    flat = np.full((120, 120, 3), 90, np.uint8)
    found = describe(flat, (9.5, 9.5, 109.5, 109.5), (SIFT20,), network=alexnet, n_cells=4)
    assert (found.grids[SIFT20].descriptors == 0).all()


def test_halved_keeps_everything_but_half_the_bits(alexnet, photo):
    whole = describe(photo, BOX, (CONV4,), network=alexnet, n_cells=4)
    half = whole.halved()
    assert half.grids[CONV4].descriptors.dtype == torch.float16
    torch.testing.assert_close(
        half.grids[CONV4].descriptors.float(), whole.grids[CONV4].descriptors, atol=1e-3, rtol=1e-3
    )
    assert half.transform is whole.transform


@pytest.mark.parametrize(
    ("box", "features", "options", "message"),
    [
        ((-30.0, 10.0, -1.0, 40.0), ["conv4"], {}, r"a pixel of the photo of 451 x 300 px; got \[-30.0, 10.0"),
        ((450.5, 10.0, 470.0, 40.0), ["conv4"], {}, "at least a pixel of the photo"),
        ((20.0, 40.0, 10.0, 80.0), ["conv4"], {}, "at least a pixel of the photo"),
        (BOX, ["conv9"], {}, "layer of alexnet must be one of .*; got 'conv9'"),
        (BOX, ["sift1"], {}, "a radius of 2 to 1000 px, such as 20; got '1'"),
        (BOX, ["conv2", "sift20", "conv4"], {}, "one stride, and centres at the same pixels; got conv2, conv4"),
        (BOX, ["conv4"], {"n_cells": 1}, "n_cells must be at least 2; got 1"),
    ],
)
def test_what_cannot_be_described_is_said(alexnet, photo, box, features, options, message):
    written = [Feature.parse(feature, network="alexnet") for feature in features]
    with pytest.raises(ValueError, match=message):
        describe(photo, box, written, network=alexnet, **options)


def test_summaries_tell_the_way_an_object_faces(alexnet, cats):
    facing_right = [cats[n] for n in (0, 2, 6, 7)]
    assert len({np.sign(cat.photo.scene.right[0]) for cat in facing_right}) == 1
    summary = {}
    for cat in facing_right:
        picture = cat.photo.load()
        left, top, right, bottom = cat.box
        mirrored = picture.shape[1] - 1 - right, top, picture.shape[1] - 1 - left, bottom
        for turned, image, box in ((False, picture, cat.box), (True, images.hflip(picture), mirrored)):
            summary[cat.name, turned] = describe(image, box, (), network=alexnet, n_cells=12).summary
            assert np.linalg.norm(summary[cat.name, turned]) == pytest.approx(1)
    pairs = [(one.name, other.name) for one in facing_right for other in facing_right if one is not other]
    same, opposite = (
        np.array([summary[one, False] @ summary[other, turned] for one, other in pairs]) for turned in (False, True)
    )
    assert same.mean() > opposite.mean() + 0.1


def test_the_summary_is_the_last_fully_connected_layers_where_there_is_one(alexnet, photo):
    assert alignment.summary_source(alexnet) == "conv5, pooled to 6 x 6 (no weights for fully connected layers here)"
    whole = tiny.spec().open(weights=tiny.weights(), device="cpu")
    assert alignment.summary_source(whole) == "whole"
    found = describe(photo, BOX, (), network=whole, n_cells=6)
    expected = unit(whole.global_descriptor(found.image, "whole"))
    np.testing.assert_allclose(found.summary, expected.numpy(), atol=1e-6)


def test_without_a_layer_cells_are_those_of_the_networks_layer_for_transfer(alexnet, photo):
    """SIFT alone is described at the same points as beside that layer."""
    alone, beside = (describe(photo, BOX, each, network=alexnet, n_cells=6) for each in ([SIFT20], [CONV4, SIFT20]))
    assert alone.transform == beside.transform
    torch.testing.assert_close(alone.grids[SIFT20].descriptors, beside.grids[SIFT20].descriptors)


def test_layers_of_two_networks_are_described_side_by_side(alexnet, photo):
    """Whatever their strides are, where the centres are the same; here all of one network's are the other's too."""
    twin = replace(networks.spec("alexnet"), name="twin")
    networks.register(twin)
    try:
        found = describe(photo, BOX, (CONV4, Feature("twin", "conv5")), network=alexnet, n_cells=6)
    finally:
        networks.unregister("twin")
    own = describe(photo, BOX, (CONV5,), network=alexnet, n_cells=6)
    torch.testing.assert_close(found.grids[Feature("twin", "conv5")].descriptors, own.grids[CONV5].descriptors)


# --- Aligning --------------------------------------------------------------------------------------------------------


def smooth_field(points):
    """Displacements of up to 20 px, some 30 px apart within a cat's face."""
    x, y = points[..., 0] / 400, points[..., 1] / 400
    turn = 2 * np.pi
    across = np.sin(turn * y + 0.5) * np.cos(0.7 * turn * x)
    return 20 * np.stack([across, np.cos(0.8 * turn * x + 1) * np.sin(0.6 * turn * y + 1)], axis=-1)


def warped(photo):
    """The photo in which the point x has come to lie at x + smooth_field(x)."""
    height, width = photo.shape[:2]
    there = pixels(width, height)
    place = there.copy()
    for _ in range(50):
        place = there - smooth_field(place)
    at = [place[..., 1], place[..., 0]]
    channels = [map_coordinates(photo[..., c].astype(float), at, order=3, mode="nearest") for c in range(3)]
    return np.stack(channels, axis=-1).clip(0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def known_warp(alexnet, photo):
    """A photo and its warped self, cut out at the photo's scale, and where its cells' centres are to go."""
    side, left, top = 18 * STRIDE, 81, 6
    box = (left - 0.5, top - 0.5, left + side - 0.5, top + side - 0.5)
    source, target = (
        describe(picture, box, (CONV3, CONV4, CONV5, SIFT20), network=alexnet, n_cells=18, margin=0)
        for picture in (photo, warped(photo))
    )
    centres = source.grids[CONV4].cells.centres()
    return source, target, centres, centres + smooth_field(centres + np.array([left, top]))


@pytest.mark.parametrize(("feature", "strides"), [(CONV3, 0.25), (CONV4, 0.25), (CONV5, 0.4), (SIFT20, 0.25)], ids=str)
def test_a_known_smooth_warp_is_found(known_warp, feature, strides):
    source, target, centres, truth = known_warp
    found = align(source.grids[feature], target.grids[feature])
    inner = np.s_[2:-2, 2:-2]
    errors = np.linalg.norm(found.to_target(centres) - truth, axis=-1)[inner]
    assert errors.mean() < strides * STRIDE
    assert np.linalg.norm(truth - centres, axis=-1)[inner].mean() > 2.5 * errors.mean()


@pytest.mark.parametrize("feature", [CONV4, SIFT20], ids=str)
def test_the_way_back_inverts_the_way_there(known_warp, feature):
    source, target, *_ = known_warp
    found = align(source.grids[feature], target.grids[feature], smoothness=0.3)
    there = pixels(*target.transform.size)
    back = found.to_source(there)
    errors = np.linalg.norm(found.to_target(back) - there, axis=-1)
    shown = np.isfinite(errors)
    assert shown.mean() > 0.8
    assert errors[shown].mean() < 0.1
    assert np.quantile(errors[shown], 0.99) < 0.25


@pytest.mark.parametrize("feature", [CONV4, SIFT20], ids=str)
def test_a_source_moved_by_whole_cells_moves_back(alexnet, photo, feature):
    side = 12 * STRIDE
    boxes = [(left - 0.5, 30 - 0.5, left + side - 0.5, 30 + side - 0.5) for left in (140, 108)]
    source, target = (
        describe(photo, box, (feature,), network=alexnet, n_cells=12, margin=0, context_px=96) for box in boxes
    )
    grids = source.grids[feature], target.grids[feature]
    inner = np.s_[1:-1, 1:-3]
    whole = align(*grids, refine=False)
    np.testing.assert_array_equal(whole.displacement[inner], np.broadcast_to([2.0, 0.0], (10, 8, 2)))
    fine = align(*grids)
    np.testing.assert_allclose(fine.displacement[inner].mean(axis=(0, 1)), [2, 0], atol=0.05)
    picture, shown = alignment.warp(source, target, whole)
    assert shown[:, 4 * STRIDE : -STRIDE].all()
    assert not shown[:, :STRIDE].any()
    middle = np.s_[STRIDE:-STRIDE, 4 * STRIDE : -STRIDE]
    wrong, right = (np.abs(drawn.astype(float) - target.image)[middle].mean() for drawn in (source.image, picture))
    assert right < 0.1 * wrong


@pytest.mark.parametrize("feature", [CONV4, SIFT20], ids=str)
def test_refined_displacements_come_closer_than_whole_cells(alexnet, photo, feature):
    side = 12 * STRIDE
    boxes = [(left - 0.5, 30 - 0.5, left + side - 0.5, 30 + side - 0.5) for left in (140, 132)]
    source, target = (
        describe(photo, box, (feature,), network=alexnet, n_cells=12, margin=0, context_px=96) for box in boxes
    )
    whole, fine = (
        align(source.grids[feature], target.grids[feature], refine=refine).displacement[3:-3, 3:-3]
        for refine in (False, True)
    )
    assert (whole == np.rint(whole)).all()
    errors = [np.linalg.norm(found - [0.5, 0], axis=-1).mean() for found in (whole, fine)]
    assert errors[0] >= 0.5
    assert errors[1] < 0.25
    assert np.abs(fine - whole).max() <= 0.5 + 1e-9


def bowls(places, rows, columns):
    """Grids whose data term is the squared distance from `places`, in cells of the target."""
    own = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).astype(float)
    return align(grid(own + places), grid(own), smoothness=0.5)


def test_a_parabola_is_refined_to_its_lowest_point():
    found = bowls((0.3, -0.4), 5, 6)
    assert (found.solution.displacement == 0).all()
    np.testing.assert_allclose(found.displacement, np.broadcast_to([0.3, -0.4], (5, 6, 2)), atol=1e-5)


def test_refined_displacements_have_the_least_energy():
    rng = np.random.default_rng(6)
    places = rng.uniform(-0.4, 0.4, (5, 6, 2))
    found = bowls(places, 5, 6)
    assert (found.solution.displacement == 0).all()
    assert np.abs(found.displacement).max() < 0.5

    def energy(displacement):
        away = displacement - places
        data = (away[:, 1:-1, 0] ** 2).sum() + (away[1:-1, :, 1] ** 2).sum()  # the border has no parabolas
        return data + 0.5 * sum((np.diff(displacement, axis=axis) ** 2).sum() for axis in (0, 1))

    least = energy(found.displacement)
    for scale in (1e-2, 1e-1):
        for _ in range(50):
            assert energy(found.displacement + scale * rng.normal(size=(5, 6, 2))) > least
    for cell in np.ndindex(5, 6, 2):
        for step in (-1e-2, 1e-2):
            other = found.displacement.copy()
            other[cell] += step
            assert energy(other) > least


@pytest.mark.parametrize(("pair", "feature"), [((6, 0), CONV4), ((12, 3), SIFT20)], ids=str)
def test_drawn_animals_of_one_pose_come_closer_than_their_boxes(alexnet, cats, pair, feature):
    source, target = (cats[n] for n in pair)
    own, other = (
        alignment.describe_object(cat, (feature,), network=alexnet, crop=CropSpec(n_cells=12))
        for cat in (source, target)
    )
    truth = toy.correspondence(source, target)
    rows, columns = np.nonzero(np.isfinite(truth).all(axis=-1))
    points, truth = np.stack([columns, rows], axis=-1).astype(float)[::7], truth[rows, columns][::7]
    assert len(points) > 1000
    here = own.transform.to_crop(points)  # as large as the other's, so boxes lie on one another
    aligned = align(own.grids[feature], other.grids[feature]).to_target(here)
    laid, moved = (
        np.median(np.linalg.norm(other.transform.to_image(places) - truth, axis=-1)) for places in (here, aligned)
    )
    assert moved < 0.6 * laid


# --- Data term -------------------------------------------------------------------------------------------------------


def test_data_term_equals_that_of_a_loop():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(3, 4, 7)).astype(np.float32), rng.normal(size=(5, 2, 7)).astype(np.float32)
    source[1, 2] = target[4, 0] = target[0, 1] = 0  # no contrast
    target[2, 1] = source[0, 3]
    found = alignment.data_term(grid(source), grid(target))
    assert found.shape == (3, 4, 5, 2)
    for r, c, tr, tc in np.ndindex(found.shape):
        assert found[r, c, tr, tc] == pytest.approx(((source[r, c] - target[tr, tc]) ** 2).sum(), abs=1e-4)
    assert found[1, 2, 4, 0] == 0
    assert (found >= 0).all()


def test_distance_from_the_laid_on_place_costs_what_position_says():
    source, target = grid(np.zeros((2, 3, 4))), grid(np.zeros((4, 3, 4)))
    found = alignment.data_term(source, target, position=0.1)
    laid_rows = (0.5, 2.5)  # two rows over four: each lies between two
    for r, c, tr, tc in np.ndindex(found.shape):
        assert found[r, c, tr, tc] == pytest.approx(0.1 * ((tr - laid_rows[r]) ** 2 + (tc - c) ** 2), abs=1e-6)


@pytest.mark.parametrize("position", [-0.1, float("nan")])
def test_distance_costs_nothing_negative(position):
    source = grid(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="position must be a number from 0; got"):
        alignment.data_term(source, source, position=position)


def test_position_keeps_what_looks_alike_everywhere_in_place():
    flat = 1 + 0.05 * np.random.default_rng(2).normal(size=(6, 9, 5))
    shifted = grid(flat[:, :6]), grid(flat[:, 3:])
    assert np.median(align(*shifted, smoothness=0.001).displacement[:, 3:, 0]) == pytest.approx(-3, abs=0.5)
    assert np.abs(align(*shifted, smoothness=0.001, position=0.1).displacement).max() < 0.5


def test_descriptors_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="must be described alike; got made of 3 numbers and made of 4"):
        align(grid(np.zeros((2, 2, 3))), grid(np.zeros((2, 2, 4))))


def test_source_and_target_may_have_grids_of_different_sizes():
    rng = np.random.default_rng(1)
    large = grid(rng.normal(size=(6, 7, 30)) / 5)
    part = grid(large.descriptors[1:5, 2:7])
    found = align(part, large, refine=False)
    np.testing.assert_array_equal(found.displacement, np.broadcast_to([2.0, 1.0], (4, 5, 2)))
    np.testing.assert_allclose(found.to_target(part.cells.centres()), large.cells.centres()[1:5, 2:7])
    back = found.to_source(large.cells.centres())
    np.testing.assert_allclose(back[1:5, 2:7], part.cells.centres())
    assert np.isnan(back[0]).all()
    assert np.isnan(back[:, :2]).all()


def test_target_cells_of_another_stride_are_followed():
    rng = np.random.default_rng(2)
    source = grid(rng.normal(size=(4, 5, 30)) / 5)
    target = grid(source.descriptors, stride=8)
    found = align(source, target, refine=False)
    np.testing.assert_allclose(found.to_target(source.cells.centres()), target.cells.centres())


# --- The displacement ------------------------------------------------------------------------------------------------


def test_deformation_is_the_mean_squared_step_between_neighbours():
    displacement = np.zeros((2, 3, 2))
    displacement[0, 1] = (2, -1)
    # Of the seven pairs of neighbours three have that cell, each with 4 + 1.
    assert moved_by(displacement).deformation == pytest.approx(15 / 7)
    assert moved_by(np.full((2, 3, 2), 9.0)).deformation == 0


def test_points_go_with_their_cells_and_outermost_cells_are_followed():
    displacement = np.random.default_rng(3).normal(size=(5, 6, 2))
    found = moved_by(displacement)
    centres = found.source.centres()
    np.testing.assert_allclose(found.to_target(centres), centres + STRIDE * displacement, atol=1e-9)
    corner = np.array([-0.5, -0.5])
    np.testing.assert_allclose(found.to_target(corner), corner + STRIDE * displacement[0, 0], atol=1e-9)
    assert np.isnan(found.to_target(np.array([[np.nan, np.nan]]))).all()


def test_a_plane_of_displacements_is_one_between_cells_too():
    columns, rows = np.meshgrid(np.arange(5), np.arange(4))
    displacement = np.stack([0.2 * columns - 0.1 * rows, 0.3 * rows + 1], axis=-1)
    found = moved_by(displacement)
    point = np.array([30.0, 20.0])
    column, row = (point - 7.5) / STRIDE
    expected = point + STRIDE * np.array([0.2 * column - 0.1 * row, 0.3 * row + 1])
    np.testing.assert_allclose(found.to_target(point), expected)
    np.testing.assert_allclose(found.to_source(expected), point, atol=1e-6)


def test_warp_draws_the_source_where_it_goes_and_grey_elsewhere(alexnet, photo):
    subject = describe(photo, BOX, (), network=alexnet, n_cells=5)
    picture, shown = alignment.warp(subject, subject, moved_by(np.broadcast_to([1.0, -2.0], (5, 5, 2))))
    expected = np.full_like(subject.image, NOTHING)
    expected[:-32, 16:] = subject.image[32:, :-16]
    np.testing.assert_array_equal(picture, expected)
    assert shown[:-32, 16:].all()
    assert shown.sum() == 48 * 64


def test_the_source_is_shown_just_where_its_points_come_to_lie():
    # Uneven enough to fold, and to bend the outline inwards.
    found = moved_by(np.random.default_rng(4).normal(0, 0.4, size=(6, 7, 2)))
    width, height = 7 * STRIDE, 6 * STRIDE
    fine = np.stack(
        np.meshgrid(np.arange(-0.5, width - 0.4, 0.125), np.arange(-0.5, height - 0.4, 0.125)), axis=-1
    ).reshape(-1, 2)
    landed = np.rint(found.to_target(fine)).astype(int)
    landed = landed[((landed >= 0) & (landed < (width, height))).all(axis=1)]
    hit = np.zeros((height, width), bool)
    hit[landed[:, 1], landed[:, 0]] = True
    there = pixels(width, height)
    back = found.to_source(there)
    shown = np.isfinite(back).all(axis=-1)
    assert 0.5 < hit.mean() < 0.98
    assert (shown != hit).mean() < 0.03  # pixels of the outline, which are hit in part
    errors = np.linalg.norm(found.to_target(back[shown]) - there[shown], axis=-1)
    assert np.quantile(errors, 0.98) < 2  # within a quarter of a cell such a spline is not quite straight


def test_points_in_any_order_find_their_way_back():
    found = moved_by(np.random.default_rng(7).normal(0, 0.2, size=(4, 5, 2)))
    points = np.random.default_rng(8).uniform(0, 60, (300, 2))
    together = found.to_source(points.reshape(20, 15, 2))
    alone = [found.to_source(point) for point in points]
    np.testing.assert_array_equal(together.reshape(-1, 2), alone)


def test_of_folded_parts_one_that_is_not_turned_over_is_shown():
    # Columns go to 0, 2, 1, 3: the middle is run over three times, once from right to left.
    displacement = np.zeros((2, 4, 2))
    displacement[:, :, 0] = [0, 1, -1, 0]
    found = moved_by(displacement)
    point = np.array([1.5 * STRIDE + 7.5, 15.0])
    x = np.linspace(-0.5, 63.5, 2000)
    path = found.to_target(np.stack([x, np.full_like(x, 15.0)], axis=-1))[:, 0]
    crossings = np.flatnonzero(np.diff(np.sign(path - point[0])))
    assert len(crossings) == 3
    forwards = [x[n] for n in crossings if path[n + 1] > path[n]]
    back = found.to_source(point)
    assert back[1] == pytest.approx(15, abs=1e-6)
    assert min(abs(back[0] - place) for place in forwards) < 0.5


# --- Transfer --------------------------------------------------------------------------------------------------------


def test_nearest_are_the_most_alike_first():
    others = np.array([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    np.testing.assert_array_equal(alignment.nearest_summaries(np.array([1.0, 0.0]), others, 3), [1, 2, 0])
    np.testing.assert_array_equal(alignment.nearest_summaries(np.array([0.0, -1.0]), others, 9), [1, 3, 2, 0])


def test_a_vote_is_the_median_of_the_first_five_that_show_the_keypoint():
    hidden = [np.nan, np.nan]
    candidates = np.array(
        [
            [[1, 50], [1, 1], hidden],
            [[2, 40], hidden, hidden],
            [[3, 10], [3, 3], hidden],
            [[4, 20], hidden, hidden],
            [[90, 30], hidden, hidden],
            [[100, 100], [8, 4], hidden],
            [[200, 200], hidden, hidden],
        ]
    )
    found = alignment.vote(candidates, np.arange(7))
    np.testing.assert_array_equal(found, [[3, 30], [3, 3], hidden])
    # The other way round the first five are 200, 100, 90, 4 and 3.
    np.testing.assert_array_equal(alignment.vote(candidates, np.arange(7)[::-1])[0], [90, 30])
    np.testing.assert_array_equal(alignment.vote(candidates, np.arange(7), top=2)[:2], [[1.5, 45], [2, 2]])


@pytest.fixture(scope="module")
def described(alexnet, cats):
    """Four drawn cats, small."""
    return [alignment.describe_object(cat, [CONV4], network=alexnet, crop=CropSpec(n_cells=6)) for cat in cats[:4]]


def test_transfer_orders_neighbours_by_their_deformation_and_lets_the_first_vote(cats, described):
    target, *others = described
    pairs = list(zip(cats[1:4], others, strict=True))
    told = []
    options = TransferOptions(iterations=3, top=1)
    found = alignment.transfer(
        target, pairs, CONV4, smoothness=0.05, options=options, progress=lambda *now: told.append(now)
    )
    by_hand = {}
    for cat, other in pairs:
        aligned = align(other.grids[CONV4], target.grids[CONV4], smoothness=0.05, iterations=3, gap=1e-3)
        places = target.transform.to_image(aligned.to_target(other.transform.to_crop(cat.keypoints)))
        by_hand[cat.name] = aligned.deformation, places
    order = sorted(by_hand, key=lambda name: by_hand[name][0])
    assert [neighbour.instance.name for neighbour in found.neighbours] == order
    for neighbour in found.neighbours:
        np.testing.assert_allclose(neighbour.keypoints, by_hand[neighbour.instance.name][1])
    for number, point in enumerate(found.keypoints):
        shown = [by_hand[name][1][number] for name in order if np.isfinite(by_hand[name][1][number]).all()]
        np.testing.assert_allclose(point, shown[0] if shown else [np.nan, np.nan])
    assert [share for share, _ in told] == pytest.approx([1 / 3, 2 / 3, 1])


def test_transfer_in_the_order_of_likeness_keeps_the_order_given(cats, described):
    target, *others = described
    pairs = list(zip(cats[1:4], others, strict=True))
    options = TransferOptions(order="likeness", iterations=3)
    for given in (pairs, pairs[::-1]):
        found = alignment.transfer(target, given, CONV4, options=options)
        assert [neighbour.instance for neighbour in found.neighbours] == [one for one, _ in given]


def test_what_cannot_be_transferred_is_said(described):
    with pytest.raises(ValueError, match="order must be one of deformation, likeness; got 'size'"):
        inspect.unwrap(TransferOptions.__init__)(object.__new__(TransferOptions), order="size")  # unchecked by tests
    with pytest.raises(ValueError, match="a transfer needs at least one neighbour; got none"):
        alignment.transfer(described[0], [], CONV4)


# --- Neighbours and a whole object -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class GonePhoto:
    """A photo whose file has gone, or cannot be read now."""

    error: type[Exception] = ImageError
    name: str = "gone.jpg"
    stamp: str = "gone"

    def load(self):
        msg = "gone.jpg is gone"
        raise self.error(msg)


class Describer:
    """Describes objects by what was made before, and remembers whom it was asked for."""

    def __init__(self, cats, described) -> None:
        self.known = {cat.name: each for cat, each in zip(cats, described, strict=True)}
        self.asked = []

    def __call__(self, instance) -> DescribedCrop:
        self.asked.append(instance.name)
        instance.photo.load()
        return self.known[instance.name]


def test_a_pool_describes_all_once_and_has_nothing_of_photos_that_cannot_be_read(cats, described):
    describe_one, told = Describer(cats[:4], described), []
    instances = [cats[0], replace(cats[1], photo=GonePhoto()), *cats[2:4]]
    pool = NeighbourPool.of(instances, describe_one, progress=lambda *now: told.append(now))
    assert sorted(describe_one.asked) == sorted(cat.name for cat in cats[:4])
    for number, row in enumerate(pool.summaries):
        np.testing.assert_array_equal(row, np.zeros_like(row) if number == 1 else described[number].summary)
    assert told[-1] == (1.0, "describing train objects: 4 of 4")
    assert [share for share, _ in told] == [0.25, 0.5, 0.75, 1.0]
    with pytest.raises(ValueError, match="no train object of 1 could be described; the first: gone.jpg is gone"):
        NeighbourPool.of([instances[1]], describe_one)


@pytest.mark.parametrize("error", [OSError, ImageNotReadError])
def test_no_neighbour_is_left_out_that_may_be_readable_another_time(cats, described, error):
    instances = [cats[0], replace(cats[1], photo=GonePhoto(error))]
    with pytest.raises(OSError, match="gone.jpg is gone"):
        NeighbourPool.of(instances, Describer(cats[:2], described[:2]))
    pool = NeighbourPool(
        instances, Describer(cats[:2], described[:2]), np.stack([one.summary for one in described[:2]])
    )
    with pytest.raises(OSError, match="gone.jpg is gone"):
        pool.nearest(cats[2], described[2])


def test_nearest_objects_are_the_most_alike_in_other_photos(cats, described):
    pool = NeighbourPool.of(cats[:4], Describer(cats[:4], described))
    for number, (cat, crop) in enumerate(zip(cats[:4], described, strict=True)):
        found = pool.nearest(cat, crop, 2)
        alike = {other: float(described[other].summary @ crop.summary) for other in range(4) if other != number}
        expected = sorted(alike, key=alike.__getitem__, reverse=True)[:2]
        assert [instance.name for instance, _ in found] == [cats[other].name for other in expected]
        assert [crop for _, crop in found] == [described[other] for other in expected]
    same_photo = replace(cats[1], photo=cats[0].photo)
    assert len(pool.nearest(same_photo, described[1])) == 3  # its own, in another photo now, and not that of cats[0]
    with pytest.raises(ValueError, match=r"needs neighbours in other photos of its category's train split; there are"):
        NeighbourPool.of(cats[:1], Describer(cats[:4], described)).nearest(cats[0], described[0])


def test_a_neighbour_whose_photo_has_gone_since_is_left_out(cats, described):
    describe_one = Describer(cats[:4], described)
    whole = NeighbourPool.of(cats[:4], describe_one)
    gone = replace(cats[1], photo=GonePhoto())
    pool = NeighbourPool([cats[0], gone, *cats[2:4]], describe_one, whole.summaries)
    assert {instance.name for instance, _ in pool.nearest(cats[0], described[0])} == {cats[2].name, cats[3].name}
    nobody = NeighbourPool([gone], describe_one, whole.summaries[1:2])
    with pytest.raises(ValueError, match="no neighbour of 1 could be described; the first: gone.jpg is gone"):
        nobody.nearest(cats[0], described[0])


def test_a_transfer_to_an_object_is_its_parts_together(cats, described):
    pool, told = NeighbourPool.of(cats[:4], Describer(cats[:4], described)), []
    options = TransferOptions(iterations=3, top=2)
    found = alignment.transfer_to_object(
        cats[0], described[0], pool, {CONV4: 0.05}, options=options, progress=lambda *now: told.append(now)
    )
    neighbours = pool.nearest(cats[0], described[0])
    assert [instance for instance, _ in found.neighbours] == [instance for instance, _ in neighbours]
    by_hand = alignment.transfer(described[0], neighbours, CONV4, smoothness=0.05, options=options)
    np.testing.assert_array_equal(found.transfers[CONV4].keypoints, by_hand.keypoints)
    assert found.target is described[0]
    assert told[-1] == (1.0, "conv4: aligning 3 of 3")
    left, top, right, bottom = described[0].transform.edges
    laid = []
    for instance, crop in neighbours:  # a share of the box's sides is the same share of the other's
        its = np.array(crop.transform.edges)
        share = (instance.keypoints - its[:2]) / (its[2:] - its[:2])
        laid.append(np.array([left, top]) + share * [right - left, bottom - top])
    for number, point in enumerate(found.unaligned):
        shown = [one[number] for one in laid if np.isfinite(one[number]).all()][:2]
        np.testing.assert_allclose(point, np.median(shown, axis=0) if shown else [np.nan, np.nan])


def test_features_of_a_transfer_share_its_progress(alexnet, cats):
    crops = [
        alignment.describe_object(cat, [CONV4, SIFT20], network=alexnet, crop=CropSpec(n_cells=4)) for cat in cats[:3]
    ]
    pool, told = NeighbourPool.of(cats[:3], Describer(cats[:3], crops)), []
    options = TransferOptions(iterations=2)
    found = alignment.transfer_to_object(
        cats[0], crops[0], pool, {CONV4: 0.05, SIFT20: 0.1}, options=options, progress=lambda *now: told.append(now)
    )
    assert list(found.transfers) == [CONV4, SIFT20]
    assert [each.smoothness for each in found.transfers.values()] == [0.05, 0.1]
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert told[-1][1] == "SIFT, radius 20 px: aligning 2 of 2"
