"""Caffe's files: what is read from them, and what is said of those that are another network's, damaged or not there."""

import os
import re
import sys

import numpy as np
import pytest
import torch

from corrcore.networks import WeightsDamagedError, WeightsNotFoundError, caffe, caffemodel
from corrcore.networks.caffemodel import read_caffemodel, read_mean
from tests.networks import caffe_files
from tests.networks.caffe_files import ORDER, fill, random_weights, write

BGR = np.array([100.0, 110.0, 130.0])


@pytest.fixture(scope="module")
def arrays():
    return random_weights()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.caffemodel"


@pytest.fixture(scope="module")
def whole_file(arrays, tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole") / "net.caffemodel", arrays).read_bytes()


def mean_image() -> np.ndarray:
    """BGR, ``(3, height, width)``, of which the mean over pixels is `BGR`."""
    image = np.random.default_rng(0).uniform(-20, 20, (3, 6, 8))
    return image - image.mean((1, 2), keepdims=True) + BGR[:, None, None]


def write_mean(path, array, **options):
    blob = caffemodel.messages().blob()
    fill(blob, array, **options)
    path.write_bytes(blob.SerializeToString())
    return path


# --- Weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("older", [False, True])
def test_weights_are_the_files_own_but_for_the_order_of_channels(arrays, path, older):
    found = read_caffemodel(write(path, arrays, older=older))
    assert list(found) == [f"{name}.{part}" for name in caffe_files.CONVOLUTIONS for part in ("weight", "bias")]
    for name, (weight, bias) in arrays.items():
        expected = weight[:, ::-1] if name == "conv1" else weight
        np.testing.assert_array_equal(found[f"{name}.weight"], expected)
        np.testing.assert_array_equal(found[f"{name}.bias"], bias)


def test_weights_of_double_precision_are_read(arrays, path):
    net = caffemodel.messages().net()
    for name, both in arrays.items():
        layer = net.layer.add(name=name.encode())
        for array in both:
            fill(layer.blobs.add(), array, double=True)
    path.write_bytes(net.SerializeToString())
    np.testing.assert_array_equal(read_caffemodel(path)["conv3.weight"], arrays["conv3"][0])


def test_a_file_of_a_network_trained_further_needs_no_fc8_of_its_own(arrays, path):
    order = tuple("fc8_flickr" if name == "fc8" else name for name in ORDER)
    more = arrays | {"fc8_flickr": (np.zeros((20, 4096), np.float32), np.zeros(20, np.float32))}
    assert list(read_caffemodel(write(path, more, order=order))) == list(read_caffemodel(write(path, arrays)))


def test_another_mean_gives_what_its_pixels_give(arrays, path):
    """The network of RGB pixels minus the default mean is that of Caffe's pixels minus the user's."""
    write(path, arrays)
    mean = tuple((BGR[::-1] / 255).tolist())
    rgb = torch.rand(1, 3, 40, 44, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pixels = (rgb - torch.tensor(caffe.MEAN).view(3, 1, 1)) / torch.tensor(caffe.STD).view(3, 1, 1)
    weights = read_caffemodel(path, mean=mean)
    found = torch.conv2d(pixels, weights["conv1.weight"].double(), weights["conv1.bias"].double(), 4)
    caffes = 255 * rgb.flip(1) - torch.from_numpy(BGR).view(3, 1, 1)
    expected = torch.conv2d(caffes, *(torch.from_numpy(array).double() for array in arrays["conv1"]), 4)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-3)
    assert not torch.equal(weights["conv1.bias"], read_caffemodel(path)["conv1.bias"])


# --- Means -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("older", [False, True])
def test_a_mean_image_becomes_one_value_per_channel(tmp_path, older):
    image = mean_image()
    np.save(tmp_path / "mean.npy", image)
    np.save(tmp_path / "three.npy", BGR.astype(np.float32))
    write_mean(tmp_path / "mean.binaryproto", image if older else image[None], older=older)
    for name in ("mean.npy", "three.npy", "mean.binaryproto"):
        np.testing.assert_allclose(read_mean(tmp_path / name), BGR[::-1] / 255, rtol=1e-6)


def test_the_default_mean_is_red_first():
    np.testing.assert_allclose(255 * np.array(caffe.MEAN), [122.67891434, 116.66876762, 104.00698793])


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((256, 256, 3)), r"mean\.npy has 256 x 256 x 3 of float64\. Give Caffe's own mean\.$"),
        (np.zeros((3, 0, 4)), "has 3 x 0 x 4 of float64"),
        (np.zeros((2, 3, 4, 4)), "has 2 x 3 x 4 x 4 of float64"),
        (np.array(5.0), "has one number of float64"),
        (np.array(["a", "b", "c"]), "has 3 of <U1"),
        (np.array([0.4, 0.5, -1]), r"a mean must be from 0 to 255; that of .* is 0\.4, 0\.5, -1"),
        (np.array([1, np.nan, 1]), "from 0 to 255; that of .* is 1, nan, 1"),
        (np.array([None, 1, 2]), "cannot be read: it is no array of NumPy's, or one of objects. Delete"),
    ],
)
def test_what_is_no_mean_is_said(tmp_path, array, said):
    np.save(tmp_path / "mean.npy", array)
    with pytest.raises((ValueError, WeightsDamagedError), match=said):
        read_mean(tmp_path / "mean.npy")


