"""Where the cells of a module's layers lie in images of any size."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from corrcore.geometry import ReceptiveField
from corrcore.networks import measured, without_content
from corrcore.networks.seen import Grid, Unknown
from corrcore.networks.trace import Traced, trace

_SIZES = ((224, 448), (320, 480), (384, 640), (64, 96), (224, 224), (384, 384), (512, 512))  # tried, rows and columns
_USUAL_PX = 224  # side of the images that networks are trained on
_DEEP = 8  # strides that fields are wide of layers whose gradients have moved to the middle, see `_balanced`
_MORE_PX = (1, 2, 4, 8, 16)  # by which images are larger where stride by stride something may depend on their size


@dataclass(frozen=True)
class LayerGeometry:
    """A layer: which submodule it is, and how its output lies.

    `places` says in which dimensions rows and columns are; `parameters` are those that are needed to get there;
    `chain` are the modules on the way where there is nothing else (see `Traced`). `measured` is whether the receptive
    field has no derivation.
    """

    path: str
    receptive_field: ReceptiveField
    places: Grid
    parameters: frozenset[str]
    chain: tuple[str, ...] | None
    measured: bool

    def grids(
        self, output: torch.Tensor, extended: tuple[int, int], size: tuple[int, int]
    ) -> Float[torch.Tensor, "batch rows columns channels"]:
        """The output with its cells in rows and columns, without those centred beyond an image of `size`.

        Sizes are (height, width) in pixels; `extended` is that of the image as the module saw it.
        """
        places, field = self.places, self.receptive_field
        if places.tokens:
            n = output.shape[places.y] - places.before - places.after
            tokens = output.movedim(places.y, 1).narrow(1, places.before, n)
            rows = _rows_of(n, extended, field.stride)
            found = tokens.reshape(tokens.shape[0], rows, n // rows, -1)
        else:
            found = output.movedim((places.y, places.x), (1, 2))
        rows, columns = (int((side - 0.5 - field.offset) // field.stride) + 1 for side in size)
        return found[:, :rows, :columns]


def _rows_of(n: int, size: tuple[int, int], stride: int) -> int:
    """How many rows a number of cells makes of an image of ``(height, width)``, as far apart down as across.

    Windows larger than the stride leave out as much along either axis.
    """
    for left in range(-stride, min(size)):
        rows, columns = ((side - left) // stride for side in size)
        if rows * columns == n:
            return rows
    divisors = [rows for rows in range(1, n + 1) if n % rows == 0]
    return min(divisors, key=lambda rows: abs(rows * rows * size[1] - n * size[0]))


@dataclass(frozen=True)
class ModuleGeometry:
    """What a module makes of images, found by running it without content.

    `traced` is of its submodules, on an image of `size` (rows, columns). Where windows lie differently on images of
    other sizes ("SAME" padding), or only some sizes are taken (patches), images are to be extended to multiples of
    `multiple` pixels: then cells lie on them as they lie here. `fixed` is the one size that is taken, (rows, columns).
    `trained` is how many rows of cells submodules have on images like those it was trained on, of `train_px` a side.
    """

    traced: Mapping[str, Traced]
    size: tuple[int, int]
    multiple: int
    fixed: tuple[int, int] | None
    trained: Mapping[str, int]
    train_px: int

    @classmethod
    def of(cls, module: nn.Module, *, multiple: int | None = None, train_px: int | None = None) -> "ModuleGeometry":
        """That of a module on the device "meta"; `multiple` where it is known, as of patches that overlap.

        Unless `train_px` is given, images are taken to be of the side that submodules divide without a rest, the least
        from 224 px. Raises ValueError for a module that takes no images.
        """
        traced, size, multiple, fixed = _lying_alike(module, multiple)
        whole = max((_stride(each) for each in traced.values()), default=1) if train_px is None else multiple
        side = size[0] if fixed is not None else -(-(train_px or _USUAL_PX) // whole) * whole
        trained = traced if side == size[0] else _traced(module, (side, side))
        rows = {path: each.seen.rows for path, each in trained.items() if isinstance(each.seen, Grid)}
        return cls(traced, size, multiple, fixed, rows, side)

    def layers(self, paths: Mapping[str, str], module: nn.Module, empty: nn.Module) -> dict[str, LayerGeometry]:
        """Where the cells of submodules' outputs lie, by the layers' names; those that have none are left out.

        What cannot be derived is measured on the module itself, of which `empty` is the copy without content.
        """
        found = self._balanced({name: self._derived(path) for name, path in paths.items()})
        missing = [
            paths[name]
            for name, each in found.items()
            if each is None and isinstance(self.traced[paths[name]].seen, Unknown)
        ]
        if missing and self.fixed is None:
            grids = measured.grids(module, empty, missing, self.size, max(self.multiple, 32))
            for name, path in paths.items():
                if path in grids and (field := grids[path].receptive_field) is not None:
                    found[name] = LayerGeometry(
                        path, field, grids[path], self.traced[path].parameters, None, measured=True
                    )
        return {name: each for name, each in found.items() if each is not None}

    def _balanced(self, layers: Mapping[str, LayerGeometry | None]) -> dict[str, LayerGeometry | None]:
        """Layers with their cells where what they describe is (`ReceptiveField.balanced`): all of one stride alike."""
        deepest = {each.receptive_field.stride: each.receptive_field for each in layers.values() if each is not None}
        deep = {stride for stride, field in deepest.items() if (field.size or np.inf) >= _DEEP * stride}
        return {
            name: replace(each, receptive_field=each.receptive_field.balanced(self.trained[each.path], self.train_px))
            if each is not None and each.receptive_field.stride in deep and each.path in self.trained
            else each
            for name, each in layers.items()
        }

    def _derived(self, path: str) -> LayerGeometry | None:
        found = self.traced[path]
        seen = found.seen
        if isinstance(seen, Grid) and (field := seen.receptive_field) is not None:
            return LayerGeometry(path, field, seen, found.parameters, found.chain, measured=False)
        return None

    def batch_size(self, paths: Sequence[str], size: tuple[int, int], numbers: int) -> int:
        """How many images of ``(height, width)`` run together, to some submodules, within so many numbers; at least 1.

        A module's input and output are in memory together, besides what is kept of the submodules asked for. Numbers
        grow with the image's area; where attention writes its scores out, which grow faster, it is no bound.
        """
        order = list(self.traced)
        until = max((order.index(path) for path in paths), default=-1)
        largest = max((prod(self.traced[path].shape) for path in order[: until + 1]), default=1)
        each = 2 * largest + sum(prod(self.traced[path].shape) for path in paths)
        return max(1, int(numbers * prod(self.size) / (max(1, each) * prod(size))))

    def takes(self, empty: nn.Module, path: str, side: int) -> bool:
        """Whether square images of a side, in pixels, get as far as a submodule and leave it a cell."""
        return self._n_cells(empty, path, (side, side)) > 0

    def beyond_last_px(self, empty: nn.Module, layer: LayerGeometry) -> int:
        """The pixels at the right and at the bottom of any image that no shift of it has a cell for, at most."""
        field, whole = layer.receptive_field, self.multiple
        beyond = []
        for side in range(self.size[1], self.size[1] + max(field.stride, whole)):
            n = min(
                self._n_cells(empty, layer.path, (self.size[0], -(-side // whole) * whole)),
                int((side - 0.5 - field.offset) // field.stride) + 1,
            )
            beyond.append(side - 1 - int(np.floor(field.offset)) - field.stride * (n - 1))
        return max(0, max(beyond) - field.stride + 1)  # further in, each shift has a cell

    def _n_cells(self, empty: nn.Module, path: str, size: tuple[int, int]) -> int:
        """How many cells lie along the columns of images of ``(height, width)``; 0 where they are too small."""
        seen = self.traced[path].seen
        try:
            output = without_content.output_of(empty, path, size)
        except Exception:
            return 0
        if not isinstance(seen, Grid):
            return output.numel()
        if not seen.tokens:
            return output.shape[seen.x]
        n = output.shape[seen.x] - seen.before - seen.after
        return n // _rows_of(n, size, seen.down.stride) if n else 0


def _lying_alike(
    module: nn.Module, multiple: int | None
) -> tuple[Mapping[str, Traced], tuple[int, int], int, tuple[int, int] | None]:
    """What `ModuleGeometry` has of a module, and on which images its cells lie so."""
    size, traced = _first_that_runs(module)
    square = size[0] == size[1]
    if square and not _same(traced, _traced(module, (size[0] + 32, size[1] + 32))):
        return traced, size, 1, size
    if multiple is None:
        larger = [_traced(module, (size[0] + more, size[1] + more)) for more in _MORE_PX]
        if all(_same(traced, found) for found in larger):
            return traced, size, 1, None
        multiple = max((_stride(each) for each in traced.values()), default=1)
    rounded = size[0] + -size[0] % multiple, size[1] + -size[1] % multiple
    one, two = (_traced(module, (rounded[0] + n * multiple, rounded[1] + 2 * n * multiple)) for n in (0, 1))
    if not _same(one, two):
        return traced, size, 1, size
    return one, rounded, multiple, None


def _first_that_runs(module: nn.Module) -> tuple[tuple[int, int], Mapping[str, Traced]]:
    """The first size on which most of the module runs."""
    best: tuple[tuple[int, int], Mapping[str, Traced]] | None = None
    for size in _SIZES:
        found = _traced(module, size)
        if best is None or len(found) > len(best[1]):
            best = size, found
        if "" in found:
            break
    if best is None or not best[1]:
        sizes = ", ".join(f"{columns} x {rows}" for rows, columns in _SIZES)
        msg = f"a network must take RGB images; this one takes none of {sizes} px."
        raise ValueError(msg)
    return best


def _traced(module: nn.Module, size: tuple[int, int]) -> Mapping[str, Traced]:
    try:
        return trace(module, size)
    except ValueError:
        return {}


def _stride(found: Traced) -> int:
    return max(found.seen.down.stride, found.seen.across.stride) if isinstance(found.seen, Grid) else 1


def _same(first: Mapping[str, Traced], second: Mapping[str, Traced]) -> bool:
    """Whether cells lie alike."""
    return all(
        path in second and _lying(each) == _lying(second[path])
        for path, each in first.items()
        if isinstance(each.seen, (Grid, Unknown))
    )


def _lying(found: Traced) -> object:
    seen = found.seen
    return (seen.down, seen.across, seen.y, seen.x, seen.before, seen.after) if isinstance(seen, Grid) else type(seen)


def on_meta(module: nn.Module) -> nn.Module:
    """A copy of a module without content."""
    with torch.no_grad():
        memo = {
            id(each): nn.Parameter(without_content.like(each), requires_grad=False) for each in module.parameters()
        } | {id(each): without_content.like(each) for each in module.buffers()}
    return copy.deepcopy(module, memo)
