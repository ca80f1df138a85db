"""Where a cell of a layer lies in the image: receptive fields, their centres, and the patches cells own.

A *cell* is one position of a layer's grid. Its *receptive field* is every input pixel that is path-connected
to it; its *patch* is the much smaller square, one stride wide, that it stands for when an image is rebuilt
from cells (Long, Zhang and Darrell 2014, Section 3). Both are centred on the *receptive-field centre*.

All half-pixel arithmetic of receptive fields lives here. Pixel centres are at integers, the origin is the
centre of the top-left pixel.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class PixelBox(NamedTuple):
    """A half-open rectangle of whole pixels: ``image[box.top:box.bottom, box.left:box.right]``."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def clip(self, image_size: tuple[int, int]) -> "PixelBox":
        """The part of the box inside an image of ``(width, height)`` pixels; empty boxes have no area."""
        width, height = image_size
        left, right = (min(max(x, 0), width) for x in (self.left, self.right))
        top, bottom = (min(max(y, 0), height) for y in (self.top, self.bottom))
        return PixelBox(left, top, right, bottom)

    def contains(self, other: "PixelBox") -> bool:
        """Whether every pixel of another box is one of this box."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def inside(self, image_size: tuple[int, int]) -> bool:
        """Whether every pixel of the box is a pixel of an image of ``(width, height)``."""
        return self.clip(image_size) == self


@dataclass(frozen=True)
class KernelSpec:
    """One convolution or pooling along one axis, in the units of its own input."""

    size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1


@dataclass(frozen=True)
class ReceptiveField:
    """Cell ``i`` along an axis sees ``size`` pixels centred on pixel ``offset + stride * i``.

    The same along both axes. ``offset`` is a whole or half pixel; `size` and `stride` are in pixels.

    >>> from corrcore.geometry import ReceptiveField, KernelSpec
    >>> conv1 = ReceptiveField.of_kernels([KernelSpec(size=11, stride=4, padding=2)])
    >>> conv1
    ReceptiveField(size=11, stride=4, offset=3.0)
    >>> conv1.centre(10)
    43.0
    >>> conv1.cell(44.0)
    10.25
    """

    size: int
    stride: int
    offset: float

    def __post_init__(self) -> None:
        for name, value in (("size", self.size), ("stride", self.stride)):
            if value < 1:
                msg = f"{name} of a receptive field must be at least 1 pixel; got {value}."
                raise ValueError(msg)

    @classmethod
    def identity(cls) -> "ReceptiveField":
        """The input itself: each pixel sees itself."""
        return cls(size=1, stride=1, offset=0.0)

    @classmethod
    def of_kernels(cls, kernels: Iterable[KernelSpec]) -> "ReceptiveField":
        """The receptive field of a chain of kernels, first layer first."""
        field = cls.identity()
        for kernel in kernels:
            field = field.through(kernel)
        return field

    def through(self, kernel: KernelSpec) -> "ReceptiveField":
        """The receptive field one kernel further up the network.

        With jump ``j`` between neighbouring inputs, a kernel of ``k`` taps adds ``(k - 1) * dilation * j`` pixels
        and its padding moves the first cell ``padding * j`` pixels to the left.
        """
        reach = (kernel.size - 1) * kernel.dilation * self.stride
        return ReceptiveField(
            size=self.size + reach,
            stride=self.stride * kernel.stride,
            offset=self.offset + reach / 2 - kernel.padding * self.stride,
        )

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """The receptive field of a cell fed by both (branches that are added or concatenated)."""
        if self.stride != other.stride:
            msg = f"branches must share one stride to meet in a cell; got {self.stride} and {other.stride} pixels."
            raise ValueError(msg)
        first = min(f.offset - (f.size - 1) / 2 for f in (self, other))
        last = max(f.offset + (f.size - 1) / 2 for f in (self, other))
        return ReceptiveField(size=round(last - first) + 1, stride=self.stride, offset=(first + last) / 2)

    def centre(self, cell: float) -> float:
        """The pixel that is the middle of the receptive field of a (fractional) cell, along one axis."""
        return self.offset + self.stride * cell

    def cell(self, pixel: float) -> float:
        """The fractional cell whose receptive field is centred on a pixel: the inverse of `centre`."""
        return (pixel - self.offset) / self.stride

    def first_pixel(self, cell: Int[np.ndarray, "..."] | int, side: int) -> Int[np.ndarray, "..."]:
        """Where a square of `side` pixels around a cell's centre begins, along one axis.

        An even side around a whole pixel has no middle: it reaches one pixel further left and up, so that
        patches of neighbouring cells tile the image.
        """
        return np.asarray(np.ceil(self.offset + self.stride * np.asarray(cell) - side / 2), dtype=np.int64)

    def _box(self, row: int, column: int, side: int) -> PixelBox:
        left, top = int(self.first_pixel(column, side)), int(self.first_pixel(row, side))
        return PixelBox(left, top, left + side, top + side)

    def patch_box(self, row: int, column: int) -> PixelBox:
        """The square that a cell owns, one stride wide. Patches of all cells tile the image."""
        return self._box(row, column, self.stride)

    def receptive_field_box(self, row: int, column: int) -> PixelBox:
        """The receptive field of a cell; near the border it leaves the image (see `PixelBox.clip`)."""
        return self._box(row, column, self.size)


@dataclass(frozen=True)
class CellGrid:
    """The cells of a layer over one image of ``(width, height)`` pixels; cell ``row * columns + column`` row by row."""

    receptive_field: ReceptiveField
    rows: int
    columns: int
    image_size: tuple[int, int]

    def __len__(self) -> int:
        return self.rows * self.columns

    @property
    def covered(self) -> PixelBox:
        """The part of the image that the cells' patches cover."""
        first, last = (
            self.receptive_field.patch_box(0, 0),
            self.receptive_field.patch_box(self.rows - 1, self.columns - 1),
        )
        return PixelBox(first.left, first.top, last.right, last.bottom).clip(self.image_size)

    def centres(self) -> Float[np.ndarray, "rows columns 2"]:
        """Receptive-field centres, (x, y) in pixels."""
        x = self.receptive_field.offset + self.receptive_field.stride * np.arange(self.columns)
        y = self.receptive_field.offset + self.receptive_field.stride * np.arange(self.rows)
        return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)

    def nearest(self, x: float, y: float) -> tuple[int, int]:
        """The ``(row, column)`` whose receptive-field centre is nearest to a point; its patch holds the pixel."""
        column, row = (math.floor(self.receptive_field.cell(pixel) + 0.5) for pixel in (x, y))
        return min(max(row, 0), self.rows - 1), min(max(column, 0), self.columns - 1)

    def corners(self, side: int) -> Int[np.ndarray, "cells 2"]:
        """The [left, top] pixel of a square of `side` pixels around every cell's centre."""
        rows, columns = np.divmod(np.arange(len(self)), self.columns)
        return np.stack(
            [self.receptive_field.first_pixel(columns, side), self.receptive_field.first_pixel(rows, side)], axis=-1
        )

    def inner(self) -> Int[np.ndarray, " inner_cells"]:
        """The cells whose receptive field lies wholly inside the image.

        The others see padding, which tells a network where the border is.
        """
        corners = self.corners(self.receptive_field.size)
        return np.flatnonzero(((corners >= 0) & (corners + self.receptive_field.size <= self.image_size)).all(axis=1))
