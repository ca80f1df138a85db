"""Where the cells of layers lie whose receptive fields cannot be derived: measured, and said to be."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from torch import nn

from corrcore.geometry import ReceptiveField
from corrcore.networks import without_content
from corrcore.networks.gradients import iter_gradients
from corrcore.networks.seen import Grid
from corrcore.networks.taps import Taps

_CELLS = ((0.5, 0.5), (0.4, 0.65))  # whose gradients are taken, as shares of the rows and columns
_SEEN = 1e-6  # of the largest gradient: pixels of more are in the field
_SMALL_SIZE = (96, 160)
_MOST_WITHOUT_PLACE = 16  # tokens

Shapes = Mapping[str, tuple[int, ...]]


def grids(
    module: nn.Module, empty: nn.Module, paths: Sequence[str], size: tuple[int, int], step: int
) -> dict[str, Grid]:
    """How submodules' outputs lie in an image of ``(rows, columns)``, by name; those that have no cells are left out.

    Dimensions that grow with the image are those of rows and columns, and pixels per cell the stride. A cell's centre
    is where its gradients by the image are, on average, or, where these fill the image, the middle of a square that
    tiles it; its field is as large as they reach. `empty` is the module
    without content, whose outputs have shapes too; `step` is by how many pixels images are made larger.
    """
    if len(_shapes(empty, paths, _SMALL_SIZE)) < len(paths):
        return _grids(module, empty, paths, size, step)
    found = _grids(module, empty, paths, _SMALL_SIZE, step)  # gradients take seconds
    filling = [path for path, grid in found.items() if grid.down.size is None]  # which larger images may not be
    larger = _grids(module, empty, filling, size, step) if filling else {}
    return found | {path: grid for path, grid in larger.items() if grid.down.size is not None}


def _grids(
    module: nn.Module, empty: nn.Module, paths: Sequence[str], size: tuple[int, int], step: int
) -> dict[str, Grid]:
    shapes, lower, wider = (
        _shapes(empty, paths, (size[0] + n * step, size[1] + m * step)) for n, m in ((0, 0), (1, 0), (0, 1))
    )
    found: dict[str, Grid] = {}
    for path in paths:
        if path in shapes and path in lower and path in wider:
            grid = _grid(shapes[path], lower[path], wider[path], size, step)
            if grid is not None:
                found[path] = grid
    return {path: _centred(grid, found[path]) for path, grid in _fields(module, found, size).items()}


def _centred(field: ReceptiveField, grid: Grid) -> Grid:
    return Grid(grid.rows, grid.columns, field, field, grid.y, grid.x, grid.before)


def _shapes(empty: nn.Module, paths: Sequence[str], size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """The shapes of outputs; of those that are reached."""
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:  # one by one: not all need be reached
        try:
            found[path] = tuple(without_content.output_of(empty, path, size).shape)
        except Exception:  # noqa: S112 - modules raise what they will
            continue
    return found


def _grid(
    first: Sequence[int], lower: Sequence[int], wider: Sequence[int], size: tuple[int, int], step: int
) -> Grid | None:
    """The dimensions of places, and the stride; None for an output that has no cells."""
    if not len(first) == len(lower) == len(wider) or first[0] != 1:
        return None
    down, across = (
        [dim for dim, (n, m) in enumerate(zip(first, larger, strict=True)) if n != m] for larger in (lower, wider)
    )
    if len(down) != 1 or len(across) != 1:
        return None
    y, x = down[0], across[0]
    if y == x:
        tokens = _token_stride(first[y], size)
        if tokens is None:
            return None
        stride, before = tokens
        rows, columns = size[0] // stride, size[1] // stride
    else:
        rows, columns, before = first[y], first[x], 0
        stride = round(step / (lower[y] - rows)) if lower[y] > rows else 0
        if stride < 1 or round(step / max(wider[x] - columns, 1)) != stride:
            return None
    field = ReceptiveField(None, stride, (stride - 1) / 2)
    return Grid(rows, columns, field, field, y, x, before)


def _token_stride(n: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """The stride, and the tokens that have no place, that make `n` tokens of an image."""
    for stride in range(2, min(size) + 1):
        without = n - (size[0] // stride) * (size[1] // stride)
        if 0 <= without <= _MOST_WITHOUT_PLACE and size[0] % stride == size[1] % stride == 0:
            return stride, without
    return None


def _fields(module: nn.Module, found: Mapping[str, Grid], size: tuple[int, int]) -> dict[str, ReceptiveField]:
    """The fields of layers' cells, from the gradients of a few."""
    if not found:
        return {}
    weight = next(module.parameters())
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *size, generator=generator).to(weight.device, weight.dtype)

    def energies(pixels: torch.Tensor) -> Iterator[torch.Tensor]:
        outputs = Taps(module).run(pixels, list(found), inference=False)
        for path, grid in found.items():
            for down, across in _CELLS:
                cell = _cell(outputs[path], grid, int(down * grid.rows), int(across * grid.columns))
                yield cell.float().square().sum()

    gradients = iter_gradients(image, energies)
    return {
        path: _field(grid, [np.square(gradient).sum(0) for gradient in islice(gradients, len(_CELLS))], size)
        for path, grid in found.items()
    }


def _field(grid: Grid, seen: Sequence[np.ndarray], size: tuple[int, int]) -> ReceptiveField:
    stride, reach, offsets = grid.down.stride, 0, []
    for (down, across), pixels in zip(_CELLS, seen, strict=True):
        for along, cell in ((pixels.sum(1), int(down * grid.rows)), (pixels.sum(0), int(across * grid.columns))):
            offsets.append(float((along * np.arange(len(along))).sum() / along.sum()) - stride * cell)
            inside = np.flatnonzero(along > _SEEN * along.max())
            reach = max(reach, int(inside[-1] - inside[0]) + 1)
    offset, fills = round(2 * float(np.median(offsets))) / 2, reach >= min(size)
    if fills or abs(offset - (stride - 1) / 2) <= stride / 2:  # in fields that fill it, the image pulls at the centre
        offset = (stride - 1) / 2  # patches that tile the image, as nearly all have them
    return ReceptiveField(None if fills else reach, stride, offset)


def _cell(output: torch.Tensor, grid: Grid, row: int, column: int) -> torch.Tensor:
    """One cell's numbers."""
    if grid.tokens:
        return output.movedim(grid.y, 0)[grid.before + row * grid.columns + column]
    return output.movedim((grid.y, grid.x), (0, 1))[row, column]
