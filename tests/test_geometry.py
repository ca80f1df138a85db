import itertools

import numpy as np
import pytest
import torch
from torch import nn

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


def test_clip_of_a_box_outside_has_no_area():
    assert PixelBox(-20, 5, -10, 9).clip((30, 30)).width == 0
    assert PixelBox(-2, -3, 4, 40).clip((30, 30)) == PixelBox(0, 0, 4, 30)


def test_a_placement_keeps_edges_and_middles_of_pixels():
    # Columns 10 to 19 and rows 20 to 23 of a photo, drawn three times as wide and half as high.
    placement = CropTransform(edges=(9.5, 19.5, 19.5, 23.5), size=(30, 2))
    assert placement.scale == (3, 0.5)
    in_photo = np.array([[9.5, 19.5], [19.5, 23.5], [10, 20.5], [14.5, 21.5]])
    in_cut_out = np.array([[-0.5, -0.5], [29.5, 1.5], [1, 0], [14.5, 0.5]])
    np.testing.assert_allclose(placement.to_crop(in_photo), in_cut_out)
    np.testing.assert_allclose(placement.to_image(in_cut_out), in_photo)


@pytest.mark.parametrize("edges", [(-0.5, -0.5, 99.5, 49.5), (-37.2, 4.1, 12.9, 800.3), (3.0, 3.0, 3.5, 4.0)])
@pytest.mark.parametrize("size", [(1, 1), (304, 304), (304, 96)])
def test_to_photo_inverts_to_cut_out(edges, size):
    placement = CropTransform(edges, size)
    points = np.random.default_rng(0).uniform(-400, 900, (5, 7, 2))
    np.testing.assert_allclose(placement.to_image(placement.to_crop(points)), points, atol=1e-9)
    np.testing.assert_allclose(placement.to_crop(placement.to_image(points)), points, atol=1e-9)


def test_a_hidden_point_stays_hidden_in_a_placement():
    placement = CropTransform((0.0, 0.0, 10.0, 10.0), (5, 5))
    assert np.isnan(placement.to_crop(np.array([np.nan, np.nan]))).all()
    assert np.isnan(placement.to_image(np.array([np.nan, np.nan]))).all()
