"""Where a cell of a layer lies in the image: receptive fields, their centres, and the patches of cells.

A *cell* is one position of a layer's grid. Its *receptive field* is every input pixel that is path-connected
to it. Its *patch* is the much smaller square, one stride wide, that stands for the cell when an image is rebuilt
from cells (Long, Zhang and Darrell 2014, Section 3). The patch is centred on the cell's *centre*, and so is the
receptive field, unless windows lie askew on the image (`ReceptiveField.balanced`).

All half-pixel arithmetic of receptive fields lives here. Pixel centres are at integers; the origin is the
centre of the top-left pixel.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

WINDOW_STRIDES, WIDE_STRIDES = 11, 20
LEAST_WINDOW_STRIDES = 6  # localisation looks in a window for what is three strides wide: half of it at most
_ASKEW = 1 / 8  # of a stride: windows that lie farther than that from the middle of the image are askew


class PixelBox(NamedTuple):
    """A half-open rectangle of whole pixels: ``image[box.top:box.bottom, box.left:box.right]``."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return self.bottom - self.top

    def clip(self, image_size: tuple[int, int]) -> "PixelBox":
        """The part of the box inside an image of ``(width, height)`` pixels; empty boxes have no area."""
        width, height = image_size
        left, right = (min(max(x, 0), width) for x in (self.left, self.right))
        top, bottom = (min(max(y, 0), height) for y in (self.top, self.bottom))
        return PixelBox(left, top, right, bottom)

    def contains(self, other: "PixelBox") -> bool:
        """Whether no edge of another box lies outside of this one."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def inside(self, image_size: tuple[int, int]) -> bool:
        """Whether every pixel of the box is a pixel of an image of ``(width, height)``."""
        return PixelBox(0, 0, *image_size).contains(self)


@dataclass(frozen=True)
class KernelSpec:
    """One convolution or pooling along one axis, in positions of its input."""

    size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1


@dataclass(frozen=True)
class ReceptiveField:
    """Cell ``i`` along an axis stands at pixel ``offset + stride * i`` and sees ``size`` pixels around it.

    Both axes are alike. `size` and `stride` are in pixels; `offset` is a whole or half pixel. A `size` of None is the
    whole image: what attention, averages over the image or norms over it make of any field. The window's middle is
    `askew` pixels further right and below than where the cell stands, 0 in most networks: see `balanced`. A square of
    `window_strides` stands for a field that has no size to speak of: see `window_px`.

    >>> from corrcore.geometry import ReceptiveField, KernelSpec
    >>> conv1 = ReceptiveField.of_kernels([KernelSpec(size=11, stride=4, padding=2)])
    >>> conv1
    ReceptiveField(size=11, stride=4, offset=3.0)
    >>> conv1.centre(10)
    43.0
    >>> conv1.cell(44.0)
    10.25
    """

    size: int | None
    stride: int
    offset: float
    askew: float = field(default=0.0, repr=False)
    window_strides: int = field(default=WINDOW_STRIDES, repr=False)

    def __post_init__(self) -> None:
        for name, value in (("size", self.size), ("stride", self.stride)):
            if value is not None and value < 1:
                msg = f"{name} of a receptive field must be at least 1 pixel; got {value}."
                raise ValueError(msg)
        if self.window_strides < LEAST_WINDOW_STRIDES:
            msg = f"a window must be at least {LEAST_WINDOW_STRIDES} strides wide; got {self.window_strides}."
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

        Where neighbouring inputs are ``j`` pixels apart, a kernel of ``k`` taps adds ``(k - 1) * dilation * j`` pixels,
        and its padding moves the first cell ``padding * j`` pixels to the left.
        """
        reach = (kernel.size - 1) * kernel.dilation * self.stride
        return replace(
            self,
            size=None if self.size is None else self.size + reach,
            stride=self.stride * kernel.stride,
            offset=self.offset + reach / 2 - kernel.padding * self.stride,
        )

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """The receptive field of a cell fed by both (branches that are added or concatenated)."""
        if self.stride != other.stride:
            msg = f"branches must share one stride to meet in a cell; got {self.stride} and {other.stride} pixels."
            raise ValueError(msg)
        if self.size is None or other.size is None:
            return replace(self, size=None)
        middles = self.offset + self.askew, other.offset + other.askew
        first = min(middles[0] - (self.size - 1) / 2, middles[1] - (other.size - 1) / 2)
        last = max(middles[0] + (self.size - 1) / 2, middles[1] + (other.size - 1) / 2)
        return ReceptiveField(size=round(last - first) + 1, stride=self.stride, offset=(first + last) / 2)

    def balanced(self, n_cells: int, side: int) -> "ReceptiveField":
        """The same windows, of `n_cells` along an image of `side` pixels, with cells where what they describe is.

        A convolution of stride 2 and 3 taps on an even side leaves a pixel over on the right: all windows lie half a
        pixel left of the middle, and after four of them, as in MobileNets and ResNets, 7.5 px. But networks are trained
        on pictures and their mirror images, and deep layers learn to describe what lies as far from the left as the
        cell's counterpart does from the right. There is where their gradients are (`corrcore network field` measures
        it): of MobileNetV2's last layers four fifths of the way from the windows' middle, half of it where a stride
        begins, and nothing of it in the first layers, whose windows are a few strides wide. `side` is therefore that of
        the images a network was trained on. Windows that are askew by an eighth of a stride or less are left as they
        are.
        """
        middle = (side - 1 - (n_cells - 1) * self.stride) / 2
        if abs(middle - self.offset) <= _ASKEW * self.stride:
            return self
        return replace(self, offset=middle, askew=self.askew + self.offset - middle)

    def starting(self, cell: int) -> "ReceptiveField":
        """The same cells, counted from one of them on; from a negative one where others come before."""
        return replace(self, offset=self.offset + self.stride * cell)

    def every(self, step: int) -> "ReceptiveField":
        """Every second, third, ... of the cells."""
        return replace(self, stride=self.stride * step)

    @property
    def window_px(self) -> int:
        """The side of the square that stands for the field where pixels are compared, shown or kept apart, in pixels.

        The field itself, and `window_strides`, by default 11, about what AlexNet's conv5 sees, where the field is the
        whole image or wider than 20 strides: such fields leave hardly any cell of a photo that sees no border.
        """
        side = self.window_strides * self.stride
        if self.size is None:
            return side
        return min(side, self.size) if self.windowed else self.size

    @property
    def around_px(self) -> int | None:
        """The side of the least square around where a cell stands that holds all it sees; None for the whole image."""
        return None if self.size is None else self.size + round(2 * abs(self.askew))

    @property
    def windowed(self) -> bool:
        """Whether another square stands for the field."""
        return self.size is None or self.size > WIDE_STRIDES * self.stride

    @property
    def size_text(self) -> str:
        """The size in words: "163 px", or "the whole image"."""
        return "the whole image" if self.size is None else f"{self.size} px"

    @property
    def window_text(self) -> str:
        """The side of what stands for the field, and of what it does: "163 px", or "176 px of the whole image"."""
        return f"{self.window_px} px of {self.size_text}" if self.windowed else self.size_text

    def centre(self, cell: float) -> float:
        """The pixel where a (fractional) cell stands, along one axis."""
        return self.offset + self.stride * cell

    def cell(self, pixel: float) -> float:
        """The fractional cell that stands at a pixel: the inverse of `centre`."""
        return (pixel - self.offset) / self.stride

    def first_pixel(self, cell: Int[np.ndarray, "..."] | int, side: int) -> Int[np.ndarray, "..."]:
        """Where a square of `side` pixels around a cell's centre begins, along one axis.

        A square of even side around a whole pixel reaches one pixel further left and up, so that patches of
        neighbouring cells tile the image.
        """
        return np.asarray(np.ceil(self.offset + self.stride * np.asarray(cell) - side / 2), dtype=np.int64)

    def _box(self, row: int, column: int, side: int) -> PixelBox:
        left, top = int(self.first_pixel(column, side)), int(self.first_pixel(row, side))
        return PixelBox(left, top, left + side, top + side)

    @property
    def window(self) -> "ReceptiveField":
        """The same cells standing in the middle of what they see."""
        return replace(self, offset=self.offset + self.askew, askew=0.0)

    def patch_box(self, row: int, column: int) -> PixelBox:
        """The patch of a cell: a square one stride wide. Patches of all cells tile the image."""
        return self._box(row, column, self.stride)

    def receptive_field_box(self, row: int, column: int) -> PixelBox:
        """The receptive field of a cell, or the square that stands for it. Near the border it leaves the image (see
        `PixelBox.clip`).
        """
        return (self if self.windowed else self.window)._box(row, column, self.window_px)