def test_damaged_means_are_said(tmp_path):
    np.save(tmp_path / "mean.npy", mean_image())
    (tmp_path / "cut.npy").write_bytes((tmp_path / "mean.npy").read_bytes()[:-9])
    (tmp_path / "large.npy").write_bytes(b"\0" * 100)
    os.truncate(tmp_path / "large.npy", 2**26 + 1)
    whole = write_mean(tmp_path / "mean.binaryproto", mean_image()).read_bytes()
    (tmp_path / "cut.binaryproto").write_bytes(whole[:-9])
    write_mean(tmp_path / "many.binaryproto", np.zeros((1,) * 33))
    blob = caffemodel.messages().blob(num=1, channels=3, height=2**31, width=2**31, data=[b"\0" * 12])
    (tmp_path / "claims.binaryproto").write_bytes(blob.SerializeToString())
    for name, said in {
        "cut.npy": "no array of NumPy's",
        "cut.binaryproto": "it is no .binaryproto file, or a part of one. Delete the file",
        "many.binaryproto": "an array has 33 sides",
        "claims.binaryproto": "its mean claims to be 1 x 3 x 2147483648 x 2147483648 but has 3 values",
    }.items():
        with pytest.raises(WeightsDamagedError, match=f"{name} cannot be read: .*{said}"):
            read_mean(tmp_path / name)
    with pytest.raises(ValueError, match=r"large\.npy must have at most 64 MiB"):
        read_mean(tmp_path / "large.npy")
    with pytest.raises(ValueError, match=r"must be a .npy or a .binaryproto file; got .*mean\.jpg\. Give"):
        read_mean(tmp_path / "mean.jpg")
    with pytest.raises(WeightsNotFoundError, match=r"there is no file .*nowhere\.npy; give"):
        read_mean(tmp_path / "nowhere.npy")


# --- Other networks' files -------------------------------------------------------------------------------------------


def test_alexnet_is_told_by_its_order(arrays, path):
    """Its weights have the same names and shapes."""
    order = tuple({"pool1": "norm1", "norm1": "pool1"}.get(name, name) for name in ORDER)
    with pytest.raises(ValueError, match=r"net.caffemodel is not CaffeNet: it normalises before it pools, as AlexNet"):
        read_caffemodel(write(path, arrays, order=order))


