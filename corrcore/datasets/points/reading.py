"""Files of points that people have; they come from strangers: their sizes are limited, and what is wrong with one is a
sentence.
"""

import csv
import io
import json
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from corrcore.datasets.folder import printable_name
from corrcore.datasets.points.named import (
    HEADING,
    MAX_BYTES,
    MAX_POINTS,
    SUFFIXES,
    NamedPoints,
    fault_of_name,
    first_twice,
    joined,
    short,
)
from corrcore.settings import prepared_path


def open_points(path: str | os.PathLike, *, only_named: bool = False) -> Callable[[str], NamedPoints]:
    """Reads a file of points; what comes back gives the points of a photo by its name.

    ``.csv``: lines of name,x,y, with a heading or without; the same for any photo. ``.json``: COCO's keypoints. The
    photo's are those of the image whose ``file_name`` is its name, or ends so after a "/", or else of the only image,
    unless several photos are asked for and `only_named` says so; names are the category's, and keypoints with v = 0 are
    left out. Of several objects in a photo names get numbers.

    Raises ValueError for a file that cannot be read or says anything else, here or when it is asked for a photo.
    """
    path = prepared_path(path)
    title, suffix = printable_name(path), _suffix(path)
    return read_points(_read(path, title, MAX_BYTES[suffix]), title, only_named=only_named)


def read_points(data: bytes, name: str, *, only_named: bool = False) -> Callable[[str], NamedPoints]:
    """The same for a file's content. How its `name` ends says what it is."""
    title, suffix = printable_name(name), _suffix(name)
    _check_size(data, title, MAX_BYTES[suffix])
    if suffix == ".csv":
        points = _of_csv(data, title)
        return lambda _: points
    return _Coco(data, title, only_named=only_named).points_of


def _suffix(name: str | os.PathLike) -> str:
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        title = printable_name(name)
        msg = f"{title}: a file of points must end in {' or '.join(SUFFIXES)}; rename it or choose another."
        raise ValueError(msg)
    return suffix


def _read(path: Path, title: str, most: int) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            msg = f"{title} is not a regular file; give a file of points ({' or '.join(SUFFIXES)})."
            raise ValueError(msg)
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        msg = f"{title} cannot be read ({error.strerror or error}); check that it is there and may be read."
        raise ValueError(msg) from None
    _check_size(data, title, most)
    return data


def _check_size(data: bytes, title: str, most: int) -> None:
    if len(data) > most:
        msg = f"{title} is larger than the {most / 2**20:.0f} MiB accepted of points; keep those of this photo only."
        raise ValueError(msg)


def _of_csv(data: bytes, title: str) -> NamedPoints:
    names: dict[str, int] = {}
    places = []
    for number, line in _lines(data, title):
        cells = tuple(cell.strip() for cell in line)
        if not names and tuple(map(str.lower, cells)) == HEADING:
            continue
        if len(cells) != len(HEADING):
            msg = f"{title}, line {number}: it must be name,x,y; got {short(','.join(cells))}, so correct it."
            raise ValueError(msg)
        if fault := fault_of_name(cells[0]):
            msg = f"{title}, line {number}: a point's name {fault}; rename it."
            raise ValueError(msg)
        if cells[0] in names:
            msg = (
                f"{title}, line {number}: names must differ, and {cells[0]} is in line {names[cells[0]]} too; "
                "rename one."
            )
            raise ValueError(msg)
        names[cells[0]] = number
        places.append([_number(cell, f"{title}, line {number}") for cell in cells[1:]])
        _check_count(len(names), title)
    _check_any(len(names), title)
    return NamedPoints(tuple(names), np.array(places, float))


