"""Compressed descriptors of an index: files beside its own, bound to its content, for searches that are approximate.

``LAYER.ivfpq`` is what `corrcore.engines.knn.compress` writes, ``LAYER.ivfpq.json`` says of which index it was made and
how; it is written last, and removed before the other is made anew.
"""

import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float16

from corrcore.concurrency import Progress
from corrcore.engines.knn import Compression, Probing, compress
from corrcore.patch_index.files import (
    LOCK,
    IndexDamagedError,
    IndexNotFoundError,
    command,
    digest,
    read_text,
    writing_to,
)
from corrcore.store import write_atomically
from corrcore.store.locks import exclusive

_FORMAT = 1
_READ_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class CompressedLayer:
    """What is said of one layer's compressed descriptors: of which index, made how, and of its file."""

    index_digest: str
    compression: Compression
    n_bytes: int
    check: int

    def to_json(self) -> dict[str, object]:
        """The record that `read` reads."""
        return {"format": _FORMAT, **asdict(self)}

    @classmethod
    def read(cls, folder: Path, layer: str, index_digest: str) -> "CompressedLayer":
        """Of the index in a folder.

        Raises IndexNotFoundError where its descriptors are not compressed, and IndexDamagedError where they are
        another index's, or not whole.
        """
        path, header = paths_of(folder, layer)
        remedy = f"{command('compress', folder)} makes them anew"
        if not header.exists():
            msg = f"{folder} has no compressed descriptors of {layer}; {command('compress', folder)} makes them."
            raise IndexNotFoundError(msg)
        try:
            record = json.loads(read_text(header))
            made = Compression(**record.pop("compression"))
            if record.pop("format") != _FORMAT:
                raise ValueError
            found = cls(compression=made, **record)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            msg = f"{header} is of another version or damaged; {remedy}."
            raise IndexDamagedError(msg) from None
        if found.index_digest != index_digest:
            msg = f"{path} was made of another index than the one beside it, and is not used; {remedy}."
            raise IndexDamagedError(msg)
        size = path.stat().st_size if path.exists() else 0
        if size != found.n_bytes:
            msg = f"{path} must have {found.n_bytes} bytes; it has {size}. It is not used; {remedy}."
            raise IndexDamagedError(msg)
        return found

    def verify(self, folder: Path, layer: str) -> None:
        """Raises IndexDamagedError unless the file is as it was written."""
        path, _ = paths_of(folder, layer)
        if _checksum(path) != self.check:
            msg = f"{path} is damaged; {command('compress', folder)} makes it anew once it is deleted."
            raise IndexDamagedError(msg)


def search_digest(index_digest: str, layers: Mapping[str, CompressedLayer], probing: Probing) -> str:
    """The name of what an approximate search finds in an index: results are cached under it, apart from exact ones."""
    return digest([index_digest, {layer: each.to_json() for layer, each in layers.items()}, asdict(probing)])


def paths_of(folder: Path, layer: str) -> tuple[Path, Path]:
    """The files of one layer: the compressed descriptors, and what is said of them."""
    return folder / f"{layer}.ivfpq", folder / f"{layer}.ivfpq.json"


def compress_layers(
    folder: Path,
    index_digest: str,
    descriptors: Mapping[str, Float16[np.ndarray, "rows channels"]],
    compression: Compression,
    *,
    progress: Progress | None = None,
) -> None:
    """Compresses the descriptors of each layer of the index in a folder, unless that was done, in the same way.

    What a process that was killed has left is overwritten. Nothing is written unless all layers can be compressed.
    Raises as `corrcore.engines.knn.compress` does, IndexNotWrittenError, and LockedError where another process writes
    there.
    """
    for layer, rows in descriptors.items():
        try:
            compression.of(*rows.shape)
        except ValueError as error:
            msg = f"{layer} cannot be compressed: {error}"
            raise ValueError(msg) from None
    with writing_to(folder), exclusive(folder / LOCK):
        for number, (layer, rows) in enumerate(descriptors.items()):

            def told(share: float, number: int = number, layer: str = layer) -> None:
                if progress is not None:
                    progress((number + share) / len(descriptors), f"compressing {layer}")

            _compress_layer(folder, layer, index_digest, rows, compression, told)


def _compress_layer(
    folder: Path,
    layer: str,
    index_digest: str,
    descriptors: Float16[np.ndarray, "rows channels"],
    compression: Compression,
    told: Callable[[float], None],
) -> None:
    path, header = paths_of(folder, layer)
    try:
        found = CompressedLayer.read(folder, layer, index_digest)
        if found.compression == compression.of(*descriptors.shape):
            return
    except (IndexNotFoundError, IndexDamagedError):
        pass
    partial = path.with_name(f"{path.name}.partial")
    told(0.0)
    try:
        made = compress(descriptors, partial, compression, progress=told)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        found = CompressedLayer(index_digest, made, partial.stat().st_size, _checksum(partial))
        header.unlink(missing_ok=True)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    write_atomically(header, json.dumps(found.to_json()))


def _checksum(path: Path) -> int:
    check = 0
    with path.open("rb") as file:
        while part := file.read(_READ_AT_ONCE):
            check = zlib.crc32(part, check)
    return check
