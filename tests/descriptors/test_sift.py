import dataclasses
import inspect
import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from corrcore.descriptors import sift
from corrcore.descriptors.sift import Sift
from corrcore.descriptors.taps import Taps
from corrcore.features import Extractor
from corrcore.geometry import CellGrid, PixelBox, ReceptiveField
from tests.gpu.pretended import REAL

SETS = {"bin8": 16, "radius10": 10, "radius20": 20, "radius40": 40, "radius80": 80, "radius160": 160}  # radii, px


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def waves(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A picture that is known at every point; its shortest wave is 20 px long."""
    return 128 + 40 * np.sin(x / 7 + y / 11) + 30 * np.cos(x / 13 - y / 5) + 20 * np.sin(y / 3.2 + x / 29)


def wave_picture(width: int, height: int, *, scale: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / scale
    return waves(x, y)


def some_points(width: int, height: int, n: int, *, seed: int = 0) -> np.ndarray:
    """Between pixels, inside and up to a fifth of the picture's width beyond its border."""
    return np.random.default_rng(seed).uniform(-0.2, 1.2, (n, 2)) * [width - 1, height - 1]


def histograms(image: np.ndarray, points: np.ndarray, **options) -> np.ndarray:
    """Descriptors as [point, bin by row, bin by column, direction]."""
    return sift.describe(image, points, device="cpu", **options).numpy().reshape(-1, 4, 4, 8)


def by_definition(image: np.ndarray, x: float, y: float, radius: float, *, flat: bool = False) -> np.ndarray:
    """One descriptor, vote by vote, in plain Python."""
    height, width = image.shape
    size = radius / 2

    def level(row: int, column: int) -> float:
        return float(image[row, column])

    def slope(before: float, here: float, after: float, at: int, length: int) -> float:
        if at == 0:
            return after - here
        return here - before if at == length - 1 else (after - before) / 2

    sums = np.zeros((4, 4, 8))
    reach = math.ceil(2.5 * size) + 1
    for v in range(math.floor(y) - reach, math.ceil(y) + reach + 1):
        for u in range(math.floor(x) - reach, math.ceil(x) + reach + 1):
            row, column = min(max(v, 0), height - 1), min(max(u, 0), width - 1)
            here = level(row, column)
            left, right = level(row, max(column - 1, 0)), level(row, min(column + 1, width - 1))
            above, below = level(max(row - 1, 0), column), level(min(row + 1, height - 1), column)
            dx, dy = slope(left, here, right, column, width), slope(above, here, below, row, height)
            angle = math.atan2(dy, dx) % (2 * math.pi) / (2 * math.pi) * 8
            for i in range(4):
                for j in range(4):
                    across, down = u - x - (j - 1.5) * size, v - y - (i - 1.5) * size
                    share = max(0.0, 1 - abs(across) / size) * max(0.0, 1 - abs(down) / size)
                    if flat:
                        steps = range(1 - math.ceil(size), math.ceil(size))
                        for middle in ((i - 1.5) * size, (j - 1.5) * size):
                            share *= sum(math.exp(-((middle + s) ** 2) / (8 * size**2)) for s in steps) / len(steps)
                    else:
                        share *= math.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * (2 * size) ** 2))
                    lower = math.floor(angle)
                    sums[i, j, lower % 8] += share * math.hypot(dx, dy) * (1 - (angle - lower))
                    sums[i, j, (lower + 1) % 8] += share * math.hypot(dx, dy) * (angle - lower)
    if not sums.any():
        return sums
    clipped = np.minimum(sums / np.linalg.norm(sums), 0.2)
    return clipped / np.linalg.norm(clipped)


