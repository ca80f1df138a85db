"""Drawing on pictures: boxes, crosses, keypoints, and grids of pictures with titles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from corrcore.geometry import PixelBox
from corrcore.tasks.averaging import Averages, expand_contrast
from dashboard.figures.style import BLACK, YELLOW, is_light, keypoint_colour

_CORNERS = np.array([[[242, 196, 15], [231, 76, 60]], [[46, 140, 87], [41, 98, 217]]])  # of places: above, and below


def crop(image: np.ndarray, box: PixelBox) -> np.ndarray:
    return np.ascontiguousarray(image[box.top : box.bottom, box.left : box.right])


def draw_boxes(image: np.ndarray, boxes: Sequence[tuple[PixelBox, str]]) -> np.ndarray:
    """A copy with boxes drawn on it, each over a thin halo so that it stands out on any photo."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for box, colour in boxes:
        inner = (box.left, box.top, box.right - 1, box.bottom - 1)
        halo = (inner[0] - 1, inner[1] - 1, inner[2] + 1, inner[3] + 1)
        draw.rectangle(halo, outline="white" if colour == BLACK else "black")
        draw.rectangle(inner, outline=colour, width=2)
    return np.asarray(picture)


def neighbour_view(picture: np.ndarray, field: PixelBox, patch: PixelBox, *, margin: int = 24) -> np.ndarray:
    """A patch (yellow) inside its receptive field (black) inside a square part of its source picture.

    The patch is in the middle, and what lies beyond the picture is grey: all views of one layer can be compared at a
    glance.
    """
    side = field.width + 2 * margin
    part = PixelBox(field.left - margin, field.top - margin, field.left - margin + side, field.top - margin + side)
    view = np.full((side, side, 3), 128, np.uint8)
    inside = part.clip((picture.shape[1], picture.shape[0]))
    view[inside.top - part.top : inside.bottom - part.top, inside.left - part.left : inside.right - part.left] = crop(
        picture, inside
    )
    moved = [
        PixelBox(box.left - part.left, box.top - part.top, box.right - part.left, box.bottom - part.top)
        for box in (field, patch)
    ]
    return draw_boxes(view, [(moved[0], BLACK), (moved[1], YELLOW)])


@dataclass(frozen=True)
class Column:
    """One column of Figure 1: a title and a picture a row, from the top."""

    title: str
    pictures: Sequence[np.ndarray]