def _lines(data: bytes, title: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV that are not empty, by their numbers; none after the first that is wrong is looked at."""
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        yield from ((reader.line_num, line) for line in reader if line)
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f"{title} is no usable CSV ({short(error)}); write lines of name,x,y as UTF-8."
        raise ValueError(msg) from None


def _number(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        msg = f"{where}: x and y must be finite numbers; got {short(cell)}, so correct it or leave the point out."
        raise ValueError(msg)
    return value


class _Coco:
    """A file of COCO's keypoints. What it says of a photo is looked at when that is asked for."""

    def __init__(self, data: bytes, title: str, *, only_named: bool) -> None:
        self.title, self.only_named = title, only_named
        try:
            plain = json.loads(data)
        except (ValueError, RecursionError) as error:
            msg = f"{title} is no usable JSON ({short(error)}); write it anew, or give lines of name,x,y as CSV."
            raise ValueError(msg) from None
        if not isinstance(plain, dict):
            self._refuse("it must hold an object with images, annotations and categories, as COCO has them", plain)
        self.images = self._listed(plain, "images", "file_name", str)
        self.categories = self._listed(plain, "categories", "id", int | str)
        self.annotations: dict[int | str, list[Mapping[str, Any]]] = {}
        for each in self._listed(plain, "annotations", "image_id", int | str):
            self.annotations.setdefault(each["image_id"], []).append(each)

    def _refuse(self, rule: str, got: object) -> NoReturn:
        msg = f"{self.title}: {rule}; got {short(got)}, so correct it."
        raise ValueError(msg)

    def _listed(self, plain: Mapping[str, Any], key: str, needed: str, kind: Any) -> list[Mapping[str, Any]]:
        """A list of objects that all have a field of some kind."""
        found = plain.get(key)
        if not isinstance(found, list):
            self._refuse(f"{key} must be a list, as in COCO's keypoints", found)
        for number, each in enumerate(found):
            if not isinstance(each, dict) or not isinstance(each.get(needed), kind):
                self._refuse(f"{key}[{number}] must have {needed}", each)
        return found

    def points_of(self, photo: str) -> NamedPoints:
        """See `open_points`."""
        image = self._image(photo)
        own = [each for each in self.annotations.get(image, ()) if isinstance(each.get("keypoints"), list)]
        _check_count(sum(len(each["keypoints"]) // 3 for each in own), self.title)
        points = joined([self._points(each) for each in own])
        _check_any(len(points), f"{self.title} for {photo}")
        return points

    def _image(self, photo: str) -> int | str:
        """The id of the image that is a photo."""
        named = [each for each in self.images if each["file_name"] == photo]
        named = named or [each for each in self.images if _last(each["file_name"]) == _last(photo)]
        found = named or (self.images if len(self.images) == 1 and not self.only_named else [])
        if len(found) != 1:
            if found:
                rule = "several images are named so"
            elif len(self.images) == 1:
                rule = f"its only image is {short(self.images[0]['file_name'])}"
            else:
                rule = f"none of its {len(self.images):,} images is named so"
            msg = f"{self.title} must say which points are those of {photo}, but {rule}; correct file_name there."
            raise ValueError(msg)
        identity = found[0].get("id")
        if not isinstance(identity, int | str):
            self._refuse(f"the image {photo} must have an id", identity)
        return identity

    def _points(self, annotation: Mapping[str, Any]) -> NamedPoints:
        """One object's keypoints that are not hidden."""
        flat, names = annotation["keypoints"], self._names(annotation.get("category_id"))
        if len(flat) != 3 * len(names):
            rule = f"keypoints must be x, y and v for each of the category's {len(names):,} names"
            self._refuse(rule, f"{len(flat):,} numbers")
        found: dict[str, tuple[float, float]] = {}
        for name, x, y, visibility in zip(names, flat[::3], flat[1::3], flat[2::3], strict=True):
            if not _is_number(visibility) or visibility not in (0, 1, 2):
                self._refuse(f"v of {name} must be 0 (hidden), 1 or 2", visibility)
            if visibility == 0:
                continue
            if not (_is_number(x) and _is_number(y)):
                self._refuse(f"x and y of {name} must be finite numbers, or its v 0", [x, y])
            found[name] = float(x), float(y)
        return NamedPoints(tuple(found), np.array(list(found.values()), float).reshape(-1, 2))

    def _names(self, category: Any) -> Sequence[str]:
        own = [each for each in self.categories if each["id"] == category]
        if len(own) != 1:
            self._refuse("category_id must be that of one category", category)
        names = own[0].get("keypoints")
        if not isinstance(names, list) or not names:
            self._refuse(f"the category {short(category)} must name its keypoints", names)
        for name in names:
            if fault := fault_of_name(name):
                msg = f"{self.title}: a keypoint's name {fault}; rename it in its category."
                raise ValueError(msg)
        if twice := first_twice(names):
            msg = f"{self.title}: keypoints of a category must differ; {twice} is there twice, so rename one."
            raise ValueError(msg)
        return names


def _is_number(value: object) -> bool:
    """Whether it is a finite number that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _last(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _check_count(count: int, title: str) -> None:
    if count > MAX_POINTS:
        msg = f"{title}: a photo may have {MAX_POINTS:,} points at most; keep the most important ones."
        raise ValueError(msg)


def _check_any(count: int, title: str) -> None:
    if not count:
        msg = f"{title} has no point that is not hidden; give at least one."
        raise ValueError(msg)