def vlfeat_image() -> np.ndarray:
    """The 500 x 500 picture that VLFeat's values are of: scikit-image's astronaut as OpenCV greys and resizes it."""
    from skimage.data import astronaut

    grey = (astronaut().astype(np.int64) @ [9798, 19235, 3735] + 2**14) >> 15
    source = ((np.arange(500) + 0.5) * (512 / 500) - 0.5).astype(np.float32)
    before = np.floor(source).astype(np.int64)
    weights = [np.rint(part * np.float32(2048)).astype(np.int64) for part in (1 - (source - before), source - before)]
    pairs = list(zip((before, before + 1), weights, strict=True))
    across = sum(grey[:, at] * weight for at, weight in pairs)
    down = sum((weight[:, None] * (across[at] >> 4)) >> 16 for at, weight in pairs)
    return ((down + 2) >> 2).astype(np.uint8)


def cosines_to_vlfeat(found: torch.Tensor, recorded: np.ndarray) -> np.ndarray:
    """VLFeat's have norm 512 and end at 255. Of weak ones, that it left zero, none is compared."""
    ours = np.minimum(512 * found.numpy(), 255)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(recorded, axis=1)
    strong = recorded.any(axis=1)
    assert not found.numpy()[~strong].any()
    return (ours * recorded).sum(axis=1)[strong] / np.maximum(lengths[strong], 1e-9)


# --- Truth ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", ["gaussian", "flat"])
@pytest.mark.parametrize("radius", [2, 5.5, 8])
def test_descriptors_are_as_defined(window, radius):
    image = noise(23, 19)
    points = np.concatenate([some_points(23, 19, 8), [[11, 9], [11.5, 9.5], [0, 0], [22, 18], [-30, 40]]])
    truth = [by_definition(image, *point, radius, flat=window == "flat") for point in points.tolist()]
    np.testing.assert_allclose(histograms(image, points, radius_px=radius, window=window), truth, atol=1e-5)


def test_descriptors_of_images_smaller_than_their_support_are_as_defined():
    for image in (noise(7, 5), noise(1, 9), noise(6, 1), noise(2, 2)):
        points = some_points(*image.shape[::-1], 4)
        truth = [by_definition(image, *point, 12) for point in points.tolist()]
        np.testing.assert_allclose(histograms(image, points, radius_px=12), truth, atol=1e-5)


@pytest.mark.parametrize("name", SETS)
def test_descriptors_are_vlfeats(name):
    recorded = np.load(Path(__file__).parents[1] / "data" / "vlfeat_dsift.npz")
    xy = recorded[f"{name}_xy"]
    found = sift.describe(vlfeat_image(), xy, radius_px=SETS[name], device="cpu")
    assert (
        cosines_to_vlfeat(found, recorded[f"{name}_descriptors"]).min() > 0.9998
    )  # VLFeat's arctangent is a rough one


@pytest.mark.parametrize(("window", "median", "low"), [("gaussian", 0.99998, 0.9999), ("flat", 0.998, 0.995)])
@pytest.mark.parametrize("name", SETS)
def test_descriptors_are_vlfeats_at_all_points_recorded(data_folder, name, window, median, low):
    path = data_folder.parent / "bench" / "vlfeat_dsift.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    recorded = np.load(path)
    key = "bin8_step8" if name == "bin8" else name
    found = sift.describe(
        recorded["image"], recorded[f"{key}_xy"], radius_px=SETS[name], window=window, min_contrast=0, device="cpu"
    )
    cosines = cosines_to_vlfeat(found, recorded[f"{key}_descriptors"])
    assert np.median(cosines) >= median
    assert np.percentile(cosines, 5) >= low


@pytest.mark.parametrize("eighth", range(8))
def test_a_ramp_has_all_votes_in_its_direction(eighth):
    y, x = np.mgrid[:60, :60]
    angle = eighth * math.pi / 4
    found = histograms(100 + math.cos(angle) * x + math.sin(angle) * y, np.array([[30, 29.5]]), radius_px=16)
    assert found[0, :, :, eighth].min() > 0.1
    np.testing.assert_allclose(np.delete(found, eighth, axis=3), 0, atol=1e-4)


def test_a_ramp_between_two_directions_votes_for_both():
    y, x = np.mgrid[:60, :60]
    found = histograms(math.cos(math.pi / 8) * x + math.sin(math.pi / 8) * y, np.array([[30, 30]]), radius_px=16)[0]
    np.testing.assert_allclose(found[:, :, 0], found[:, :, 1], atol=1e-5)
    np.testing.assert_allclose(found[:, :, 2:], 0, atol=1e-5)


