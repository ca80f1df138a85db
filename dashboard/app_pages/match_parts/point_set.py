"""Points that are set on the first photo: how links hold them, and what becomes of them by clicks and in a table."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from corrcore.datasets.points import NamedPoints
from dashboard.app_pages.match_parts.photo import Photo
from dashboard.parts import url_state

MOST_POINTS, MOST_LETTERS = 60, 6000  # of a link
NAME, X, Y = "Name", "x", "y"  # columns of the table that may be edited
NONE = NamedPoints((), np.empty((0, 2)))


def asked(photo: Photo) -> NamedPoints:
    """The points that the URL or this session asks for. Says so, and gives none, where they are not of this photo."""
    found, text = _asked(photo), url_state.asked("points")
    url_state.check_choice(
        "points", text, found is not None, "This link asks for the points {}, which are not points of this photo."
    )
    return NONE if found is None else found


def now(photo: Photo) -> NamedPoints:
    """The same without a word: where something happens that changes them, other changes may have been made since they
    were shown.
    """
    return _asked(photo) or NONE


def _asked(photo: Photo) -> NamedPoints | None:
    try:
        return checked(of_link(url_state.asked("points")), photo)
    except ValueError:
        return None


def checked(points: NamedPoints, photo: Photo) -> NamedPoints:
    """The points, if there are not too many for a link and all are in the photo; else raises ValueError."""
    _check_count(len(points))
    points.check_inside((photo.image.shape[1], photo.image.shape[0]), photo.title)
    if len(quote(to_link(points))) > MOST_LETTERS:
        msg = "the points' names are too long for a link to hold all of them; shorten some."
        raise ValueError(msg)
    return points


def _check_count(count: int) -> None:
    if count > MOST_POINTS:
        msg = f"{MOST_POINTS} points at most are set at a time; got {count:,}, so leave some out."
        raise ValueError(msg)


def to_link(points: NamedPoints) -> str:
    """As links hold them: "X,Y,NAME;X,Y,NAME".

    >>> to_link(NamedPoints(("eye", "1;2"), np.array([[120, 80.25], [3, 4]])))
    '120,80.25,eye;3,4,1%3B2'
    """
    return ";".join(
        f"{_in_link(x)},{_in_link(y)},{name.replace('%', '%25').replace(';', '%3B')}"
        for name, (x, y) in zip(points.names, points.places.tolist(), strict=True)
    )


def _in_link(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def of_link(text: str) -> NamedPoints:
    """What a link holds. Raises ValueError where that is no points."""
    parts = [part.split(",", 2) for part in text.split(";")] if text else []
    _check_count(len(parts))
    if any(len(part) != 3 for part in parts):
        msg = f"points must be x,y,name, with ; between them; got {text[:60]!r}."
        raise ValueError(msg)
    places = np.array([[float(x), float(y)] for x, y, _ in parts]).reshape(-1, 2)
    return NamedPoints(tuple(unquote(name) for _, _, name in parts), places)


def choose(points: NamedPoints, at: tuple[float, float] | None = None) -> None:
    """Keeps the points, and looks closer at a place of the first photo, if there is one."""
    closer = {} if at is None else {"point_of": "first", "point": ",".join(str(round(value)) for value in at)}
    url_state.choose_together({"points": to_link(points), **closer})


def with_point(points: NamedPoints, place: tuple[float, float]) -> NamedPoints:
    """With another one, named by the first number that is free."""
    name = next(name for name in map(str, range(1, len(points) + 2)) if name not in points.names)
    return NamedPoints((*points.names, name), np.concatenate([points.places, [place]]))


def moved(points: NamedPoints, name: str, place: tuple[float, float]) -> NamedPoints:
    """With the one of a name somewhere else, if there is one."""
    places = points.places.copy()
    places[[each == name for each in points.names]] = place
    return NamedPoints(points.names, places)


def edited(points: NamedPoints, shown: Sequence[str], changes: object, photo: Photo) -> NamedPoints:
    """As edits of a table leave them, which had a row for each of the names `shown`: rows changed, deleted and added, of
    which those without a place wait for it. A browser can be made to say anything: what are no edits change nothing.

    Raises ValueError, a sentence, for what no points of the photo can be.
    """
    match changes:
        case {"edited_rows": dict(altered), "added_rows": list(added), "deleted_rows": list(deleted)}:
            pass
        case _:
            return points
    of_row = {str(number): name for number, name in enumerate(shown)}
    gone = {of_row.get(str(number)) for number in deleted}
    altered = {of_row.get(str(number)): row for number, row in altered.items() if isinstance(row, dict)}
    added = [row for row in added if isinstance(row, dict) and row.get(X) is not None and row.get(Y) is not None]
    _check_count(len(points) + len(added))
    rows: list[Mapping[str, Any]] = [
        {NAME: name, X: x, Y: y} | altered.get(name, {})
        for name, (x, y) in zip(points.names, points.places.tolist(), strict=True)
        if name not in gone
    ]
    found = NONE
    for row in (*rows, *added):
        place, name = (_number(row.get(X)), _number(row.get(Y))), str(row.get(NAME) or "").strip()
        found = (
            NamedPoints((*found.names, name), np.vstack([found.places, place])) if name else with_point(found, place)
        )
    return checked(found, photo)


def _number(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    msg = f"x and y of a point must be numbers; got {str(value)[:20]!r}, so correct it or delete the point."
    raise ValueError(msg)


def chosen(points: NamedPoints, at: Sequence[float]) -> int | None:
    """The number of the point that lies at a pixel, if one does."""
    near = np.flatnonzero(np.abs(points.places - np.array(at)).max(axis=1, initial=0) <= 1)
    return int(near[0]) if near.size else None
