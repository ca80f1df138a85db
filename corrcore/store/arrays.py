"""Named arrays and a manifest in one safetensors file, with a digest of both."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from corrcore.store.files import write_atomically

_DTYPES = {"bool", "float16", "float32", "float64", "complex64"} | {
    f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> None:
    """Writes arrays and a manifest of what JSON can hold to one file, whole or not at all.

    Raises TypeError and ValueError as `encode` does, DiskFullError for a full disk, and OSError where the file cannot
    be written.
    """
    write_atomically(path, encode(arrays, manifest))


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the manifest that `save_arrays` wrote.

    Raises ValueError for a file that is damaged or of another kind, and OSError for one that cannot be read.
    """
    try:
        arrays, manifest = decode(path.read_bytes())
    except ValueError as error:
        msg = f"{path} is damaged or none of ours; delete it, and it is made again."
        raise ValueError(msg) from error
    return {name: array.copy() for name, array in arrays.items()}, manifest  # torch takes only what can be written


def encode(arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> bytes:
    """The content of a file of arrays.

    Raises TypeError for an array that is not of bools, integers, floats or complex64 and for a manifest that JSON
    cannot hold, and ValueError for an array named ``__metadata__``.
    """
    if "__metadata__" in arrays:
        msg = "no array can be named '__metadata__': safetensors keeps that name for its own use."
        raise ValueError(msg)
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES:
            msg = f"array {name!r} must be of bools, integers, floats or complex64 to be kept; got {array.dtype}."
            raise TypeError(msg)
    try:
        text = json.dumps(dict(manifest))
    except (TypeError, ValueError) as error:
        msg = f"metadata must be what JSON can hold: {error}."
        raise TypeError(msg) from error
    plain = {name: np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C") for name, array in arrays.items()}
    return safetensors.numpy.save(plain, {"manifest": text, "digest": _digest(plain, text)})


def decode(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays, read-only, and the manifest in a file's content. Raises ValueError unless they are as they
    were written.
    """
    try:
        arrays = safetensors.numpy.load(data)
        # safetensors gives the metadata of a file on disk only.
        record = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        text = record["manifest"]
        whole = record["digest"] == _digest(arrays, text)
        manifest = dict(json.loads(text)) if whole else {}
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        msg = "it holds no arrays with a manifest."
        raise ValueError(msg) from error
    if not whole:
        msg = "its digest is not that of what it holds."
        raise ValueError(msg)
    for array in arrays.values():
        array.flags.writeable = False
    return arrays, manifest


def _digest(arrays: Mapping[str, np.ndarray], manifest: str) -> str:
    names = sorted(arrays)
    about = [manifest, [[name, arrays[name].dtype.name, arrays[name].shape] for name in names]]
    state = hashlib.sha256(json.dumps(about).encode())
    for name in names:
        state.update(arrays[name].reshape(-1).view(np.uint8).data)
    return state.hexdigest()
