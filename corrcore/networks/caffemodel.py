"""CaffeNet's weights and means from Caffe's own files: ``.caffemodel``, ``.binaryproto`` and ``.npy``.

These files hold data only, and no code is run. They may be a stranger's: their size is bounded, and nothing is
allocated by the shapes they claim.

Caffe's messages are those of its ``caffe.proto``, of which only the fields that matter here are declared.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32

from corrcore.networks.caffe import MEAN, build_caffenet
from corrcore.networks.weights import WeightsDamagedError, WeightsNotFoundError

MAX_BYTES = 2**29
"""The largest ``.caffemodel`` that is read; CaffeNet's has 244 MB."""

MAX_MEAN_BYTES = 2**26
"""The largest file of a mean that is read; Caffe's has 0.8 MB."""

_CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")
_REMEDY = "give bvlc_reference_caffenet.caffemodel from Caffe's model zoo"

_MAX_SIDES = 32  # as in Caffe

# Numbers of fields, as in caffe.proto. Floats are declared as bytes, which is what packed floats are in a file: they
# come as one piece of memory, not as 61 million Python numbers. So are names, whose text need not be valid UTF-8.
_INT64, _MESSAGE, _BYTES = 3, 11, 12
_FIELDS: dict[str, tuple[tuple[str, int, int, str], ...]] = {
    "BlobShape": (("dim", 1, _INT64, ""),),
    "BlobProto": (
        ("num", 1, _INT64, ""),
        ("channels", 2, _INT64, ""),
        ("height", 3, _INT64, ""),
        ("width", 4, _INT64, ""),
        ("data", 5, _BYTES, ""),
        ("shape", 7, _MESSAGE, "BlobShape"),
        ("double_data", 8, _BYTES, ""),
    ),
    "LayerParameter": (("name", 1, _BYTES, ""), ("blobs", 7, _MESSAGE, "BlobProto")),
    "V1LayerParameter": (("name", 4, _BYTES, ""), ("blobs", 6, _MESSAGE, "BlobProto")),
    "NetParameter": (("layers", 2, _MESSAGE, "V1LayerParameter"), ("layer", 100, _MESSAGE, "LayerParameter")),
}
_REPEATED = {"dim", "data", "double_data", "blobs", "layers", "layer"}


class Messages(NamedTuple):
    """Classes of Caffe's messages, as protobuf makes them from `_FIELDS`; ``data`` is a list of little-endian bytes."""

    net: Any
    blob: Any


