"""Matches as a picture: both photos side by side, lines from points to their places, a row per feature."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from corrcore import images
from corrcore.features import Feature
from corrcore.tasks.matching import PointMatches

# Okabe and Ito's colours, told apart by colour-blind eyes, then Tol's muted ones; numbers tell apart the rest.
_COLOURS = (
    *("#0072b2", "#e69f00", "#d55e00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442"),
    *("#332288", "#88ccee", "#882255", "#ddcc77", "#44aa99", "#aa4499", "#999933"),
)
_MOST = (480, 340)  # of a photo, in px of the picture
_MARGIN, _GAP, _LINE = 16, 24, 22
_RADIUS, _DASH = 9, 7
_FINER = 3  # times as fine is what is drawn on photos, so that lines have smooth edges
_TEXT, _SMALL, _INK, _GREY = 15, 12, "#1a1a1a", "#666666"

Place = tuple[float, float]


@dataclass(frozen=True)
class _Shown:
    """A photo as the picture has it: its pixels, scaled, and its corner in a row of the picture."""

    pixels: Image.Image
    corner: tuple[int, int]
    scale: tuple[float, float]

    def at(self, place: np.ndarray) -> Place:
        """Where a place (x, y) of the photo is in the row, kept inside its photo."""
        x, y = (
            corner + min(max((value + 0.5) * scale, 0), side)
            for value, scale, corner, side in zip(place, self.scale, self.corner, self.pixels.size, strict=True)
        )
        return float(x), float(y)


@dataclass(frozen=True, eq=False)
class MatchView:
    """Points of one photo and their places in another by each feature, which a notebook shows as a picture.

    Points and their places have a number and a colour, in the order of the points. A line is dashed where the two
    cells do not choose each other. `titles` are what the two photos are called.
    """

    photos: tuple[np.ndarray, np.ndarray]
    titles: tuple[str, str]
    names: Sequence[str]
    matches: Mapping[Feature, PointMatches]

    @property
    def features(self) -> tuple[Feature, ...]:
        """What the photos are matched by."""
        return tuple(self.matches)

    def to_png(self) -> bytes:
        """The picture as a file."""
        source, target = _side_by_side(*self.photos)
        width = target.corner[0] + target.pixels.width + _MARGIN
        height = max(shown.pixels.height for shown in (source, target))
        legend = _legend(self.names, width)
        rows = [(str(feature), _row((width, height), source, target, each)) for feature, each in self.matches.items()]
        tall = _MARGIN + _LINE + len(rows) * (height + _LINE + _GAP) + legend.height
        canvas = Image.new("RGB", (width, tall), "white")
        draw = ImageDraw.Draw(canvas)
        for shown, title in zip((source, target), self.titles, strict=True):
            name = _fitting(title, shown.pixels.width, _SMALL)
            draw.text((shown.corner[0], _MARGIN), name, _GREY, _font(_SMALL), anchor="la")
        y = _MARGIN + _LINE
        for name, row in rows:
            draw.text((_MARGIN, y), name, _INK, _font(_TEXT), anchor="la")
            canvas.paste(row, (0, y + _LINE))
            y += _LINE + height + _GAP
        canvas.paste(legend, (0, y - _GAP // 2))
        return images.encode(np.asarray(canvas), format="PNG")

    def _repr_png_(self) -> bytes:
        return self.to_png()


def _side_by_side(source: np.ndarray, target: np.ndarray) -> tuple[_Shown, _Shown]:
    """Both as large as fits, one in the middle of the other's height."""
    scaled = []
    for photo in (source, target):
        height, width = photo.shape[:2]
        factor = min(_MOST[0] / width, _MOST[1] / height)
        sides = (max(round(width * factor), 1), max(round(height * factor), 1))
        pixels = Image.fromarray(images.resize_to(photo, height=sides[1], width=sides[0]))
        scaled.append((pixels, (sides[0] / width, sides[1] / height)))
    tallest = max(pixels.height for pixels, _ in scaled)
    shown, x = [], _MARGIN
    for pixels, scale in scaled:
        shown.append(_Shown(pixels, (x, (tallest - pixels.height) // 2), scale))
        x += pixels.width + _GAP
    return shown[0], shown[1]


def _row(size: tuple[int, int], source: _Shown, target: _Shown, matches: PointMatches) -> Image.Image:
    """Both photos with a feature's matches."""
    row = Image.new("RGB", size, "white")
    for shown in (source, target):
        row.paste(shown.pixels, shown.corner)
    above = Image.new("RGBA", (_FINER * size[0], _FINER * size[1]))
    draw = ImageDraw.Draw(above)
    ends = [(source.at(point), target.at(place)) for point, place in zip(matches.points, matches.places, strict=True)]
    for number, (start, end) in enumerate(ends):
        _draw_line(draw, start, end, point_colour(number), dashed=not matches.mutual[number])
    for side, shown in enumerate((source, target)):
        for number, at in enumerate(_apart([each[side] for each in ends], shown)):
            _draw_dot(draw, at, number, finer=_FINER)
    small = above.reduce(_FINER)
    row.paste(small, mask=small)
    return row


def _apart(places: Sequence[Place], shown: _Shown) -> list[Place]:
    """Where dots are drawn: those of one place overlap towards the middle of their photo, so that all are seen."""
    middle = shown.corner[0] + shown.pixels.width / 2
    found: list[Place] = []
    for number, (x, y) in enumerate(places):
        n_there = sum(math.dist((x, y), other) < 1 for other in places[:number])
        found.append((x + (1 if x < middle else -1) * 1.2 * _RADIUS * n_there, y))
    return found


def _draw_line(draw: ImageDraw.ImageDraw, start: Place, end: Place, colour: str, *, dashed: bool) -> None:
    """A line with an edge that shows on any photo."""
    length = math.dist(start, end)
    n_dashes = max(round(length / _DASH / 2), 1) if dashed else 1
    filled = 0.6 if dashed else 1.0
    for width, fill in ((4, _edge(colour)), (2, colour)):
        for number in range(n_dashes):
            shares = number / n_dashes, (number + filled) / n_dashes
            ends = [
                tuple(_FINER * (first + share * (last - first)) for first, last in zip(start, end, strict=True))
                for share in shares
            ]
            draw.line([*ends[0], *ends[1]], fill=fill, width=_FINER * width)


def _draw_dot(draw: ImageDraw.ImageDraw, at: Place, number: int, *, finer: int = 1) -> None:
    """A disc with the point's number."""
    x, y = (finer * value for value in at)
    colour = point_colour(number)
    radius = finer * _RADIUS
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=_edge(colour), width=finer)
    small = len(str(number + 1)) > 2
    draw.text((x, y), str(number + 1), _edge(colour), _font(finer * (_SMALL - 3 * small)), anchor="mm")


def _legend(names: Sequence[str], width: int) -> Image.Image:
    """Which number is which point, in as many lines as it takes, and what dashes mean."""
    spots: list[tuple[int, int, int, str]] = []
    x, y = _MARGIN, 0
    for number, name in enumerate(names):
        text = "" if name == str(number + 1) else _fitting(name, width - 2 * _MARGIN - 3 * _RADIUS, _SMALL)
        if not text:
            continue
        wide = 2 * _RADIUS + 6 + math.ceil(_font(_SMALL).getlength(text)) + _GAP
        if x > _MARGIN and x + wide - _GAP > width - _MARGIN:
            x, y = _MARGIN, y + _LINE
        spots.append((number, x, y, text))
        x += wide
    y += _LINE if spots else 0
    found = Image.new("RGB", (width, y + _LINE + _MARGIN // 2), "white")
    draw = ImageDraw.Draw(found)
    above = Image.new("RGBA", (_FINER * found.width, _FINER * found.height))
    finer = ImageDraw.Draw(above)
    for number, left, top, text in spots:
        _draw_dot(finer, (left + _RADIUS, top + _LINE / 2), number, finer=_FINER)
        draw.text((left + 2 * _RADIUS + 6, top + _LINE / 2), text, _INK, _font(_SMALL), anchor="lm")
    told = "dashed: the two cells do not choose each other; dots side by side are at one place"
    draw.text((_MARGIN, y + _LINE / 2), _fitting(told, width - 2 * _MARGIN, _SMALL), _GREY, _font(_SMALL), anchor="lm")
    small = above.reduce(_FINER)
    found.paste(small, mask=small)
    return found


def _fitting(text: str, width: int, size: int) -> str:
    """A text that is not wider than so many pixels; what is too much is cut off."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…" if text else ""


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def point_colour(number: int) -> str:
    """The colour of the point of a number, and of its places."""
    return _COLOURS[number % len(_COLOURS)]


def _edge(colour: str) -> str:
    """Black on light colours, white on dark ones."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 128 else "white"
