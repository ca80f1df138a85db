"""Keypoints that are there twice, left and right."""

import re
from collections.abc import Sequence

_OTHER = {"l": "r", "r": "l", "left": "right", "right": "left"}
_SIDE = re.compile(r"(?<![A-Za-z])[LRlr](?![A-Za-z])|left|right", re.IGNORECASE)


def twins(names: Sequence[str]) -> tuple[int | None, ...]:
    """By each keypoint the number of its counterpart on the other side, None where none is named.

    Sides are told as data sets do, by a letter that stands for itself or by a word.

    >>> twins(["L_Eye", "R_Eye", "Nose", "left_ear", "right_ear", "BackUpperLeft", "BackUpperRight"])
    (1, 0, None, 4, 3, 6, 5)
    """
    number = {name: n for n, name in enumerate(names)}
    found = []
    for name in names:
        other = _SIDE.sub(lambda side: _as_written(side[0]), name)
        found.append(number.get(other) if other != name else None)
    return tuple(found)


def _as_written(side: str) -> str:
    """The other side in the letters' case."""
    other = _OTHER[side.lower()]
    return other.upper() if side.isupper() else other.capitalize() if side[0].isupper() else other
