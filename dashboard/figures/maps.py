"""Maps laid over pictures: similarities, scores, displacements, and the keys to their colours."""

import numpy as np
from PIL import Image, ImageDraw

from corrcore.geometry import CellGrid
from corrcore.tasks.alignment import Alignment
from dashboard.figures.style import YELLOW

_VIRIDIS = np.array(
    [
        [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1],
        [0.267, 0.283, 0.231, 0.173, 0.128, 0.152, 0.369, 0.678, 0.993],
        [0.005, 0.141, 0.322, 0.449, 0.567, 0.681, 0.789, 0.864, 0.906],
        [0.329, 0.458, 0.545, 0.558, 0.551, 0.500, 0.383, 0.190, 0.144],
    ]
)  # a level, then red, green and blue there
# ColorBrewer's RdBu: a level, then red, green and blue there
_DIVERGING = np.array(
    [
        [-1, -0.8, -0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8, 1],
        [0.020, 0.129, 0.263, 0.573, 0.820, 0.969, 0.992, 0.957, 0.839, 0.698, 0.404],
        [0.188, 0.400, 0.576, 0.773, 0.898, 0.969, 0.859, 0.647, 0.376, 0.094, 0.0],
        [0.380, 0.675, 0.765, 0.871, 0.941, 0.969, 0.780, 0.510, 0.302, 0.169, 0.122],
    ]
)


def displacement_colours(displacement: np.ndarray, *, longest: float) -> np.ndarray:
    """Displacements (dx, dy) as colours: the direction is the hue, `longest` and more the full colour, none white."""
    turn = np.arctan2(displacement[..., 1], displacement[..., 0]) / (2 * np.pi) % 1
    length = np.minimum(np.linalg.norm(displacement, axis=-1) / max(longest, 1e-9), 1)
    hue = np.stack([turn, turn - 1 / 3, turn - 2 / 3], axis=-1)
    full = np.clip(0.5 + np.cos(2 * np.pi * hue) / 1.5, 0, 1)
    return np.rint(255 * (1 - length[..., None] * (1 - full))).astype(np.uint8)


def colour_wheel(side: int = 96) -> np.ndarray:
    """The key to `displacement_colours`, to be shown round: pointing right is on the right."""
    axis = np.linspace(-1, 1, side)
    x, y = np.meshgrid(axis, axis)
    return displacement_colours(np.stack([x, y], axis=-1), longest=1)


def displacement_picture(alignment: Alignment, *, longest: float, side: int = 304) -> np.ndarray:
    """The field over the source, a square a cell."""
    colours = displacement_colours(alignment.displacement, longest=longest)
    rows, columns = colours.shape[:2]
    scale = max(side // max(rows, columns), 1)
    return np.repeat(np.repeat(colours, scale, axis=0), scale, axis=1)


def displacement_arrows(image: np.ndarray, alignment: Alignment, *, scale: int = 2) -> np.ndarray:
    """Arrows on the source, from the centres of cells by their displacements."""
    picture = Image.fromarray(image).convert("L").convert("RGB")
    picture = picture.resize((image.shape[1] * scale, image.shape[0] * scale), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    starts = alignment.source.centres()
    ends = starts + alignment.displacement * alignment.source.receptive_field.stride
    for start, end in zip(starts.reshape(-1, 2), ends.reshape(-1, 2), strict=True):
        a, b = (start + 0.5) * scale - 0.5, (end + 0.5) * scale - 0.5
        draw.line((*a, *b), fill=YELLOW, width=2)
        along = b - a
        length = np.hypot(*along)
        if length > 4:
            along, across = 7 * along / length, 4 * np.array([-along[1], along[0]]) / length
            draw.polygon([tuple(b), tuple(b - along + across), tuple(b - along - across)], fill=YELLOW)
        else:
            draw.ellipse((*(a - 2), *(a + 2)), fill=YELLOW)
    return np.asarray(picture)


def similarity_overlay(
    image: np.ndarray, similarity: np.ndarray, *, opacity: float = 0.75, scale: int = 2
) -> np.ndarray:
    """A similarity from 0 to 1 a cell over the picture: cells are the squares around their centres; Viridis."""
    colours = np.rint(_coloured(np.clip(similarity, 0, 1), _VIRIDIS))
    size = (image.shape[1] * scale, image.shape[0] * scale)
    over = Image.fromarray(colours.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    under = Image.fromarray(image).convert("L").convert("RGB").resize(size, Image.Resampling.BICUBIC)
    return np.asarray(Image.blend(under, over, opacity))


def score_overlay(image: np.ndarray, scores: np.ndarray, *, limit: float, opacity: float = 0.6) -> np.ndarray:
    """A score a pixel, NaN for none, over the grey picture: blue below zero, red above, full colour at `limit`."""
    return _overlay(image, scores / max(limit, 1e-9), _DIVERGING, opacity)


def level_overlay(image: np.ndarray, levels: np.ndarray, *, opacity: float = 0.6) -> np.ndarray:
    """A number from 0 to 1 a pixel, NaN for none, over the grey picture: Viridis."""
    return _overlay(image, levels, _VIRIDIS, opacity)


def of_cells(values: np.ndarray, cells: CellGrid, size: tuple[int, int]) -> np.ndarray:
    """A value a pixel of a picture of ``(width, height)`` that shows what the cells were taken of, at any proportions.

    That of the cell whose centre is nearest; NaN beyond the outermost cells' patches.
    """
    numbers = []
    for length, shown, n in zip(cells.image_size, size, (cells.columns, cells.rows), strict=True):
        pixels = (np.arange(shown) + 0.5) * length / shown - 0.5
        nearest = np.floor((pixels - cells.receptive_field.offset) / cells.receptive_field.stride + 0.5).astype(int)
        numbers.append(np.where((nearest >= 0) & (nearest < n), nearest, -1))
    x, y = numbers
    found = values[np.maximum(y, 0)[:, None], np.maximum(x, 0)[None, :]].astype(float)
    found[(y < 0)[:, None] | (x < 0)[None, :]] = np.nan
    return found


def viridis_colours() -> list[str]:
    """The colours of `similarity_overlay`, from 0 to 1, and of `maxima_counts`, from none to most."""
    return _names_of(_VIRIDIS)


def score_colours() -> list[str]:
    """The colours of `score_overlay`, from -limit to limit."""
    return _names_of(_DIVERGING)


def _coloured(levels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Red, green and blue, to 255, of levels by a table of levels and channels."""
    return 255 * np.stack([np.interp(levels, table[0], channel) for channel in table[1:]], axis=-1)


def _names_of(table: np.ndarray) -> list[str]:
    return [f"#{''.join(f'{round(255 * value):02x}' for value in colour)}" for colour in table[1:].T]


def _overlay(image: np.ndarray, levels: np.ndarray, table: np.ndarray, opacity: float) -> np.ndarray:
    grey = np.asarray(Image.fromarray(image).convert("L").convert("RGB")).astype(float)
    there = ~np.isnan(levels)
    colours = _coloured(np.clip(levels[there], table[0, 0], table[0, -1]), table)
    grey[there] = (1 - opacity) * grey[there] + opacity * colours
    return np.rint(grey).astype(np.uint8)
