import inspect
import itertools
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from corrcore import crops, geometry
from corrcore.crops import CropTransform
from corrcore.geometry import CellGrid, KernelSpec, PixelBox, ReceptiveField

CHAINS = [
    [KernelSpec(11, 4, 2)],
    [KernelSpec(3, 2), KernelSpec(5, 1, 2)],
    [KernelSpec(4, 2, 1), KernelSpec(2, 2), KernelSpec(3, 1, 1)],
    [KernelSpec(3, 1, 2, dilation=2), KernelSpec(3, 3)],
    [KernelSpec(1, 2), KernelSpec(6, 1, 3)],
]


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@pytest.mark.parametrize("length", [40, 41, 47])
def test_field_of_a_chain_is_the_support_of_the_input_gradient(chain, length):
    layers = [nn.Conv1d(1, 1, w.size, w.stride, w.padding, w.dilation, bias=False, dtype=torch.float64) for w in chain]
    for layer in layers:
        nn.init.ones_(layer.weight)
    model = nn.Sequential(*layers)
    field = ReceptiveField.of_kernels(chain)
    signal = torch.ones(1, 1, length, dtype=torch.float64, requires_grad=True)
    n_cells = model(signal).shape[-1]
    for cell in range(n_cells):
        (gradient,) = torch.autograd.grad(model(signal)[0, 0, cell], signal)
        seen = torch.nonzero(gradient[0, 0]).ravel()
        box = field.receptive_field_box(0, cell).clip((length, length))
        assert int(seen[0]) == box.left
        if (
            field.receptive_field_box(0, cell).right <= length
        ):  # beyond the border a stride may leave the last pixels unused
            assert int(seen[-1]) + 1 == box.right


@pytest.mark.parametrize("stride", [1, 3, 8, 16])
@pytest.mark.parametrize("offset", [0.0, 0.5, 15.0, -3.0])
def test_cell_inverts_centre(stride, offset):
    field = ReceptiveField(size=31, stride=stride, offset=offset)
    for cell in (-2.0, 0.0, 0.25, 7.0, 100.5):
        assert field.cell(field.centre(cell)) == pytest.approx(cell)


