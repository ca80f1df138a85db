"""CaffeNet against OpenCV, which reads and runs Caffe's files with code of its own, and against Caffe's rules in NumPy.

The weights are random: the published ones are not needed to tell whether the graph and the files are Caffe's.
"""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from corrcore import networks
from corrcore.networks import caffe
from corrcore.networks.caffemodel import read_caffemodel
from tests.networks import caffe_files
from tests.networks.caffe_files import random_weights

# In pixels, width and height. At 227, the size of training, no pooling has a window that reaches beyond the border; at
# all others some have one: pool1 at widths of 223 and 240, pool2 at a height of 219, and all three at 170 and 103.
SIZES = [(227, 227), (223, 219), (240, 187), (170, 103), (97, 71)]


@pytest.fixture(scope="module")
def opencv():
    """OpenCV with a reader of Caffe's files, which version 5 has no longer."""
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip(f"OpenCV {cv2.__version__} reads no files of Caffe's; install opencv-python-headless<5")
    return cv2


@pytest.fixture(scope="module")
def arrays():
    return random_weights()


@pytest.fixture(scope="module", params=[False, True], ids=["layer", "layers"])
def model_file(request, arrays, tmp_path_factory):
    return caffe_files.write(tmp_path_factory.mktemp("caffe") / "net.caffemodel", arrays, older=request.param)