# --- What becomes of a descriptor as the picture is changed
# ------------------------------------------------------------


def test_a_quarter_turn_turns_bins_and_directions():
    image, points = noise(40, 31), some_points(40, 31, 20)
    turned = np.stack([points[:, 1], 39 - points[:, 0]], axis=1)
    expected = np.roll(np.rot90(histograms(image, points, radius_px=7), axes=(1, 2)), -2, axis=3)
    np.testing.assert_allclose(histograms(np.rot90(image), turned, radius_px=7), expected, atol=2e-6)


def test_a_mirrored_picture_has_mirrored_bins_and_directions():
    image, points = noise(40, 31), some_points(40, 31, 20)
    mirrored = np.stack([39 - points[:, 0], points[:, 1]], axis=1)
    expected = histograms(image, points, radius_px=7)[:, :, ::-1][..., (4 - np.arange(8)) % 8]
    np.testing.assert_allclose(histograms(image[:, ::-1], mirrored, radius_px=7), expected, atol=2e-6)


def test_a_moved_picture_has_the_same_descriptors():
    image = noise(90, 80)
    points = np.random.default_rng(1).uniform([32, 30], [55, 48], (20, 2))  # 2.5 bins and a pixel from the border
    moved = histograms(image[7:, 11:], points - np.array([11, 7]), radius_px=16)
    np.testing.assert_allclose(moved, histograms(image, points, radius_px=16), atol=2e-6)


def test_a_picture_moved_between_pixels_has_nearly_the_same_descriptors():
    y, x = np.mgrid[:80, :90]
    points = np.random.default_rng(1).uniform(30, 50, (20, 2))
    here = sift.describe(waves(x, y), points, radius_px=16, device="cpu")
    moved = sift.describe(waves(x - 0.3, y + 0.6), points + np.array([0.3, -0.6]), radius_px=16, device="cpu")
    assert (here * moved).sum(dim=1).min() > 0.9995


def test_an_enlarged_picture_has_nearly_the_same_descriptors_at_that_radius():
    points = np.random.default_rng(1).uniform(30, 50, (20, 2))
    here = sift.describe(wave_picture(80, 80), points, radius_px=20, device="cpu")
    enlarged = sift.describe(wave_picture(240, 240, scale=3), 3 * points, radius_px=60, device="cpu")
    assert (here * enlarged).sum(dim=1).min() > 0.998


def test_brightness_and_contrast_change_nothing():
    image, points = noise(40, 31), some_points(40, 31, 20)
    changed = 0.25 * image.astype(np.float64) - 40
    np.testing.assert_allclose(
        histograms(changed, points, radius_px=9), histograms(image, points, radius_px=9), atol=5e-6
    )


# --- Weak, and out of the picture
# --------------------------------------------------------------------------------------


def test_nothing_to_describe_gives_zeros():
    points = some_points(50, 40, 30)
    rounding = 200 + np.random.default_rng(0).uniform(-2e-5, 2e-5, (40, 50)).astype(np.float32)
    colour = np.tile(np.array([231, 17, 99], np.uint8), (40, 50, 1))  # its grey is no whole number
    for image in (np.full((40, 50), 77, np.uint8), rounding, colour):
        for radius in (4, 10, 100):
            assert not histograms(image, points, radius_px=radius).any()


def test_nothing_at_all_gives_zeros_whatever_the_least_contrast():
    points = some_points(50, 40, 30)
    for image in (np.full((40, 50), 77, np.uint8), np.random.default_rng(0).uniform(0, 1e-30, (40, 50))):
        assert not histograms(image, points, radius_px=10, min_contrast=0).any()


def test_descriptors_have_unit_length_where_the_picture_has_the_least_structure():
    image = np.full((60, 80), 128, np.uint8)
    image[:, 60] += 1
    found = sift.describe(image, np.array([[10, 30], [20, 20], [60, 30], [70, 70]]), radius_px=10, device="cpu")
    np.testing.assert_allclose(found.norm(dim=1).numpy(), [0, 0, 1, 1], atol=1e-6)


