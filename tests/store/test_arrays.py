import errno
import os
import random
import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from corrcore.store import DiskFullError, load_arrays, save_arrays


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u1", "<i2", ">u2", "i4", "u4", "i8", "u8", "f2", "f4", ">f4", "f8", "c8"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3, 4)], ids=str)
def test_array_comes_back_as_it_was(tmp_path, dtype, shape):
    array = np.asarray(np.random.default_rng(0).random(shape) * 9, dtype)
    save_arrays(tmp_path / "file", {"x": array, "aside": np.zeros(3, np.uint8)}, {"name": "Würfel", "size": (2, 3)})
    arrays, manifest = load_arrays(tmp_path / "file")
    assert manifest == {"name": "Würfel", "size": [2, 3]}
    assert arrays["x"].dtype == array.dtype.newbyteorder("=")
    assert arrays["x"].shape == shape
    np.testing.assert_array_equal(arrays["x"], array)
    assert arrays["x"].flags.writeable
    np.testing.assert_array_equal(load_file(tmp_path / "file")["x"], array)


def test_strided_and_fortran_arrays_come_back_the_same(tmp_path):
    array = np.arange(24).reshape(4, 6)
    arrays = {"transposed": array.T, "every_second": array[::2, ::-2], "fortran": np.asfortranarray(array)}
    save_arrays(tmp_path / "file", arrays, {})
    for name, back in load_arrays(tmp_path / "file")[0].items():
        np.testing.assert_array_equal(back, arrays[name])


@pytest.mark.parametrize(
    "array", [np.array(["text"]), np.array([object()]), np.zeros(2, "c16"), np.zeros(2, "i4,f4"), np.zeros(2, "M8[s]")]
)
def test_array_of_a_type_that_cannot_be_kept_is_refused(tmp_path, array):
    with pytest.raises(TypeError, match="array 'x' must be of bools, integers, floats or complex64"):
        save_arrays(tmp_path / "file", {"x": array}, {})
    assert list(tmp_path.iterdir()) == []


def test_manifest_that_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(TypeError, match="metadata must be what JSON can hold"):
        save_arrays(tmp_path / "file", {}, {"x": np.zeros(2)})


def test_reserved_array_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="__metadata__"):
        save_arrays(tmp_path / "file", {"__metadata__": np.zeros(1)}, {})


def assert_refused(path):
    with pytest.raises(ValueError, match=re.escape(f"{path} is damaged or none of ours; delete it")):
        load_arrays(path)


def test_no_bit_can_change_unseen(tmp_path):
    """At three hundred places of header, manifest and arrays; padding alone may differ, and changes nothing."""
    path = tmp_path / "file"
    save_arrays(path, {"x": np.arange(40, dtype=np.float32), "y": np.zeros((2, 3), bool)}, {"cost": 0.25, "n": 1})
    whole, rng = path.read_bytes(), random.Random(0)
    expected = load_arrays(path)
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            arrays, manifest = load_arrays(path)
        except ValueError:
            continue
        assert manifest == expected[1]
        for name, array in expected[0].items():
            np.testing.assert_array_equal(arrays[name], array)


def test_cut_file_is_refused_wherever_it_is_cut(tmp_path):
    path = tmp_path / "file"
    save_arrays(path, {"x": np.arange(40)}, {})
    whole = path.read_bytes()
    for n_bytes in range(0, len(whole), 7):
        path.write_bytes(whole[:n_bytes])
        assert_refused(path)


def of_safetensors(header, size=8):
    text = header.encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


NONSENSE = {
    "header longer than the file": b"\xff" * 64,
    "no UTF-8": b"\x02\0\0\0\0\0\0\0\xff\xff",
    "no mapping": of_safetensors("[]"),
    "metadata of another kind": of_safetensors('{"__metadata__": 1}'),
    "objects": of_safetensors('{"x": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}'),
    "unknown to NumPy": of_safetensors('{"x": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}'),
    "negative": of_safetensors('{"x": {"dtype": "F64", "shape": [-2], "data_offsets": [0, 8]}}'),
    "nested": of_safetensors("[" * 100_000),
}


@pytest.mark.parametrize("planted", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_refused(tmp_path, planted):
    (tmp_path / "file").write_bytes(planted)
    assert_refused(tmp_path / "file")


def test_file_of_others_is_refused(tmp_path):
    save_file({"x": np.zeros(3)}, tmp_path / "file")
    assert_refused(tmp_path / "file")


def test_missing_file_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / "file")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_write_that_fails_keeps_the_old_file_and_names_a_full_disk(tmp_path, monkeypatch, number):
    path = tmp_path / "file"
    save_arrays(path, {"x": np.zeros(3)}, {})

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk is full" if number != errno.EIO else "error") as caught:
        save_arrays(path, {"x": np.ones(3)}, {})
    assert caught.value.errno == number
    if number != errno.EIO:
        assert isinstance(caught.value, DiskFullError)
        assert (
            str(caught.value) == f"{path} cannot be written: the disk is full; free some space or choose another place."
        )
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
    np.testing.assert_array_equal(load_arrays(path)[0]["x"], np.zeros(3))
