"""Files of weights as people have them, read as tensors by name; no code in them is run."""

import argparse
import hashlib
import pickle
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

Weights = Mapping[str, torch.Tensor]
"""Tensors by the names that the network's module gives its parameters."""

EMBEDDED = Path(__file__).parent / "embedded"

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".npz", ".caffemodel")
"""Files of weights that are looked for by name; `read` takes any other as a checkpoint of torch."""

_MEANS = (".binaryproto", ".npy")
_DEEPEST = 5  # mappings within mappings: more than any checkpoint has

_loading = threading.Lock()  # what torch may unpickle is a setting of the process


class WeightsNotFoundError(FileNotFoundError):
    """A network's weights are not on this machine. The text says where we looked and how to get them."""


class WeightsDamagedError(OSError):
    """A file of weights cannot be read. The text names it and says how to mend it."""


def read(path: Path, *, mean_path: Path | None = None) -> Weights:
    """The tensors in a file, floating point ones as float32.

    ``.safetensors``, ``.npz``, Caffe's ``.caffemodel``, and anything else as a checkpoint of torch. Tensors of mappings
    within mappings have the names of both, such as "state_dict.conv1.weight"; what is no tensor is left out. The mean
    that a ``.caffemodel`` was trained with is read from `mean_path`, by default from a ``.binaryproto`` or ``.npy`` of
    the same name beside it; see `corrcore.networks.caffemodel`.

    Raises WeightsNotFoundError and WeightsDamagedError, and ValueError for a ``.caffemodel`` of another network.
    """
    if not path.is_file():
        msg = f"there is no file of weights {path}; give the path of a .safetensors file or a torch checkpoint."
        raise WeightsNotFoundError(msg)
    if path.suffix == ".caffemodel":
        return _read_caffemodel(path, mean_path)
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        elif path.suffix == ".npz":
            found = _read_arrays(path)
        else:
            found = _read_checkpoint(path)
    except PermissionError as error:
        msg = f"the weights in {path} may not be read by this user; make the file readable."
        raise WeightsDamagedError(msg) from error
    except (SafetensorError, zipfile.BadZipFile, pickle.UnpicklingError, OSError, RuntimeError) as error:
        raise WeightsDamagedError(_what_is_wrong(path, error)) from error
    except (EOFError, ValueError, KeyError, TypeError) as error:
        raise WeightsDamagedError(_damaged(path)) from error
    tensors = dict(_tensors(found))
    if not tensors:
        msg = f"{path} holds no weights by name; give a file of a network's state."
        raise WeightsDamagedError(msg)
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _read_caffemodel(path: Path, mean_path: Path | None) -> Weights:
    from corrcore.networks import caffemodel  # only here: it needs an extra

    beside = [found for suffix in _MEANS if (found := path.with_suffix(suffix)).is_file()]
    mean_path = mean_path or next(iter(beside), None)
    if mean_path is None:
        return caffemodel.read_caffemodel(path)
    return caffemodel.read_caffemodel(path, mean=caffemodel.read_mean(mean_path))


def _read_arrays(path: Path) -> Mapping[str, torch.Tensor]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name.replace("/", "."): torch.from_numpy(arrays[name]) for name in arrays.files}


def _read_checkpoint(path: Path) -> object:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                msg = "TorchScript"
                raise RuntimeError(msg)
    with _loading, torch.serialization.safe_globals([argparse.Namespace]):  # a script's options, which many keep
        return torch.load(path, map_location="cpu", weights_only=True)


def _what_is_wrong(path: Path, error: Exception) -> str:
    """A sentence on a file that is whole but no mere weights, or on one that is damaged."""
    if isinstance(error, pickle.UnpicklingError) and (found := re.search(r"GLOBAL ([\w.]+)", str(error))):
        return (
            f"{path} holds Python objects ({found[1]}) besides weights, and no code of a file is run; where it comes "
            "from, save the module's state_dict() alone."
        )
    if "TorchScript" in str(error):
        return f"{path} is a program of TorchScript; save its state_dict() and give that."
    return _damaged(path)


def _damaged(path: Path) -> str:
    return f"the weights in {path} cannot be read, they are damaged or cut short; delete the file and get it again."


def _tensors(found: object, within: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors by name, with the names of the mappings that they are in."""
    if not isinstance(found, Mapping) or depth > _DEEPEST:
        return
    for name, value in found.items():
        if isinstance(value, torch.Tensor):
            yield f"{within}{name}", value.detach()
        else:
            yield from _tensors(value, f"{within}{name}.", depth + 1)


def digest(prefix: str, weights: Weights) -> str:
    """A name for weights and what goes with them, the same on every machine."""
    state = hashlib.blake2b(prefix.encode(), digest_size=16)
    for name in sorted(weights):
        state.update(f"{name} {tuple(weights[name].shape)} {weights[name].dtype}".encode())
        state.update(weights[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()