def test_min_contrast_is_of_vlfeats_norm():
    """On a ramp of one level a pixel the weighted sum is that of the weights, and near (3.3 bins)²."""
    ramp, points = np.tile(np.arange(99.0), (99, 1)), np.array([[49, 49]])
    taps = Taps.of(np.array([49.0]), 99, 8.0, "gaussian").weights.sum(dtype=np.float64)
    norm = taps**2 / (3 * 8 + 1) ** 2
    assert histograms(ramp, points, radius_px=16, min_contrast=norm * 0.9999).any()
    assert not histograms(ramp, points, radius_px=16, min_contrast=norm * 1.0001).any()


def test_a_point_far_out_sees_the_border_go_on():
    image = noise(30, 30)
    points = np.array([[15, -1e9], [15, -1000], [1e300, 12], [29 + 60, 12]])
    found = histograms(image, points, radius_px=8)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    np.testing.assert_allclose(found[2], found[3], atol=1e-6)
    assert np.abs(found[0, 0] - found[0, 3]).max() < 1e-6  # the first row's votes, and those only, in each row of bins


# --- Grids ------------------------------------------------------------------------------------------------------------


def test_a_grid_is_vlfeats_by_default():
    grid = sift.extract(noise(500, 500), radius_px=16, stride=8, device="cpu")
    assert grid.descriptors.shape == (60, 60, 128)
    assert grid.descriptors.dtype == torch.float32
    assert grid.receptive_field == ReceptiveField(size=32, stride=8, offset=12.0)
    assert (grid.image_size, grid.layer) == ((500, 500), "sift16")
    assert sift.extract(noise(99, 60), radius_px=10, device="cpu").receptive_field.offset == 7.5


def test_a_grid_ends_no_nearer_to_the_border_than_it_begins():
    cells = sift.extract(noise(45, 30), stride=4, offset=2.5, device="cpu").cells
    assert (cells.rows, cells.columns) == (7, 10)
    assert cells.centres()[-1, -1].tolist() == [38.5, 26.5]
    assert cells.centres()[0, 0].tolist() == [2.5, 2.5]
    assert len(sift.extract(noise(45, 30), stride=1, offset=0.0, device="cpu").cells) == 45 * 30


def test_descriptors_of_a_grid_are_those_at_its_points():
    image = noise(70, 50)
    grid = sift.extract(image, radius_px=9, stride=5, offset=3.5, device="cpu")
    centres = grid.cells.centres().reshape(-1, 2)
    singly = [sift.describe(image, centre[None], radius_px=9, device="cpu") for centre in centres]
    np.testing.assert_allclose(grid.flat().numpy(), torch.cat(singly).numpy(), atol=2e-6)


def test_a_grid_on_a_networks_cells_has_their_centres(alexnet):
    image = np.repeat(noise(150, 130)[:, :, None], 3, axis=2)
    features = alexnet.extract(image, ("conv4",))["conv4"]
    grid = sift.extract_on(image, features.cells, radius_px=12.5, window="flat", device="cpu")
    assert grid.descriptors.shape[:2] == features.descriptors.shape[:2]
    assert grid.receptive_field == ReceptiveField(
        size=25, stride=features.receptive_field.stride, offset=features.receptive_field.offset
    )
    assert grid.layer == "sift12.5"
    np.testing.assert_array_equal(grid.cells.centres(), features.cells.centres())
    centre = grid.cells.centres()[2, 3]
    found = sift.describe(image, centre[None], radius_px=12.5, window="flat", device="cpu")[0]
    np.testing.assert_allclose(grid.descriptors[2, 3].numpy(), found.numpy(), atol=2e-6)


def test_kinds_of_images_are_described_alike():
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    grey = picture @ np.array([0.299, 0.587, 0.114])
    points = some_points(50, 40, 20)
    expected = histograms(picture, points, radius_px=8)
    for image in (grey, grey.astype(np.float32), np.asfortranarray(grey), np.repeat(grey, 2, axis=1)[:, ::2]):
        np.testing.assert_allclose(histograms(image, points, radius_px=8), expected, atol=5e-6)


