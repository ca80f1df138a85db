"""Points that are set on the first photo: how links hold them, and what becomes of them by clicks and in a table."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from corrcore.datasets.points import NamedPoints
from dashboard.app_pages.match_parts.photo import Photo
from dashboard.parts import url_state

MOST_POINTS = 60  # that a link holds
NAME, X, Y = "Name", "x", "y"  # columns of the table that may be edited


def asked(photo: Photo) -> NamedPoints:
    """The points that the URL or this session asks for. Says so, and gives none, where they are not of this photo."""
    text = url_state.asked("points")
    try:
        found = checked(of_link(text), photo)
    except ValueError:
        found = None
    url_state.check_choice(
        "points", text, found is not None, "This link asks for the points {}, which are not points of this photo."
    )
    return found if found is not None else NamedPoints((), np.empty((0, 2)))


def checked(points: NamedPoints, photo: Photo) -> NamedPoints:
    """The points, if there are not too many and all are in the photo; else raises ValueError."""
    if len(points) > MOST_POINTS:
        msg = f"{MOST_POINTS} points at most are set at a time; got {len(points)}, so leave some out."
        raise ValueError(msg)
    points.check_inside((photo.image.shape[1], photo.image.shape[0]), photo.title)
    return points


def to_link(points: NamedPoints) -> str:
    """As links hold them: "X,Y,NAME;X,Y,NAME".

    >>> to_link(NamedPoints(("eye", "1;2"), np.array([[120, 80.25], [3, 4]])))
    '120,80.25,eye;3,4,1%3B2'
    """
    return ";".join(
        f"{round(x, 2):g},{round(y, 2):g},{quote(name, safe=' ')}"
        for name, (x, y) in zip(points.names, points.places.tolist(), strict=True)
    )


def of_link(text: str) -> NamedPoints:
    """What a link holds. Raises ValueError where that is no points."""
    parts = [part.split(",", 2) for part in text.split(";")] if text else []
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


def moved(points: NamedPoints, number: int, place: tuple[float, float]) -> NamedPoints:
    """With one of them somewhere else."""
    places = points.places.copy()
    places[number] = place
    return NamedPoints(points.names, places)


def edited(points: NamedPoints, changes: Mapping[str, Any], photo: Photo) -> NamedPoints:
    """As a table's edits leave them: rows changed, deleted and added, of which those without a place wait for it.

    Raises ValueError, a sentence, for what no points of the photo can be.
    """
    rows: list[Mapping[str, Any]] = [
        {NAME: name, X: x, Y: y} for name, (x, y) in zip(points.names, points.places.tolist(), strict=True)
    ]
    for number, change in changes.get("edited_rows", {}).items():
        rows[int(number)] = {**rows[int(number)], **change}
    gone = {int(number) for number in changes.get("deleted_rows", ())}
    rows = [row for number, row in enumerate(rows) if number not in gone]
    rows += [row for row in changes.get("added_rows", ()) if row.get(X) is not None and row.get(Y) is not None]
    found = NamedPoints((), np.empty((0, 2)))
    for row in rows:
        place = _number(row.get(X)), _number(row.get(Y))
        name = str(row.get(NAME) or "").strip()
        found = (
            NamedPoints((*found.names, name), np.concatenate([found.places, [place]]))
            if name
            else with_point(found, place)
        )
    return checked(found, photo)


def _number(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    msg = f"x and y of a point must be numbers; got {str(value)[:20]!r}."
    raise ValueError(msg)


def chosen(points: NamedPoints, at: Sequence[float]) -> int | None:
    """The number of the point that lies at a pixel, if one does."""
    near = np.flatnonzero(np.abs(points.places - np.array(at)).max(axis=1, initial=0) <= 1)
    return int(near[0]) if near.size else None