@pytest.mark.parametrize("stride", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("offset", [0.0, 0.5, 15.0, 7.5])
def test_patches_tile_the_image_and_own_their_nearest_centre(stride, offset):
    field = ReceptiveField(size=5, stride=stride, offset=offset)
    grid = CellGrid(field, 4, 6, (200, 200))
    owner = {}
    for row, column in itertools.product(range(4), range(6)):
        box = field.patch_box(row, column)
        assert (box.width, box.height) == (stride, stride)
        for y, x in itertools.product(range(box.top, box.bottom), range(box.left, box.right)):
            assert (y, x) not in owner
            owner[y, x] = (row, column)
    assert len(owner) == 24 * stride**2
    for (y, x), cell in owner.items():
        assert grid.nearest(x, y) == cell


def test_nearest_outside_the_grid_is_the_closest_one():
    grid = CellGrid(ReceptiveField(9, 4, 4.0), 3, 4, (20, 16))
    assert grid.nearest(-50, 7) == (1, 0)
    assert grid.nearest(500, 500) == (2, 3)


@pytest.mark.parametrize(("stride", "offset"), [(1, 0.0), (4, 4.0), (8, 7.5), (16, 15.0)])
@pytest.mark.parametrize("shape", [(), (200,), (20, 3), (0,)])
def test_nearest_cells_have_the_least_distance(shape, stride, offset):
    grid = CellGrid(ReceptiveField(9, stride, offset), 5, 7, (120, 90))
    points = np.random.default_rng(1).uniform(-60, 180, (*shape, 2))
    rows, columns = grid.nearest_cells(points)
    assert rows.shape == columns.shape == shape
    centres = grid.centres()
    away = np.linalg.norm(centres - points[..., None, None, :], axis=-1)
    chosen = np.linalg.norm(centres[rows, columns] - points, axis=-1)
    np.testing.assert_allclose(chosen, away.min(axis=(-2, -1)), atol=1e-9)
    for point, row, column in zip(points.reshape(-1, 2), rows.reshape(-1), columns.reshape(-1), strict=True):
        assert grid.nearest(*point) == (row, column)


def test_nearest_cells_of_whole_pixels_take_integers():
    grid = CellGrid(ReceptiveField(9, 4, 4.0), 3, 4, (20, 16))
    rows, columns = grid.nearest_cells(np.array([[4, 4], [9, 13]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 2], [0, 1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nearest_cells_of_hidden_points_are_refused(value):
    grid = CellGrid(ReceptiveField(9, 4, 4.0), 3, 4, (20, 16))
    with pytest.raises(ValueError, match="points must be finite; got some that are NaN or infinite"):
        grid.nearest_cells(np.array([[3.0, 4.0], [value, 2.0]]))
    with pytest.raises(ValueError, match="points must be finite"):
        grid.nearest(value, 3)


def test_centres_lie_in_the_middle_of_field_boxes():
    field = ReceptiveField(size=11, stride=4, offset=3.0)
    centres = CellGrid(field, 2, 3, (20, 16)).centres()
    for row, column in itertools.product(range(2), range(3)):
        box = field.receptive_field_box(row, column)
        assert tuple(centres[row, column]) == ((box.left + box.right - 1) / 2, (box.top + box.bottom - 1) / 2)


def test_inner_cells_are_those_whose_field_box_is_inside():
    field = ReceptiveField(size=9, stride=4, offset=1.0)
    grid = CellGrid(field, 6, 7, (27, 23))
    expected = [
        row * 7 + column
        for row, column in itertools.product(range(6), range(7))
        if field.receptive_field_box(row, column).inside((27, 23))
    ]
    assert expected
    np.testing.assert_array_equal(grid.inner(), expected)


def test_union_covers_both_branches():
    narrow, wide = ReceptiveField(3, 2, 1.0), ReceptiveField(8, 2, 0.5)
    assert narrow.union(wide) == ReceptiveField(8, 2, 0.5)
    assert ReceptiveField(3, 2, 4.0).union(wide) == ReceptiveField(9, 2, 1.0)


def test_union_of_different_strides_is_refused():
    with pytest.raises(ValueError, match="must share one stride.* got 2 and 4 pixels"):
        ReceptiveField(3, 2, 0.0).union(ReceptiveField(3, 4, 0.0))


def test_field_without_extent_is_refused():
    with pytest.raises(ValueError, match="size of a receptive field must be at least 1 pixel; got 0"):
        ReceptiveField(0, 1, 0.0)


def test_contains_compares_pixels():
    def pixels(box):
        return set(itertools.product(range(box.left, box.right), range(box.top, box.bottom)))

    rng = np.random.default_rng(4)
    outer, seen = PixelBox(1, 2, 5, 6), []
    for _ in range(300):
        corner = rng.integers(0, 5, 2)
        other = PixelBox(*corner.tolist(), *(corner + rng.integers(1, 4, 2)).tolist())
        assert outer.contains(other) == (pixels(other) <= pixels(outer))
        assert other.inside((5, 6)) == (pixels(other) <= pixels(PixelBox(0, 0, 5, 6)))
        seen.append(outer.contains(other))
    assert 0 < sum(seen) < len(seen)
    assert outer.contains(outer)


PUBLIC = [
    PixelBox(1, 2, 3, 4),
    KernelSpec(3, 2, 1, 2),
    ReceptiveField(31, 16, 15.0),
    CellGrid(ReceptiveField(31, 16, 15.0), 3, 4, (90, 70)),
    CropTransform((0.5, 1.5, 9.5, 8.5), (30, 20)),
]


@pytest.mark.parametrize("value", PUBLIC, ids=lambda value: type(value).__name__)
def test_public_objects_pickle(value):
    assert pickle.loads(pickle.dumps(value)) == value


def test_all_public_classes_are_pickled():
    classes = {value for module in (geometry, crops) for value in vars(module).values() if inspect.isclass(value)}
    assert {each for each in classes if each.__module__.startswith("corrcore")} == {type(value) for value in PUBLIC}


def test_clip_of_a_box_outside_has_no_area():
    assert PixelBox(-20, 5, -10, 9).clip((30, 30)).width == 0
    assert PixelBox(-2, -3, 4, 40).clip((30, 30)) == PixelBox(0, 0, 4, 30)


def test_windows_that_lie_askew_have_their_cells_in_the_middle_of_the_image():
    halved = ReceptiveField.of_kernels([KernelSpec(3, 2, 1)] * 4)
    assert (halved.size, halved.stride, halved.offset) == (31, 16, 0.0)
    found = halved.balanced(14, 224)
    assert (found.stride, found.offset, found.askew) == (16, 7.5, -7.5)
    assert found.window == halved
    grid = CellGrid(found, 14, 14, (224, 224))
    np.testing.assert_array_equal(grid.centres() + grid.centres()[::-1, ::-1], 223)  # as in the mirror
    assert grid.covered == PixelBox(0, 0, 224, 224)
    assert found.receptive_field_box(5, 5) == PixelBox(65, 65, 96, 96)
    assert found.patch_box(5, 5) == PixelBox(80, 80, 96, 96)
    assert found.around_px == 46
    for cell in grid.inner():
        assert found.receptive_field_box(*divmod(int(cell), 14)).inside((224, 224))


def test_windows_in_the_middle_and_those_an_eighth_of_a_stride_beside_it_stay():
    alexnet = ReceptiveField.of_kernels([KernelSpec(11, 4, 2), KernelSpec(3, 2), KernelSpec(5, 1, 2), KernelSpec(3, 2)])
    assert alexnet.balanced(13, 224) is alexnet
    patches = ReceptiveField(14, 14, 6.5)
    assert patches.balanced(37, 518) is patches


def test_a_window_is_no_larger_than_the_field_it_stands_for():
    assert ReceptiveField(None, 8, 3.5, window_strides=31).window_px == 248
    assert ReceptiveField(168, 8, 3.5, window_strides=31).window_px == 168
    assert ReceptiveField(168, 8, 3.5, window_strides=7).window_px == 56
    assert ReceptiveField(160, 8, 3.5, window_strides=7).window_px == 160  # 20 strides are a size