def messages() -> Messages:
    """The classes that read and write Caffe's files. Raises WeightsNotFoundError where protobuf is not installed."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # only here: it is an extra
    except ImportError as error:
        msg = "Caffe's files need the package protobuf, which is not here; run `pip install 'corrcore[caffe]'`."
        raise WeightsNotFoundError(msg) from error
    file = descriptor_pb2.FileDescriptorProto(name="corrcore/caffe.proto", package="caffe", syntax="proto2")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for name, number, kind, of in fields:
            field = described.field.add(name=name, number=number, label=3 if name in _REPEATED else 1)
            field.type = kind  # type: ignore[assignment] - an enum's value is a number
            if of:
                field.type_name = f".caffe.{of}"
    pool = descriptor_pool.DescriptorPool()  # its own: Caffe's messages may be there already, from another package
    pool.AddSerializedFile(file.SerializeToString())
    net, blob = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
        for name in ("NetParameter", "BlobProto")
    )
    return Messages(net, blob)


def read_caffemodel(
    path: str | os.PathLike, *, mean: tuple[float, float, float] = MEAN
) -> dict[str, Float32[torch.Tensor, "..."]]:
    """CaffeNet's weights from a ``.caffemodel``, under the names of `build_caffenet`'s parameters, for RGB pixels.

    All five convolutions must be there; fully connected layers are read where they are, since a network that was
    trained further has others. Both of Caffe's formats are read, ``layer`` and the older ``layers``.

    The weights are for pixels from 0 to 1 normalised by `caffe.MEAN` and `caffe.STD`: conv1's input channels are turned
    from BGR to RGB. If the network was trained with another `mean` (see `read_mean`), the difference goes into conv1's
    bias, which is exact, for conv1 has no padding.

    Raises WeightsNotFoundError where there is no file or no protobuf, WeightsDamagedError for a file that cannot be
    read, and ValueError for another network.
    """
    path = Path(path)
    net = _parsed(messages().net, path, MAX_BYTES)
    layers = [(layer.name.decode(errors="replace"), layer.blobs) for layer in net.layer or net.layers]
    del net
    _check_network(path, [name for name, _ in layers])
    blobs: dict[str, Any] = {}
    for name, found in layers:
        if found:  # a network may have a layer twice, for training and for testing
            blobs.setdefault(name, found)
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in build_caffenet().state_dict().items()}
    weights = _weights(path, blobs, shapes)
    kernels = weights["conv1.weight"].flip(1)
    shift = 255 * (torch.tensor(MEAN, dtype=torch.float64) - torch.tensor(mean, dtype=torch.float64))
    weights["conv1.weight"] = kernels
    weights["conv1.bias"] = (weights["conv1.bias"] + kernels.double().sum((2, 3)) @ shift).float()
    return weights


def read_mean(path: str | os.PathLike) -> tuple[float, float, float]:
    """The mean of a ``.binaryproto`` or ``.npy`` over all its pixels: red, green, blue, from 0 to 1.

    The file holds a mean image as Caffe keeps it, BGR from 0 to 255, ``(3, height, width)``, or three values. The image
    becomes one value per channel, because photos here have any size and are not squeezed to the mean image's.

    Raises WeightsNotFoundError where there is no file or no protobuf, WeightsDamagedError for a file that cannot be
    read, and ValueError for one that holds no such mean.
    """
    path = Path(path)
    if path.suffix == ".npy":
        values = _read_npy(path)
    elif path.suffix == ".binaryproto":
        blob = _parsed(messages().blob, path, MAX_MEAN_BYTES)
        values, shape = _values(path, "the mean", blob), _shape(path, blob)
        if math.prod(shape) != len(values) or min(shape, default=0) < 1:
            raise _damaged(path, f"its mean claims to be {_by(shape)} but has {len(values)} values")
        values = values.reshape(shape)
    else:
        msg = f"a mean must be a .npy or a .binaryproto file; got {path}. Give Caffe's imagenet_mean.binaryproto."
        raise ValueError(msg)
    image = values[0] if values.ndim == 4 and len(values) == 1 else values
    if image.ndim not in (1, 3) or len(image) != 3 or not image.size or image.dtype.kind not in "fiu":
        got = f"{_by(values.shape)} of {values.dtype}"
        msg = (
            f"a mean must be 3 x height x width numbers, blue, green and red; {path} has {got}. Give Caffe's own mean."
        )
        raise ValueError(msg)
    with np.errstate(all="ignore"):  # what is not finite is refused below
        blue, green, red = image.reshape(3, -1).mean(1, dtype=np.float64).tolist()
    if not all(0 <= value <= 255 for value in (blue, green, red)):
        got = f"{blue:.4g}, {green:.4g}, {red:.4g}"
        msg = f"a mean must be from 0 to 255; that of {path} is {got}. Give the mean of pixels, as Caffe has it."
        raise ValueError(msg)
    return red / 255, green / 255, blue / 255


def _check_network(path: Path, names: list[str]) -> None:
    """Raises ValueError for a network that is not CaffeNet, as far as its layers' names and their order tell."""
    missing = [name for name in _CONVOLUTIONS if name not in names]
    if missing:
        got = ", ".join(repr(name[:40]) for name in names[:5]) + (", ..." if len(names) > 5 else "") or "none"
        msg = f"{path} must have CaffeNet's layers, but lacks {', '.join(missing)}; its layers are {got}: {_REMEDY}."
        raise ValueError(msg)
    # Their weights have the same shapes, so that nothing but the order tells the two networks apart.
    if {"norm1", "pool1"} <= set(names) and names.index("norm1") < names.index("pool1"):
        msg = f"{path} is not CaffeNet: it normalises before it pools, as AlexNet does; {_REMEDY}."
        raise ValueError(msg)


