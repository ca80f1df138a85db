"""Arrays in mapped files: seen by torch, let go of, and pickled by their path."""

import mmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch


class MappedArray(NamedTuple):
    """Where an array lies in a file, so that another process can map it."""

    path: Path
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]

    def open(self) -> np.ndarray:
        """The array, read-only. Raises FileNotFoundError where the file has gone."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


def portable(array: np.ndarray) -> np.ndarray | MappedArray:
    """What to pickle: where a read-only array lies in its file, or else the array itself."""
    mapping = _mapping(array)
    if mapping is None or not isinstance(array, np.memmap) or array.filename is None:
        return np.asarray(array)
    # a mapping begins at a multiple of the granularity; a view keeps the offset of the array it was taken from
    begin = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    return MappedArray(Path(array.filename).absolute(), array.dtype, begin + _place(array, mapping), array.shape)


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """The array's memory as a tensor. Torch warns of memory that may not be written to, which nothing here does."""
    interface = array.__array_interface__ | {"data": (array.ctypes.data, False)}
    return torch.from_numpy(np.asarray(SimpleNamespace(__array_interface__=interface, owner=array)))


def drop_pages(array: np.ndarray, rows: slice = slice(None)) -> None:
    """Takes pages of a mapped file out of this process's memory; the system may still have them in its cache."""
    mapping = _mapping(array)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        part = array[rows]
        start = _place(part, mapping)
        mapping.madvise(mmap.MADV_DONTNEED, start - start % mmap.PAGESIZE, part.nbytes + start % mmap.PAGESIZE)


def _mapping(array: np.ndarray) -> mmap.mmap | None:
    """The mapped file that holds a read-only array. One that may be written to may differ from its file."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) and not array.flags.writeable else None


def _place(array: np.ndarray, mapping: mmap.mmap) -> int:
    return array.ctypes.data - np.frombuffer(mapping, np.uint8).ctypes.data
