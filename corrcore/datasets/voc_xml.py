"""The XML file of one object with the keypoints of Bourdev et al.: any bytes give an object, or one sentence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from corrcore.datasets.folder import printable_name
from corrcore.datasets.records import BoxXYXY

_MAX_BYTES = 10**6
_NEAR_PX = 1  # how far a box may leave the photo in which it was drawn


class FaultError(Exception):
    """Why one annotation or category cannot be used: a sentence with the file, the rule and the remedy."""


@dataclass(frozen=True)
class XmlObject:
    """What a file says, not yet compared with its photo.

    `box` holds outer edges, counted from 0. `points` are as in the file, counted from 1 and cut to whole pixels; None
    for a hidden keypoint, whose coordinates mean nothing.
    """

    image: str
    number: str
    category: str
    box: BoxXYXY
    points: Mapping[str, tuple[float, float] | None]

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether the box, but for a little, and all visible keypoints lie in a photo of this width and height."""
        width, height = size
        left, top, right, bottom = self.box
        near = (
            min(left, top) >= -0.5 - _NEAR_PX and right <= width - 0.5 + _NEAR_PX and bottom <= height - 0.5 + _NEAR_PX
        )
        visible = [point for point in self.points.values() if point is not None]
        return near and all(_uncut(x, width) is not None and _uncut(y, height) is not None for x, y in visible)

    def cut_to(self, size: tuple[int, int], where: str) -> tuple["XmlObject", dict[str, str]]:
        """The object with its box cut at a photo's edges, and keypoints uncut and counted from 0.

        Keypoints beyond the edges become hidden, and are named with the reason. Raises FaultError for a box outside.
        """
        width, height = size
        left, top = max(self.box[0], -0.5), max(self.box[1], -0.5)
        right, bottom = min(self.box[2], width - 0.5), min(self.box[3], height - 0.5)
        if left >= right or top >= bottom:
            msg = f"{where} has its box outside its photo of {width} x {height} px; correct it or remove the file."
            raise FaultError(msg)
        points: dict[str, tuple[float, float] | None] = dict.fromkeys(self.points)
        dropped = {}
        for name, point in self.points.items():
            if point is None:
                continue
            x, y = _uncut(point[0], width), _uncut(point[1], height)
            if x is not None and y is not None:
                points[name] = x, y
                continue
            dropped[name] = (
                f"{where}: keypoint {name!r} at ({point[0]:g}, {point[1]:g}) is outside its photo of "
                f"{width} x {height} px; it counts as hidden until it is corrected."
            )
        return replace(self, box=(left, top, right, bottom), points=points), dropped


def read(path: Path) -> XmlObject:
    """The object in a file. Raises FaultError where there is none."""
    where = printable_name(path)
    if not path.is_file():
        msg = f"{where} is no file; remove it."
        raise FaultError(msg)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        msg = f"{where} cannot be read ({error.strerror or error}); allow it or remove it."
        raise FaultError(msg) from None
    return parse(data, where)


def parse(data: bytes, where: str) -> XmlObject:
    """The object that a file's bytes describe. Raises FaultError with `where`, the file, in its sentence."""
    tree = _tree(data, where)
    category, image, number = (_text(tree, tag, where) for tag in ("category", "image", "voc_id"))
    return XmlObject(image, number, category, _box(tree, where), _points(tree, where))


class _Builder(ElementTree.TreeBuilder):
    """Refuses document types: an entity declared there can swell to gigabytes."""

    def doctype(self, *_: str | None) -> None:
        msg = "it has a DOCTYPE, which annotations need not and may not have"
        raise FaultError(msg)


def _tree(data: bytes, where: str) -> ElementTree.Element:
    if len(data) > _MAX_BYTES:
        msg = (
            f"{where} is larger than {_MAX_BYTES // 10**6} MB; an annotation has about 1 kB, so it is none: remove it."
        )
        raise FaultError(msg)
    try:
        parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314 - no DOCTYPE, so no entities, and 1 MB at most
        parser.feed(data)
        tree = parser.close()
    except (ElementTree.ParseError, LookupError, ValueError, FaultError) as error:
        msg = f"{where} is no usable XML: {error}; correct it or remove it."
        raise FaultError(msg) from None
    if tree.tag != "annotation":
        msg = f"{where} begins with <{_short(tree.tag)}>; an annotation begins with <annotation>."
        raise FaultError(msg)
    return tree


def _text(tree: ElementTree.Element, tag: str, where: str) -> str:
    text = (tree.findtext(tag) or "").strip()
    if not text:
        msg = f"{where} has no <{tag}>; add it or remove the file."
        raise FaultError(msg)
    return text


def _attribute(element: ElementTree.Element, key: str, where: str) -> str:
    value = element.get(key)
    if value is None:
        msg = f"{where}: {_called(element)} has no attribute '{key}'; add it or remove the file."
        raise FaultError(msg)
    return value


def _number(element: ElementTree.Element, key: str, where: str) -> float:
    text = _attribute(element, key, where)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        msg = f"{where}: '{key}' of {_called(element)} must be a finite number; got '{_short(text)}'."
        raise FaultError(msg)
    return number


def _called(element: ElementTree.Element) -> str:
    if element.tag != "keypoint":
        return element.tag
    name = element.get("name")
    return f"keypoint '{_short(name)}'" if name else "a keypoint"


def _short(text: str) -> str:
    """The beginning of what a file says, on one line."""
    return printable_name(text if len(text) <= 40 else f"{text[:40]}...")


def _box(tree: ElementTree.Element, where: str) -> BoxXYXY:
    bounds = tree.find("visible_bounds")
    if bounds is None:
        msg = f"{where} has no visible_bounds, the object's box; add it or remove the file."
        raise FaultError(msg)
    left, top, width, height = (_number(bounds, key, where) for key in ("xmin", "ymin", "width", "height"))
    if width <= 0 or height <= 0:
        msg = f"{where} has a box of {width:g} x {height:g} px; width and height must be positive, so correct it."
        raise FaultError(msg)
    # From pixels counted from 1, first and last one included, to outer edges.
    return left - 1.5, top - 1.5, left + width - 0.5, top + height - 0.5


def _points(tree: ElementTree.Element, where: str) -> dict[str, tuple[float, float] | None]:
    points: dict[str, tuple[float, float] | None] = {}
    for element in tree.iterfind("keypoints/keypoint"):
        name, visible = _attribute(element, "name", where).strip(), _attribute(element, "visible", where)
        if not name or printable_name(name) != name:
            msg = f"{where}: name of a keypoint must be text that can be shown; got '{_short(name)}'."
            raise FaultError(msg)
        if name in points:
            msg = f"{where} has two keypoints '{_short(name)}'; remove one of them."
            raise FaultError(msg)
        if visible not in ("0", "1"):
            msg = f"{where}: 'visible' of {_called(element)} must be 0 or 1; got '{_short(visible)}'."
            raise FaultError(msg)
        points[name] = None
        if visible == "1":
            points[name] = (_number(element, "x", where), _number(element, "y", where))
    return points


def _uncut(cut: float, side: int) -> float | None:
    """The middle of where a coordinate was before it was cut to a whole pixel, and counted from 1; None outside."""
    first, last = max(cut, 0.5), min(cut + 1, side + 0.5)
    return (first + last) / 2 - 1 if first < last else None
