"""Digests: of text, of files, and of everything that a result was computed from."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def text_digest(text: str) -> str:
    """SHA-256 of a text in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits. Raises OSError for a file that cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key(**parts: object) -> str:
    """Digest named parts into a key: equal parts, in any order, give equal keys, today and in another process.

    Name everything the result depends on, the version of the code included. A part is None, a bool, int, float, str
    or bytes, a NumPy array or scalar, or a list, tuple or str-keyed mapping of such. Arrays enter with dtype, shape
    and content; 1, 1.0, True and "1" are four different parts; a tuple equals the list of its items.

    Raises TypeError for anything else, naming the part.

    >>> key(layer="conv3", n_neighbours=5) == key(n_neighbours=5, layer="conv3")
    True
    """
    return text_digest(json.dumps({name: _canonical(part, name) for name, part in parts.items()}, sort_keys=True))


def _canonical(part: object, name: str) -> object:
    """The part as JSON, with a tag where two different parts would otherwise look alike."""
    if isinstance(part, np.ndarray | np.generic) and not part.dtype.hasobject:
        return {"array": [repr(part.dtype), part.shape, hashlib.sha256(part.tobytes()).hexdigest()]}
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, bytes):
        return {"bytes": hashlib.sha256(part).hexdigest()}
    if isinstance(part, list | tuple):
        return [_canonical(item, f"{name}[{i}]") for i, item in enumerate(part)]
    if isinstance(part, Mapping) and all(isinstance(inner, str) for inner in part):
        return {"mapping": {inner: _canonical(item, f"{name}[{inner!r}]") for inner, item in part.items()}}
    msg = (
        f"{name} must be None, a bool, number, str, bytes, NumPy array without objects, or a list, tuple or str-keyed "
        f"mapping of these, to enter a key; got {type(part).__qualname__}. Pass what identifies it instead."
    )
    raise TypeError(msg)