def image_grid(columns: Sequence[Column], row_titles: Sequence[str], *, gap: int = 8) -> np.ndarray:
    """Pictures in rows and columns with titles, on white: the figure to download. Cells fit the largest picture."""
    font = ImageFont.load_default(size=15)
    pictures = [picture for column in columns for picture in column.pictures]
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = max((int(measure.textlength(title, font)) for title in row_titles), default=0) + 2 * gap
    top = 24 + gap
    size = (left + len(columns) * (width + gap), top + len(row_titles) * (height + gap))
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for row, title in enumerate(row_titles):
        draw.text((gap, top + row * (height + gap) + height // 2), title, "black", font, anchor="lm")
    for number, column in enumerate(columns):
        x = left + number * (width + gap)
        draw.text((x + width // 2, top - gap // 2), column.title, "black", font, anchor="ms")
        for row, picture in enumerate(column.pictures):
            at = (x + (width - picture.shape[1]) // 2, top + row * (height + gap) + (height - picture.shape[0]) // 2)
            canvas.paste(Image.fromarray(picture), at)
    return np.asarray(canvas)


def averages_sheet(averages: Sequence[Averages]) -> np.ndarray:
    """Figure 2: a column a layer, a row a k, contrast expanded, at true relative sizes."""
    columns = [
        Column(result.layer, [expand_contrast(each.mean, each.count) for each in result.averages])
        for result in averages
    ]
    return image_grid(columns, [f"k = {each.k}" for each in averages[0].averages])


def draw_keypoints(
    image: np.ndarray,
    points: np.ndarray,
    *,
    truth: np.ndarray | None = None,
    radii_px: tuple[float, float] = (0.0, 0.0),
    scale: int = 2,
) -> np.ndarray:
    """The picture, enlarged by `scale`, with its keypoints: a dot each, in the keypoint's colour.

    With `truth`, points outside the ellipse of radii `radii_px` (along x and y) around it are rings with a line
    to it, and thin ellipses show what counts as right. NaN is not drawn.
    """
    enlarged = Image.fromarray(image).resize((image.shape[1] * scale, image.shape[0] * scale), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(enlarged)

    radii = np.array(radii_px) * scale

    def circle(at: np.ndarray, radius: float | np.ndarray, **how: Any) -> None:
        draw.ellipse((*(at - radius), *(at + radius)), **how)

    for number, point in enumerate(points):
        colour = keypoint_colour(number)
        edge = "black" if is_light(colour) else "white"
        at = (point + 0.5) * scale - 0.5
        right = (truth[number] + 0.5) * scale - 0.5 if truth is not None else at
        if truth is not None and not np.isnan(right).any():
            circle(right, radii, outline=colour, width=scale)
        if np.isnan(at).any() or (truth is not None and np.isnan(right).any()):
            continue
        if truth is not None and np.linalg.norm((at - right) / np.maximum(radii, 1e-9)) > 1:
            draw.line((*at, *right), fill=edge, width=3)
            draw.line((*at, *right), fill=colour, width=1)
            circle(at, 4.5 * scale, outline=edge, width=5)
            circle(at, 4.5 * scale - 1, outline=colour, width=3)
        else:
            circle(at, 4 * scale + 1, fill=edge)
            circle(at, 4 * scale, fill=colour)
    return np.asarray(enlarged)


def place_colours(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A colour for each point (x, y) of a picture of ``(width, height)``: between those of its four corners."""
    across, down = ((points + 0.5) / np.array(size)).clip(0, 1).T[..., None]
    above, below = ((1 - across) * _CORNERS[row][0] + across * _CORNERS[row][1] for row in range(2))
    return np.rint((1 - down) * above + down * below).astype(np.uint8)


def draw_dots(
    image: np.ndarray, points: np.ndarray, colours: np.ndarray, *, scale: int = 2, radius: float = 6
) -> np.ndarray:
    """Dots at points (x, y) over the grey picture, enlarged."""
    picture, draw = _grey(image, scale)
    for (x, y), colour in zip((points + 0.5) * scale - 0.5, colours.tolist(), strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(colour), outline=(255, 255, 255))
    return np.asarray(picture)


def draw_lines(
    first: np.ndarray, second: np.ndarray, points: np.ndarray, places: np.ndarray, colours: np.ndarray, *, gap: int = 12
) -> np.ndarray:
    """Two pictures side by side, and lines from points (x, y) of the first to places of the second."""
    height = max(first.shape[0], second.shape[0])
    sheet = np.full((height, first.shape[1] + gap + second.shape[1], 3), 255, np.uint8)
    sheet[: first.shape[0], : first.shape[1]] = first
    sheet[: second.shape[0], first.shape[1] + gap :] = second
    picture, draw = _grey(sheet, 2)
    starts, ends = (2 * (each + 0.5) - 0.5 for each in (points, places + np.array([first.shape[1] + gap, 0])))
    for start, end, colour in zip(starts.tolist(), ends.tolist(), colours.tolist(), strict=True):
        draw.line((*start, *end), fill=tuple(colour), width=2)
        for x, y in (start, end):
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=tuple(colour), outline=(255, 255, 255))
    return np.asarray(picture)


def _grey(image: np.ndarray, scale: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.fromarray(image).convert("L").convert("RGB")
    picture = picture.resize((image.shape[1] * scale, image.shape[0] * scale), Image.Resampling.BICUBIC)
    return picture, ImageDraw.Draw(picture)


def draw_frame(image: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The picture with a light rectangle, in a dark one, between two corners (x, y)."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    (left, top), (right, bottom) = np.rint(corners).astype(int).tolist()
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=(90, 90, 90))
    draw.rectangle((left, top, right, bottom), outline=(235, 235, 235))
    return np.asarray(picture)


def draw_crosses(
    image: np.ndarray,
    points: Sequence[tuple[tuple[float, float], str]],
    *,
    rings: Sequence[tuple[tuple[float, float], str]] = (),
    scale: int = 2,
) -> np.ndarray:
    """The picture, enlarged, with a cross at each point, in its colour, and rings around others."""
    picture = Image.fromarray(image).resize((image.shape[1] * scale, image.shape[0] * scale), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for point, colour in points:
        x, y = ((each + 0.5) * scale - 0.5 for each in point)
        for width, drawn in ((7, "black" if is_light(colour) else "white"), (3, colour)):
            draw.line((x - 6 * scale, y, x + 6 * scale, y), fill=drawn, width=width)
            draw.line((x, y - 6 * scale, x, y + 6 * scale), fill=drawn, width=width)
    for point, colour in rings:
        x, y = ((each + 0.5) * scale - 0.5 for each in point)
        for radius, width, drawn in ((11, 7, "black" if is_light(colour) else "white"), (9, 3, colour)):
            reach = radius * scale
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=drawn, width=width)
    return np.asarray(picture)