def test_results_do_not_depend_on_order_or_how_work_is_divided():
    image, n_threads = noise(120, 90), torch.get_num_threads()
    points = np.concatenate([some_points(120, 90, 60), np.round(some_points(120, 90, 60, seed=1)), np.ones((3, 2))])
    singly = np.concatenate([histograms(image, point[None], radius_px=6) for point in points])
    order = np.random.default_rng(0).permutation(len(points))
    try:
        for threads, at_once in ((1, 4096), (3, 4096), (2, 7)):
            torch.set_num_threads(threads)
            found = histograms(image, points[order], radius_px=6, points_at_once=at_once)
            np.testing.assert_allclose(found, singly[order], atol=2e-6)
    finally:
        torch.set_num_threads(n_threads)


def test_no_points_have_no_descriptors():
    assert sift.describe(noise(9, 9), np.empty((0, 2)), radius_px=4, device="cpu").shape == (0, 128)


# --- On a GPU ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", ["gaussian", "flat"])
def test_what_a_gpu_computes_is_the_same(window):
    images = [noise(70, 50), wave_picture(70, 50), noise(70, 50) * 1e-6, noise(1, 9), noise(9, 1)]
    points = np.concatenate([some_points(70, 50, 40), np.round(some_points(70, 50, 40, seed=1))])
    for image in images:
        expected, found = (
            histograms(image, points, radius_px=9, window=window, backend=backend) for backend in ("cpu", "torch")
        )
        np.testing.assert_allclose(found, expected, atol=5e-6)


@pytest.mark.gpu
def test_a_cuda_device_finds_the_same(cuda):
    image = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    stride = 3 if REAL else 24
    for radius in (10, 160):
        found = sift.extract(image, radius_px=radius, stride=stride, offset=0.5, device=cuda)
        assert found.descriptors.device.type == "cuda"
        expected = sift.extract(image, radius_px=radius, stride=stride, offset=0.5, device="cpu")
        np.testing.assert_allclose(found.descriptors.cpu().numpy(), expected.descriptors.numpy(), atol=2e-5)


# --- The extractor ----------------------------------------------------------------------------------------------------