@dataclass(frozen=True)
class CellGrid:
    """The cells of a layer over an image of ``(width, height)`` pixels. They are numbered ``row * columns +
    column``.
    """

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
        """Where cells stand, (x, y) in pixels."""
        x = self.receptive_field.offset + self.receptive_field.stride * np.arange(self.columns)
        y = self.receptive_field.offset + self.receptive_field.stride * np.arange(self.rows)
        return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)

    def nearest(self, x: float, y: float) -> tuple[int, int]:
        """Row and column of the cell whose centre is nearest to a point. Its patch holds the pixel."""
        row, column = self.nearest_cells(np.array([x, y]))
        return int(row), int(column)

    def nearest_cells(
        self, points: Num[np.ndarray, "*shape 2"]
    ) -> tuple[Int[np.ndarray, "*shape"], Int[np.ndarray, "*shape"]]:
        """Rows and columns of the cells nearest to points, (x, y) in pixels. A point outside gets a cell of the border.

        Raises ValueError for points that are not finite.
        """
        if not np.isfinite(points).all():
            msg = "points must be finite; got some that are NaN or infinite. Leave hidden keypoints out."
            raise ValueError(msg)
        last = np.array([self.columns, self.rows]) - 1
        cells = np.floor((points - self.receptive_field.offset) / self.receptive_field.stride + 0.5)
        columns, rows = np.moveaxis(np.clip(cells, 0, last).astype(np.int64), -1, 0)
        return np.asarray(rows), np.asarray(columns)

    def corners(self, side: int) -> Int[np.ndarray, "cells 2"]:
        """The [left, top] pixel of a square of `side` pixels around every cell's centre."""
        rows, columns = np.divmod(np.arange(len(self)), self.columns)
        return np.stack(
            [self.receptive_field.first_pixel(columns, side), self.receptive_field.first_pixel(rows, side)], axis=-1
        )

    def inner(self) -> Int[np.ndarray, " inner_cells"]:
        """The cells whose receptive field lies wholly inside the image, and the square around them that stands for it.

        The others see padding, which tells a network where the border is.
        """
        own = self.receptive_field
        corners = np.stack([replace(self, receptive_field=each).corners(own.window_px) for each in (own, own.window)])
        return np.flatnonzero(((corners >= 0) & (corners + own.window_px <= self.image_size)).all(axis=(0, 2)))