def _weights(
    path: Path, blobs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Float32[torch.Tensor, "..."]]:
    """The blobs by their parameters' names, each checked against its shape in CaffeNet."""
    weights = {}
    for name, expected in shapes.items():
        layer, _, part = name.partition(".")
        if layer not in blobs:
            if layer in _CONVOLUTIONS:
                msg = f"{path} has no weights in {layer}: {_REMEDY}."
                raise ValueError(msg)
            continue
        if len(blobs[layer]) != 2:
            msg = f"{layer} in {path} must have weights and biases, but it has {len(blobs[layer])} arrays: {_REMEDY}."
            raise ValueError(msg)
        blob = blobs[layer][0 if part == "weight" else 1]
        shape = _shape(path, blob)
        if not _same(shape, expected):
            msg = f"{name} in {path} must be {_by(expected)}; got {_by(shape)}. It is another network's: {_REMEDY}."
            raise ValueError(msg)
        values = _values(path, name, blob)
        if len(values) != math.prod(expected):
            raise _damaged(path, f"{name} has {len(values)} values of {math.prod(expected)}")
        if not np.isfinite(values).all():
            raise _damaged(path, f"{name} has values that are no finite numbers")
        weights[name] = torch.from_numpy(values).reshape(expected)
    return weights


def _shape(path: Path, blob: Any) -> tuple[int, ...]:
    """A blob's shape as it is claimed; older files have exactly four sides."""
    if blob.HasField("shape"):
        if (sides := len(blob.shape.dim)) > _MAX_SIDES:
            raise _damaged(path, f"an array has {sides} sides")
        return tuple(blob.shape.dim)
    return blob.num, blob.channels, blob.height, blob.width


def _same(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether the shapes are the same but for leading ones, with which older files fill up four sides."""
    extra = len(shape) - len(expected)
    return extra >= 0 and shape[extra:] == expected and all(side == 1 for side in shape[:extra])


def _values(path: Path, name: str, blob: Any) -> Float32[np.ndarray, " values"]:
    """A blob's numbers, whether they are of single or of double precision in the file."""
    parts, kind = (blob.double_data, "<f8") if blob.double_data else (blob.data, "<f4")
    data = b"".join(parts)
    if len(data) % np.dtype(kind).itemsize:
        raise _damaged(path, f"{name} ends within a number")
    with np.errstate(over="ignore"):  # such values are infinite then, and are refused
        return np.frombuffer(data, kind).astype(np.float32)


def _read_npy(path: Path) -> np.ndarray:
    _check_file(path, MAX_MEAN_BYTES)
    try:
        # Mapped, so that a header that claims more than there is allocates nothing.
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except PermissionError as error:
        raise _not_readable(path) from error
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise _damaged(path, "it is no array of NumPy's, or one of objects") from error


def _parsed(message: Any, path: Path, max_bytes: int) -> Any:
    """The message in a file. Raises WeightsNotFoundError, WeightsDamagedError, and ValueError for a file too large."""
    from google.protobuf.message import DecodeError

    _check_file(path, max_bytes)
    parsed = message()
    try:
        parsed.ParseFromString(path.read_bytes())
    except PermissionError as error:
        raise _not_readable(path) from error
    except (OSError, DecodeError) as error:
        raise _damaged(path, f"it is no {path.suffix or 'Caffe'} file, or a part of one") from error
    return parsed


def _check_file(path: Path, max_bytes: int) -> None:
    if not path.is_file():
        msg = f"there is no file {path}; give the path of a file of Caffe's."
        raise WeightsNotFoundError(msg)
    if (size := path.stat().st_size) > max_bytes:
        msg = f"{path} must have at most {max_bytes // 2**20} MiB; it has {size // 2**20}. Give CaffeNet's own file."
        raise ValueError(msg)


def _not_readable(path: Path) -> WeightsDamagedError:
    return WeightsDamagedError(f"{path} may not be read by this user; make the file readable.")


def _damaged(path: Path, why: str) -> WeightsDamagedError:
    return WeightsDamagedError(f"{path} cannot be read: {why}. Delete the file and get it again.")


def _by(shape: tuple[int, ...]) -> str:
    """A shape, as a sentence has it."""
    sides = " x ".join(map(str, shape[:5])) or "one number"
    return sides + (" x ..." if len(shape) > 5 else "")