def photo(width: int, height: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def normalised(rgb: np.ndarray) -> torch.Tensor:
    """As every network's pixels are."""
    pixels = (rgb / 255 - np.array(caffe.MEAN)) / np.array(caffe.STD)
    return torch.from_numpy(pixels).float().permute(2, 0, 1)[None]


def as_caffe_takes_it(rgb: np.ndarray) -> np.ndarray:
    """BGR from 0 to 255, minus the published mean of the channels."""
    bgr = rgb[:, :, ::-1].astype(np.float32) - np.array([104.00698793, 116.66876762, 122.67891434], np.float32)
    return np.ascontiguousarray(bgr.transpose(2, 0, 1)[None])


def outputs(pixels: torch.Tensor, weights: dict[str, torch.Tensor], last: str) -> dict[str, torch.Tensor]:
    """Every module's output up to the last one."""
    model = caffe.build_caffenet().eval()
    model.load_state_dict(weights, strict=False)
    found = {}
    with torch.inference_mode():
        for name, module in model.named_children():
            pixels = found[name] = module(pixels)
            if name == last:
                return found
    raise KeyError(last)


def of_opencv(opencv, prototxt: str, path, pixels: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    net = opencv.dnn.readNetFromCaffe(np.frombuffer(prototxt.encode(), np.uint8), np.fromfile(path, np.uint8))
    net.enableFusion(False)
    net.enableWinograd(False)
    net.setInput(pixels)
    return dict(zip(names, net.forward(names), strict=True))


def assert_close(found: torch.Tensor, expected: np.ndarray, name: str):
    assert found.shape == expected.shape, name
    assert (expected > 0).any(), name
    error = float(np.abs(found.numpy() - expected).max() / np.abs(expected).max())
    assert error < 1e-5, f"{name}: {error}"


# --- Against OpenCV --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_grid_is_the_one_that_opencv_computes(opencv, model_file, width, height):
    rgb = photo(width, height)
    found = outputs(normalised(rgb), read_caffemodel(model_file), "pool5")
    graph = caffe_files.prototxt(width, height)
    expected = of_opencv(opencv, graph, model_file, as_caffe_takes_it(rgb), list(found))
    for name, grid in found.items():
        assert_close(grid, expected[name], name)


@pytest.mark.slow
def test_a_whole_older_file_has_the_scores_that_opencv_computes(opencv, tmp_path):
    """Of the size and the format of the file that is published."""
    path = caffe_files.write(tmp_path / "net.caffemodel", random_weights(tuple(caffe_files.SHAPES)), older=True)
    try:
        assert 243_000_000 < path.stat().st_size < 245_000_000
        rgb = photo(227, 227)
        found = outputs(normalised(rgb), read_caffemodel(path), "fc8")
        graph = caffe_files.prototxt(227, 227, fully_connected=True)
        names = ["pool5", "fc6", "relu6", "fc7", "relu7", "fc8"]
        expected = of_opencv(opencv, graph, path, as_caffe_takes_it(rgb), names)
    finally:
        path.unlink()
    for name in names:
        assert_close(found[name], expected[name], name)


# --- Against Caffe's rules, written down again -----------------------------------------------------------------------


def caffe_pooling(grid: np.ndarray) -> np.ndarray:
    """Caffe's ``pooling_layer.cpp`` for a maximum over 3 x 3 with stride 2; ``(channels, rows, columns)``."""
    rows, columns = (math.ceil((side - 3) / 2) + 1 for side in grid.shape[1:])
    windows = [[grid[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3] for x in range(columns)] for y in range(rows)]
    return np.array([[window.max((1, 2)) for window in row] for row in windows]).transpose(2, 0, 1)


def caffe_normalisation(grid: np.ndarray) -> np.ndarray:
    """Caffe's ``lrn_layer.cpp`` across channels: local size 5, alpha 1e-4, beta 0.75, k 1."""
    scales = [1 + 1e-4 / 5 * (grid[max(0, c - 2) : c + 3] ** 2).sum(0) for c in range(len(grid))]
    return grid / np.array(scales) ** 0.75


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_normalisation_in_half_precision_takes_squares_beyond_it(dtype):
    grid = 400 * np.random.default_rng(0).random((16, 5, 6))
    normalise = dict(caffe.build_caffenet().named_children())["norm1"]
    found = normalise(torch.from_numpy(grid)[None].to(dtype))[0]
    assert found.dtype == dtype
    np.testing.assert_allclose(found.double().numpy(), caffe_normalisation(grid), rtol=8 * torch.finfo(dtype).eps)


def test_poolings_have_caffes_windows_at_every_size():
    pooling = dict(caffe.build_caffenet().named_children())["pool1"]
    for side in range(2, 70):
        grid = np.random.default_rng(side).standard_normal((2, side, side + 1))
        found = pooling(torch.from_numpy(grid)[None])[0].numpy()
        np.testing.assert_array_equal(found, caffe_pooling(grid))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_grids_follow_caffes_rules_on_caffes_own_pixels(arrays, model_file, width, height):
    """BGR from 0 to 255 and the file's own weights give what RGB from 0 to 1 and the weights as they are read give."""
    rgb = photo(width, height)
    found = outputs(normalised(rgb), read_caffemodel(model_file), "pool5")
    grid = as_caffe_takes_it(rgb)[0].astype(np.float64)
    for number, (stride, padding, groups) in enumerate(
        [(4, 0, 1), (1, 2, 2), (1, 1, 1), (1, 1, 2), (1, 1, 2)], start=1
    ):
        weight, bias = (torch.from_numpy(array).double() for array in arrays[f"conv{number}"])
        convolved = F.conv2d(torch.from_numpy(grid)[None], weight, bias, stride, padding, groups=groups)
        grid = np.maximum(convolved[0].numpy(), 0)
        assert_close(found[f"relu{number}"][0], grid, f"relu{number}")
        if number in (1, 2, 5):
            grid = caffe_pooling(grid)
            assert_close(found[f"pool{number}"][0], grid, f"pool{number}")
        if number in (1, 2):
            grid = caffe_normalisation(grid)
            assert_close(found[f"norm{number}"][0], grid, f"norm{number}")


def test_sizes_tell_ceil_mode_from_floor():
    """Each pooling has a border window in some of the tests' sizes, and none at the size of training."""
    beyond: tuple[set[bool], ...] = (set(), set(), set())
    for side in sum(SIZES, ()):
        cells = (side - 11) // 4 + 1
        for found in beyond:  # pool1, pool2, pool5
            found.add(cells % 2 == 0)
            assert side != 227 or cells % 2
            cells = math.ceil((cells - 3) / 2) + 1
    assert all(found == {True, False} for found in beyond)


def test_layers_and_roles_are_those_of_the_module():
    with torch.device("meta"):
        modules = dict(caffe.build_caffenet().named_children())
    assert {*caffe.LAYERS.values(), *caffe.GLOBAL_LAYERS.values()} <= set(modules)
    order = list(modules)
    assert sorted(caffe.LAYERS.values(), key=order.index) == list(caffe.LAYERS.values())
    roles = networks.spec("caffenet").roles
    named = (
        *roles.reconstruction,
        *roles.classification,
        roles.transfer,
        roles.detection,
        roles.retrieval,
        roles.prior,
    )
    assert set(named) <= set(caffe.LAYERS)