def colours(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def extractor() -> Sift:
    return Sift(device="cpu")


def test_sift_is_an_extractor(extractor):
    assert isinstance(extractor, Extractor)
    assert (extractor.name, extractor.anywhere, extractor.device.type) == ("sift", True, "cpu")
    assert extractor.layers == ("10", "20", "40", "80", "160")
    assert len(extractor.digest) == 32
    named = dataclasses.asdict(extractor.roles).values()
    for layer in (one for role in named for one in ([role] if isinstance(role, str) else role or ())):
        assert extractor.receptive_field(layer).size == 2 * float(layer)


@pytest.mark.parametrize(("layer", "field"), [("20", (40, 10, 15)), ("5.5", (11, 3, 4)), ("2", (4, 1, 1.5))])
def test_cells_are_as_far_apart_as_bins_are_wide(extractor, layer, field):
    assert extractor.receptive_field(layer) == ReceptiveField(*field)
    image, smallest = colours(61, 58), extractor.smallest_side(layer)
    grid = extractor.extract(image, [layer])[layer]
    expected = sift.extract(image, radius_px=float(layer), stride=field[1], device="cpu")
    assert grid.receptive_field == expected.receptive_field == extractor.receptive_field(layer)
    torch.testing.assert_close(grid.descriptors, expected.descriptors, rtol=0, atol=0)
    assert (grid.layer, grid.image_size) == (f"sift{layer}", (61, 58))
    assert len(extractor.extract(image[:smallest], [layer])[layer].descriptors) == 1
    text = f"an image must be at least {smallest} x {smallest} px for sift{layer}; got 61 x {smallest - 1} px."
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        extractor.extract(image[: smallest - 1], [layer])


def test_a_batch_of_images_is_described_one_by_one(extractor):
    images = [colours(50, 40), colours(50, 40)[::-1].copy()]
    for found, image in zip(extractor.extract_batch(images, ["10", "4"]), images, strict=True):
        expected = extractor.extract(image, ["10", "4"])
        assert list(found) == ["10", "4"]
        for layer, grid in found.items():
            assert torch.equal(grid.descriptors, expected[layer].descriptors)


def test_descriptors_of_another_extractors_cells_are_at_their_centres(extractor):
    image, cells = colours(64, 48), CellGrid(ReceptiveField(99, 16, 1.0), 3, 4, (64, 48))
    grid = sift.extract_on(image, cells, radius_px=12.5, device="cpu")
    assert (grid.layer, grid.receptive_field) == ("sift12.5", ReceptiveField(25, 16, 1.0))
    at = extractor.sample_at(image, cells.centres().reshape(-1, 2), ["12.5"])["12.5"]
    assert torch.equal(grid.flat(), at)


@pytest.mark.parametrize("options", [{}, {"cells": 3}, {"exact": True}])
def test_points_have_descriptors_of_their_own(extractor, options):
    image, points = colours(64, 48), some_points(64, 48, 9)
    found = extractor.sample_at(image, points, ["8", "20"], **options)
    for layer in ("8", "20"):
        assert torch.equal(found[layer], sift.describe(image, points, radius_px=float(layer), device="cpu"))


@pytest.mark.parametrize("region", [None, PixelBox(3, 2, 12, 72), PixelBox(5, 60, 6, 68)])
def test_tiles_are_the_descriptors_of_their_pixels(extractor, region):
    image, told = colours(15, 72), []
    whole = extractor.valid_region("6", (15, 72))
    assert whole == PixelBox(0, 0, 15, 72)
    region_given, region = region, region or whole
    seen = np.zeros((72, 15), int)
    for box, tile in extractor.iter_tiles(image, "6", region=region_given, progress=told.append):
        seen[box.top : box.bottom, box.left : box.right] += 1
        x, y = np.meshgrid(np.arange(box.left, box.right), np.arange(box.top, box.bottom))
        points = np.stack([x, y], axis=-1).reshape(-1, 2).astype(float)
        assert tile.shape == (box.height, box.width, 128)
        expected = sift.describe(image, points, radius_px=6, device="cpu")
        torch.testing.assert_close(tile.flatten(0, 1), expected, rtol=0, atol=2e-6)
    expected = np.zeros_like(seen)
    expected[region.top : region.bottom, region.left : region.right] = 1
    np.testing.assert_array_equal(seen, expected)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)


