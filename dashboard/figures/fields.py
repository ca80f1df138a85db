"""Pictures of effective receptive fields, and of what is of the place in descriptors."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from corrcore.tasks.effective_field import EffectiveField
from corrcore.tasks.position import Position
from dashboard.figures.draw import Column, image_grid
from dashboard.figures.maps import level_overlay

_HIGHEST = 99.5  # percentile of a map that has the brightest colour
_LEAST_SHARE = 0.1  # that has the brightest colour: less is not made to look like much
_MAP_PX = 260


def field_limit(fields: Sequence[EffectiveField]) -> float:
    """The shared end of the colours of several layers, in multiples of what pixels of an even map have."""
    return max(float(np.percentile(field.relative, _HIGHEST)) for field in fields)


def field_picture(field: EffectiveField, *, limit: float, scale: int = 3) -> np.ndarray:
    """A layer's map in Viridis up to `limit`: its theoretical window framed, the disc that holds half of it ringed."""
    levels = np.clip(field.relative / max(limit, 1e-9), 0, 1)
    colours = level_overlay(np.zeros((*levels.shape, 3), np.uint8), levels, opacity=1)
    picture = Image.fromarray(colours.repeat(scale, axis=0).repeat(scale, axis=1))
    draw = ImageDraw.Draw(picture)
    middle = scale * (field.centre_px + 0.5) - 0.5
    size = field.receptive_field.size
    if size is not None and size <= field.side_px:
        half, seen = scale * size / 2 - 0.5, middle + scale * field.receptive_field.askew
        draw.rectangle((seen - half, seen - half, seen + half, seen + half), outline="white", width=scale - 1)
    radius = scale * field.radius_px
    for more, colour, width in ((1, "black", scale + 2), (0, "white", scale)):
        reach = radius + more
        draw.ellipse((middle - reach, middle - reach, middle + reach, middle + reach), outline=colour, width=width)
    return np.asarray(picture)


def fields_sheet(fields: Sequence[EffectiveField]) -> np.ndarray:
    """Layers side by side at one scale of colours and pixels: the figure to download."""
    limit = field_limit(fields)
    columns = [Column(field.layer, [field_picture(field, limit=limit)]) for field in fields]
    return image_grid(columns, [""])


def share_limit(found: Sequence[Position]) -> float:
    """The shared end of the colours of several layers' positional shares."""
    return min(max(_LEAST_SHARE, *(float(np.percentile(each.map, _HIGHEST)) for each in found)), 1.0)


def share_picture(found: Position, *, limit: float) -> np.ndarray:
    """A layer's positional share by cell, in Viridis from 0 to `limit`."""
    levels = np.clip(found.map / limit, 0, 1)
    colours = level_overlay(np.zeros((*levels.shape, 3), np.uint8), levels, opacity=1)
    scale = max(_MAP_PX // max(levels.shape), 1)
    return colours.repeat(scale, axis=0).repeat(scale, axis=1)
