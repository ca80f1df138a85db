"""Named points of a photo, and the rules for them."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from corrcore.datasets.folder import printable_name

SUFFIXES = (".json", ".csv")
"""How names of files of points end."""

MAX_POINTS = 1000
"""Points of one photo."""

MAX_NAME = 60
"""Characters of a point's name."""

MAX_BYTES: Mapping[str, int] = {".json": 32 * 2**20, ".csv": 2**20}
"""Size accepted of a file, by its suffix."""

DIGITS = 3
"""Of a pixel, in files."""

HEADING = ("name", "x", "y")
"""Of lines."""


@dataclass(frozen=True, eq=False)
class NamedPoints:
    """Points of one photo, (x, y) in its pixels, each under a name of its own.

    Raises ValueError for names that are not as many as points, that are empty, too long, unprintable or there twice,
    and for places that are not finite.
    """

    names: tuple[str, ...]
    places: Float[np.ndarray, "points 2"]

    def __post_init__(self) -> None:
        if self.places.shape != (len(self.names), 2):
            msg = f"places must be of shape ({len(self.names)}, 2), an x and a y per name; got {self.places.shape}."
            raise ValueError(msg)
        for name in self.names:
            if fault := fault_of_name(name):
                msg = f"a point's name {fault}; rename it."
                raise ValueError(msg)
        if twice := first_twice(self.names):
            msg = f"names of points must differ; {twice} is there twice, so rename one."
            raise ValueError(msg)
        if not np.isfinite(self.places).all():
            msg = "places of points must be finite; got some that are NaN or infinite. Leave hidden points out."
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.names)

    def check_inside(self, size: tuple[int, int], photo: str) -> None:
        """Raises ValueError for points outside the photo of ``(width, height)`` px that messages call `photo`."""
        outside = (self.places < -0.5) | (self.places > np.array(size) - 0.5)
        if not (wrong := np.flatnonzero(outside.any(axis=1))).size:
            return
        x, y = self.places[wrong[0]]
        where = f"{self.names[wrong[0]]} at ({x:g}, {y:g})"
        who = f"point {where} is" if len(wrong) == 1 else f"{len(wrong):,} points, the first {where}, are"
        msg = (
            f"{who} outside {photo}, which has {size[0]} x {size[1]} px; x goes from 0 to {size[0] - 1} and y from 0 "
            f"to {size[1] - 1}, so correct the points or take the photo they were made for."
        )
        raise ValueError(msg)

    def to_csv(self) -> str:
        """Lines of name,x,y below a heading, as `open_points` reads them."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADING)
        writer.writerows((name, *rounded(place)) for name, place in zip(self.names, self.places, strict=True))
        return file.getvalue()


def joined(several: Iterable[NamedPoints]) -> NamedPoints:
    """Points of one photo from several sources. A name that is taken gets a number, such as "nose (2)".

    Raises ValueError for more than `MAX_POINTS`, and where numbers make a name too long.
    """
    names: dict[str, int] = {}
    latest: dict[str, int] = {}
    places = [np.empty((0, 2))]
    for points in several:
        places.append(points.places)
        for name in points.names:
            own = name
            while own in names:
                latest[name] = latest.get(name, 1) + 1
                own = f"{name} ({latest[name]})"
            names[own] = len(names)
    if len(names) > MAX_POINTS:
        msg = f"a photo may have {MAX_POINTS:,} points at most; got {len(names):,}, so give fewer."
        raise ValueError(msg)
    return NamedPoints(tuple(names), np.concatenate(places))


def rounded(place: Float[np.ndarray, "2"]) -> list[float]:
    """A place as files have it: x and y, to a thousandth of a pixel."""
    return [round(float(value), DIGITS) for value in place]


def fault_of_name(name: object) -> str:
    """What is wrong with a point's name; empty where nothing is."""
    if not isinstance(name, str) or not name or name != name.strip():
        return f"must be a text, not empty and without spaces around it; got {short(name)}"
    if len(name) > MAX_NAME or not name.isprintable():
        return f"must be of {MAX_NAME} printable characters at most; got {short(name)}"
    return ""


def first_twice(names: Sequence[str]) -> str | None:
    """The first name that was there before; None where all differ."""
    seen = set()
    return next((name for name in names if name in seen or seen.add(name)), None)


def short(value: object) -> str:
    """The beginning of what a file says, on one line."""
    try:
        text = str(value) if isinstance(value, Exception | str) else repr(value)
    except (ValueError, RecursionError):  # a number of too many digits, or lists too deep to be written
        text = type(value).__name__
    return printable_name(text.encode("utf-8", "backslashreplace").decode()[:MAX_NAME])