def test_missing_layers_are_named(arrays, path):
    with pytest.raises(
        ValueError, match=r"net.caffemodel must have .* lacks conv4; its .* 'data', .*, \.\.\.: give bvlc"
    ):
        read_caffemodel(write(path, arrays, order=tuple(name for name in ORDER if name != "conv4")))
    with pytest.raises(ValueError, match="lacks conv1, conv2, .*; its layers are 'conv1_1', 'relu1_1': give"):
        read_caffemodel(write(path, {}, order=("conv1_1", "relu1_1")))
    with pytest.raises(ValueError, match="its layers are none: give"):
        read_caffemodel(write(path, {}, order=()))
    with pytest.raises(ValueError, match="net.caffemodel has no weights in conv1: give"):
        read_caffemodel(write(path, {}))
    with pytest.raises(ValueError, match="conv2 in .* must have weights and biases, but it has 1 arrays: give"):
        read_caffemodel(write(path, arrays | {"conv2": arrays["conv2"][:1]}))


@pytest.mark.parametrize(
    "shape", [(96, 3, 7, 7), (1, 96, 3, 11), (11, 11, 3, 96), (34848,), (), (2, 96, 3, 11, 11), (96, 3, 11, 2**40)]
)
def test_another_shape_is_said(arrays, path, shape):
    net = caffemodel.messages().net.FromString(write(path, arrays).read_bytes())
    blob = net.layer[1].blobs[0]
    blob.shape.ClearField("dim")
    blob.shape.dim.extend(shape)
    path.write_bytes(net.SerializeToString())
    got = " x ".join(map(str, shape)) or "one number"
    with pytest.raises(
        ValueError, match=f"conv1.weight in .* must be 96 x 3 x 11 x 11; got {re.escape(got)}. It is ano"
    ):
        read_caffemodel(path)


# --- Damaged files ---------------------------------------------------------------------------------------------------


def test_a_file_cut_short_is_damaged_wherever_it_ends(whole_file, path):
    for end in np.random.default_rng(0).integers(1, len(whole_file), 12).tolist():
        path.write_bytes(whole_file[:end])
        with pytest.raises(
            WeightsDamagedError, match=r"net.caffemodel cannot be read: it is no .caffemodel file, or a p"
        ):
            read_caffemodel(path)


@pytest.mark.parametrize("older", [False, True])
def test_whatever_the_bytes_are_no_other_error_is_raised(path, older):
    arrays = {name: (np.zeros(2), np.zeros(1)) for name in caffe_files.SHAPES}
    whole = write(path, arrays, older=older).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(whole)
        for position in random.integers(0, len(damaged), random.integers(1, 4)):
            damaged[position] = random.integers(256)
        path.write_bytes(damaged)
        with pytest.raises((WeightsDamagedError, ValueError), match=r"net\.caffemodel .*\.$"):
            read_caffemodel(path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (b"\0" * 4 * 95, "conv1.bias has 95 values of 96"),
        (b"\0" * 383, "conv1.bias ends within a number"),
        (np.full(96, np.nan, "<f4").tobytes(), "conv1.bias has values that are no finite numbers"),
    ],
)
def test_damaged_values_are_said(arrays, path, values, said):
    net = caffemodel.messages().net.FromString(write(path, arrays).read_bytes())
    net.layer[1].blobs[1].data[:] = [values]
    path.write_bytes(net.SerializeToString())
    with pytest.raises(WeightsDamagedError, match=f"net.caffemodel cannot be read: {said}. Delete the file and get it"):
        read_caffemodel(path)


def test_a_file_that_is_not_there_or_too_large_is_said(tmp_path, path):
    with pytest.raises(WeightsNotFoundError, match=r"there is no file .*net.caffemodel; give the path"):
        read_caffemodel(path)
    with pytest.raises(WeightsNotFoundError, match="there is no file"):
        read_caffemodel(tmp_path)
    path.touch()
    os.truncate(path, 2**29 + 1)  # of no blocks on the disk
    with pytest.raises(ValueError, match=r"net.caffemodel must have at most 512 MiB; it has 512. Give CaffeNet's own"):
        read_caffemodel(path)


def test_a_missing_protobuf_is_said(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(
        WeightsNotFoundError, match=r"need the package protobuf, .* run `pip install 'corrcore\[caffe\]'"
    ):
        read_caffemodel(path)