@pytest.mark.parametrize("layer", ["conv4", "1.9", "1001", "nan", "", "-20"])
def test_layers_that_are_no_radius_are_refused(extractor, layer):
    image, points = colours(64, 48), np.ones((1, 2))
    for call in (
        lambda: extractor.receptive_field(layer),
        lambda: extractor.smallest_side(layer),
        lambda: extractor.extract(image, [layer]),
        lambda: extractor.sample_at(image, points, ["20", layer]),
        lambda: extractor.valid_region(layer, (64, 48)),
        lambda: next(extractor.iter_tiles(image, layer)),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == f"layer of sift must be a radius of 2 to 1000 px, such as 20; got {layer!r}."


def test_what_sift_cannot_do_is_said(extractor):
    image, points = colours(64, 48), np.ones((1, 2))
    for call, text in (
        (lambda: extractor.global_descriptor(image, "20"), "sift has no description of a whole image"),
        (lambda: extractor.sample_at(image, points, ["20"], cells=2), "cells must be an odd number from 1; got 2."),
        (lambda: extractor.sample_at(image, points, ["20"], cells=-1), "cells must be an odd number from 1; got -1."),
        (lambda: extractor.sample_at(image, points, ["20"], cells=3, exact=True), "cells must be 1 where"),
        (lambda: next(extractor.iter_tiles(image, "20", region=PixelBox(0, 0, 65, 48))), "region must lie within"),
        (lambda: next(extractor.iter_tiles(image, "20", region=PixelBox(5, 5, 5, 9))), "region must lie within"),
    ):
        with pytest.raises(ValueError, match=f"^{text}"):
            call()


def test_an_extractor_and_its_grids_pickle(extractor):
    image = colours(64, 48)
    again = pickle.loads(pickle.dumps(extractor))
    grid = extractor.extract(image, ["10"])["10"]
    assert again.device == extractor.device
    assert torch.equal(again.extract(image, ["10"])["10"].descriptors, grid.descriptors)
    assert torch.equal(pickle.loads(pickle.dumps(grid)).descriptors, grid.descriptors)


# --- Errors -----------------------------------------------------------------------------------------------------------


NOT_AN_IMAGE = (
    "image must be a non-empty array, uint8 of shape (height, width, 3) or grey numbers of shape (height, width);"
)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"radius_px": 0}, "radius_px must be finite and at least 2 px (bins of 1 px); got 0."),
        ({"radius_px": -8.5}, "radius_px must be finite and at least 2 px (bins of 1 px); got -8.5."),
        ({"radius_px": math.nan}, "radius_px must be finite and at least 2 px (bins of 1 px); got nan."),
        ({"radius_px": math.inf}, "radius_px must be finite and at least 2 px (bins of 1 px); got inf."),
        ({"window": "hann"}, "window must be 'gaussian' or 'flat'; got 'hann'."),
        ({"min_contrast": -1}, "min_contrast must be finite and at least 0 grey levels; got -1."),
        ({"device": "meta"}, "device must be cpu or a CUDA device; got meta."),
        (
            {"points": np.zeros((3, 3))},
            "points must be an array of shape (points, 2), each (x, y) in pixels; got shape (3, 3).",
        ),
        (
            {"points": np.zeros(2)},
            "points must be an array of shape (points, 2), each (x, y) in pixels; got shape (2,).",
        ),
        ({"points": np.array([[1.0, 2.0], [math.nan, 3.0]])}, "points must be finite; got [nan, 3.0] at 1."),
        (
            {"image": np.zeros((4, 5, 4), np.uint8)},
            f"{NOT_AN_IMAGE} got uint8 (4, 5, 4).",
        ),
        (
            {"image": np.zeros((0, 5))},
            f"{NOT_AN_IMAGE} got float64 (0, 5).",
        ),
        (
            {"image": np.array([[1.0, math.nan]])},
            "image must have finite grey levels, of a magnitude up to 1,000,000; got nan to nan.",
        ),
        (
            {"image": np.array([[1.0, 1e30]])},
            "image must have finite grey levels, of a magnitude up to 1,000,000; got 1.0 to 1e+30.",
        ),
    ],
)
def test_descriptions_that_cannot_be_had_are_refused(options, text):
    describe = inspect.unwrap(sift.describe)  # some of these the tests' own checker would refuse first
    given = {"image": noise(20, 20), "points": np.ones((1, 2)), "radius_px": 8.0, "device": "cpu"} | options
    with pytest.raises(ValueError) as error:
        describe(given.pop("image"), given.pop("points"), **given)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stride": 0}, "stride must be at least 1 px; got 0."),
        ({}, "offset (by default 0.75 radius_px) must be between 0 and 9.5 px in an image of 30 x 20 px; got 15."),
        (
            {"offset": -1.0},
            "offset (by default 0.75 radius_px) must be between 0 and 9.5 px in an image of 30 x 20 px; got -1.",
        ),
    ],
)
def test_grids_that_cannot_be_had_are_refused(options, text):
    with pytest.raises(ValueError) as error:
        sift.extract(noise(30, 20), **options)
    assert str(error.value) == text


def test_cells_of_another_image_are_refused():
    cells = CellGrid(ReceptiveField(99, 16, 1.0), 3, 4, (64, 48))
    with pytest.raises(
        ValueError, match=r"^cells must be those of an image of 30 x 20 px, as this is; got \(64, 48\)\.$"
    ):
        sift.extract_on(noise(30, 20), cells)
