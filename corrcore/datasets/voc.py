"""PASCAL VOC 2011 with the keypoints of Bourdev et al. (Berkeley): one XML file an object.

The folder holds ``JPEGImages/<image>.jpg``, ``ImageSets/Main/train.txt`` and ``val.txt`` with one image a line, and
``keypoints/<category>/<image>_<object>.xml``.

The files count pixels from 1. A box there is its first pixel and the way from that to its last one, so its outer edges
lie half a pixel further out on both sides. Keypoints were cut to whole pixels: the true place is up to one pixel further
right and down, so 0.5 is added (a quarter in a photo's last pixel, of which only the first half is left). Then as many
keypoints lie close to the left edges of the boxes as to the right ones; without it there are three times as many.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from corrcore.datasets.folder import DatasetNotFoundError, FolderPhoto
from corrcore.datasets.records import BoxXYXY, Instance, KeypointDataset

# Head to tail, front to back, the animal's left first. Names of other categories follow in the order of the alphabet.
_KEYPOINT_ORDER = (
    *("L_Eye", "R_Eye", "Nose", "L_EarBase", "R_EarBase", "Throat", "Withers", "TailBase"),
    *("L_F_Elbow", "R_F_Elbow", "L_B_Elbow", "R_B_Elbow", "L_F_Paw", "R_F_Paw", "L_B_Paw", "R_B_Paw"),
)

_SPLITS = ("train", "val")
_IMAGE = re.compile(r"\w[\w.-]*", re.ASCII)
_MAX_BYTES = 10**6
_MAX_LIST_BYTES = 16 * 10**6
_MAX_PIXELS = 25_000_000  # what `decoding.decode` accepts
# The JPEG segments that begin a frame, and so give its size.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def load(root: str | os.PathLike, categories: Iterable[str] | None = None) -> KeypointDataset:
    """The annotated objects below `root`, of all categories or of those named, in that order.

    An annotation that cannot be used is left out, not fatal: `left_out` says why, by ``<category>/<file>``, for a
    category by its name. A keypoint outside its photo is left out alone, by ``<category>/<file> <keypoint>``, and NaN
    like a hidden one, so that visible keypoints lie inside their photos. They need not lie in their boxes, and some
    that were clicked on a neighbour do not. Boxes are cut at the photo's edges. An object without any visible keypoint
    stays, for it still looks like its category. A split without objects is not there.

    `digest` depends on what comes out here, not on pixels. Photos are decoded when they are loaded; now only the sizes
    in their headers are read.

    Raises DatasetNotFoundError where there is no such folder or category, or nothing in it can be used.
    """
    tree = _Tree(Path(root).expanduser())
    there = tree.categories()
    asked = list(there if categories is None else dict.fromkeys(categories))
    if unknown := [category for category in asked if category not in there]:
        msg = f"{tree.keypoints} holds no folder for {', '.join(map(repr, unknown))}; there are {', '.join(there)}."
        raise DatasetNotFoundError(msg)
    if not asked:
        msg = f"categories must name at least one; there are {', '.join(there)}."
        raise ValueError(msg)
    tree.read_lists()

    left_out: dict[str, str] = {}
    names: dict[str, Sequence[str]] = {}
    splits: dict[tuple[str, str], list[Instance]] = {}
    for category in asked:
        found = _annotations(tree, category, left_out)
        if not found:
            continue
        names[category] = _in_order({name for annotation in found for name in annotation.points})
        for split in _SPLITS:
            if of_split := [annotation.instance(names[category]) for annotation in found if annotation.split == split]:
                splits[category, split] = of_split
    if not names:
        key, reason = next(iter(left_out.items()))
        more = f" ({len(left_out)} were left out; {key} is the first)" if len(left_out) > 1 else ""
        msg = f"no object of {', '.join(asked)} below {tree.root} can be used: {reason}{more}"
        raise DatasetNotFoundError(msg)
    return KeypointDataset(
        name="voc2011",
        title="PASCAL VOC 2011, Berkeley keypoints",
        digest=_digest(names, splits, left_out),
        synthetic=False,
        keypoint_names=names,
        splits=splits,
        left_out=left_out,
    )


class _FaultError(Exception):
    """Why one annotation or category cannot be used: a sentence with the file, the rule and the remedy."""


@dataclass(frozen=True)
class _Annotation:
    name: str
    category: str
    split: str
    photo: FolderPhoto
    box: BoxXYXY
    points: Mapping[str, tuple[float, float] | None]
    dropped: Mapping[str, str] = field(default_factory=dict)

    def instance(self, names: Sequence[str]) -> Instance:
        points = [self.points.get(name) or (math.nan, math.nan) for name in names]
        return Instance(self.name, self.category, self.photo, self.box, np.array(points, float).reshape(-1, 2))


class _Tree:
    """The folder, and what was already read in it. No file is read through a link that leads out of it."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            msg = f"{root} is no folder; give the one that holds JPEGImages, ImageSets and keypoints (VOC2011)."
            raise DatasetNotFoundError(msg)
        self.root, self.real = root, root.resolve()
        self.photos, self.keypoints = root / "JPEGImages", root / "keypoints"
        self.lists = {split: root / "ImageSets" / "Main" / f"{split}.txt" for split in _SPLITS}
        folders = [folder for folder in (self.photos, self.keypoints) if not folder.is_dir()]
        missing = folders + [path for path in self.lists.values() if not path.is_file()]
        if missing:
            names = ", ".join(path.relative_to(root).as_posix() for path in missing)
            msg = f"{root} is not laid out as PASCAL VOC with Berkeley keypoints: {names} missing; give the folder that holds them (VOC2011)."
            raise DatasetNotFoundError(msg)
        outside = [path for path in (self.photos, self.keypoints, *self.lists.values()) if not self._is_inside(path)]
        if outside:
            msg = f"{outside[0]} is a link that leads out of {root}; put the files there instead."
            raise DatasetNotFoundError(msg)
        self._splits: dict[str, set[str]] = {}  # of an image: one, unless the lists are wrong
        self._sizes: dict[str, tuple[int, int] | str] = {}  # of a photo, or why there is none
        self._taken: dict[str, Path] = {}  # objects

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.real)

    def _check_link(self, path: Path) -> None:
        if path.is_symlink() and not self._is_inside(path):
            msg = f"{path} is a link that leads out of {self.root}; put the file there instead."
            raise _FaultError(msg)

    def categories(self) -> list[str]:
        there = sorted(p.name for p in self.keypoints.iterdir() if p.is_dir() and not p.name.startswith("."))
        if not there:
            msg = f"{self.keypoints} is empty; put one folder a category with one XML file an object there."
            raise DatasetNotFoundError(msg)
        return there

    def read_lists(self) -> None:
        for split, path in self.lists.items():
            if path.stat().st_size > _MAX_LIST_BYTES:
                msg = f"{path} is larger than {_MAX_LIST_BYTES // 10**6} MB, so it is no list of images; give one name a line."
                raise DatasetNotFoundError(msg)
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                if words := line.split():  # VOC's lists of one category have a second word
                    self._splits.setdefault(words[0], set()).add(split)

    def annotation_files(self, category: str) -> list[Path]:
        folder = self.keypoints / category
        self._check_link(folder)
        files = sorted(path for path in folder.iterdir() if path.suffix == ".xml" and not path.name.startswith("."))
        if not files:
            msg = f"{folder} holds no annotation; put one XML file an object there, or remove it."
            raise _FaultError(msg)
        return files

    def annotation(self, path: Path, category: str) -> _Annotation:
        self._check_link(path)
        tree = _parsed(path)
        own = _text(tree, "category", path)
        if own != category:
            msg = f"{path} says category {own!r} and lies in the folder of {category!r}; move it or correct it."
            raise _FaultError(msg)
        image, number = _text(tree, "image", path), _text(tree, "voc_id", path)
        if not _IMAGE.fullmatch(image):
            msg = f"{path} names the image {image!r}; a name is letters, digits, '_', '-' and '.', with no folder and no suffix."
            raise _FaultError(msg)
        if path.stem != f"{image}_{number}":
            msg = f"{path} annotates object {number} of image {image}; an annotation is named <image>_<object>.xml, so rename or correct it."
            raise _FaultError(msg)
        if path.stem in self._taken:
            msg = f"{path} is the same object as {self._taken[path.stem]}; remove one of them."
            raise _FaultError(msg)
        photo = FolderPhoto(f"{image}.jpg", self.photos / f"{image}.jpg")
        split, box, points = self._split(image, path), _box(tree, path), _points(tree, path)
        annotation = _inside(_Annotation(path.stem, category, split, photo, box, points), self._size(photo), path)
        self._taken[path.stem] = path
        return annotation

    def _split(self, image: str, path: Path) -> str:
        splits = self._splits.get(image, set())
        if len(splits) == 1:
            return next(iter(splits))
        both = "both train.txt and val.txt, and would be tested on what was learnt"
        msg = f"{path}: image {image} is in {both if splits else 'neither train.txt nor val.txt'}; list it in one of them."
        raise _FaultError(msg)

    def _size(self, photo: FolderPhoto) -> tuple[int, int]:
        """Width and height, from the photo's header: read once for all its objects."""
        if photo.name not in self._sizes:
            self._sizes[photo.name] = self._read_size(photo.path)
        size = self._sizes[photo.name]
        if isinstance(size, str):
            raise _FaultError(size)
        return size

    def _read_size(self, path: Path) -> tuple[int, int] | str:
        try:
            self._check_link(path)
            if not path.is_file():
                return f"{path} is missing; put the photo there or remove its annotations."
            size = _jpeg_size(path)
        except _FaultError as fault:
            return str(fault)
        except OSError as error:
            return f"{path} cannot be read ({error.strerror}); allow it or remove its annotations."
        if size is None:
            return f"{path} is no JPEG or is cut off; put the photo there again."
        width, height = size
        if not 0 < width * height <= _MAX_PIXELS:
            return f"{path} has {width:,} x {height:,} px; a photo has 1 to {_MAX_PIXELS:,} pixels, so put a smaller one there."
        return size


def _annotations(tree: _Tree, category: str, left_out: dict[str, str]) -> list[_Annotation]:
    """What can be used of a category; `left_out` is told of the rest."""
    found = []
    try:
        files = tree.annotation_files(category)
    except _FaultError as fault:
        left_out[category] = str(fault)
        return []
    for path in files:
        key = f"{category}/{path.stem}"
        try:
            annotation = tree.annotation(path, category)
        except _FaultError as fault:
            left_out[key] = str(fault)
            continue
        left_out |= {f"{key} {name}": reason for name, reason in annotation.dropped.items()}
        found.append(annotation)
    return found


class _Builder(ElementTree.TreeBuilder):
    """Refuses document types: an entity declared there can swell to gigabytes."""

    def doctype(self, *_: str | None) -> None:
        msg = "it has a DOCTYPE, which annotations need not and may not have"
        raise _FaultError(msg)


def _parsed(path: Path) -> ElementTree.Element:
    if not path.is_file():
        msg = f"{path} is no file; remove it."
        raise _FaultError(msg)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); allow it or remove it."
        raise _FaultError(msg) from None
    if len(data) > _MAX_BYTES:
        msg = f"{path} is larger than {_MAX_BYTES // 10**6} MB; an annotation has about 1 kB, so it is none: remove it."
        raise _FaultError(msg)
    try:
        parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314 - no DOCTYPE, so no entities, and 1 MB at most
        parser.feed(data)
        tree = parser.close()
    except (ElementTree.ParseError, LookupError, ValueError, _FaultError) as error:
        msg = f"{path} is no usable XML: {error}; correct it or remove it."
        raise _FaultError(msg) from None
    if tree.tag != "annotation":
        msg = f"{path} begins with <{tree.tag}>; an annotation begins with <annotation>."
        raise _FaultError(msg)
    return tree


def _text(tree: ElementTree.Element, tag: str, path: Path) -> str:
    text = (tree.findtext(tag) or "").strip()
    if not text:
        msg = f"{path} has no <{tag}>; add it or remove the file."
        raise _FaultError(msg)
    return text


def _attribute(element: ElementTree.Element, key: str, path: Path) -> str:
    value = element.get(key)
    if value is None:
        msg = f"{path}: {_called(element)} has no attribute '{key}'; add it or remove the file."
        raise _FaultError(msg)
    return value


def _number(element: ElementTree.Element, key: str, path: Path) -> float:
    text = _attribute(element, key, path)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        msg = f"{path}: '{key}' of {_called(element)} must be a finite number; got {text[:40]!r}."
        raise _FaultError(msg)
    return number


def _called(element: ElementTree.Element) -> str:
    if element.tag != "keypoint":
        return element.tag
    return f"keypoint {element.get('name')!r}" if element.get("name") else "a keypoint"


def _box(tree: ElementTree.Element, path: Path) -> BoxXYXY:
    bounds = tree.find("visible_bounds")
    if bounds is None:
        msg = f"{path} has no visible_bounds, the object's box; add it or remove the file."
        raise _FaultError(msg)
    left, top, width, height = (_number(bounds, key, path) for key in ("xmin", "ymin", "width", "height"))
    if width <= 0 or height <= 0:
        msg = f"{path} has a box of {width:g} x {height:g} px; width and height must be positive, so correct it."
        raise _FaultError(msg)
    # From pixels counted from 1, first and last one included, to outer edges.
    return left - 1.5, top - 1.5, left + width - 0.5, top + height - 0.5


def _points(tree: ElementTree.Element, path: Path) -> dict[str, tuple[float, float] | None]:
    """Places as in the file by name; None for a hidden keypoint, whose coordinates mean nothing."""
    points: dict[str, tuple[float, float] | None] = {}
    for element in tree.iterfind("keypoints/keypoint"):
        name, visible = _attribute(element, "name", path), _attribute(element, "visible", path)
        if name in points:
            msg = f"{path} has two keypoints {name!r}; remove one of them."
            raise _FaultError(msg)
        if visible not in ("0", "1"):
            msg = f"{path}: 'visible' of {_called(element)} must be 0 or 1; got {visible[:40]!r}."
            raise _FaultError(msg)
        points[name] = None
        if visible == "1":
            points[name] = (_number(element, "x", path), _number(element, "y", path))
    return points


def _inside(annotation: _Annotation, size: tuple[int, int], path: Path) -> _Annotation:
    """The annotation with its box cut at the photo's edges and without the keypoints beyond them."""
    width, height = size
    right, bottom = width - 0.5, height - 0.5
    left, top = max(annotation.box[0], -0.5), max(annotation.box[1], -0.5)
    box = (left, top, min(annotation.box[2], right), min(annotation.box[3], bottom))
    if box[0] >= box[2] or box[1] >= box[3]:
        msg = f"{path} has its box outside its photo of {width} x {height} px; correct it or remove the file."
        raise _FaultError(msg)
    points: dict[str, tuple[float, float] | None] = {}
    dropped = {}
    for name, point in annotation.points.items():
        points[name] = None
        if point is None:
            continue
        x, y = _uncut(point[0], width), _uncut(point[1], height)
        if x is not None and y is not None:
            points[name] = x, y
            continue
        dropped[name] = (
            f"{path}: keypoint {name!r} at ({point[0]:g}, {point[1]:g}) is outside its photo of {width} x {height} px; "
            "it counts as hidden until it is corrected."
        )
    return replace(annotation, box=box, points=points, dropped=dropped)


def _uncut(cut: float, side: int) -> float | None:
    """The middle of where a coordinate was before it was cut to a whole pixel, and counted from 1; None outside."""
    first, last = max(cut, 0.5), min(cut + 1, side + 0.5)
    return (first + last) / 2 - 1 if first < last else None


def _jpeg_size(path: Path) -> tuple[int, int] | None:
    """Width and height, or None for what is no JPEG. Ten times as fast as opening it as a picture."""
    with path.open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return None
        while len(head := file.read(4)) == 4 and head[0] == 0xFF:
            length = int.from_bytes(head[2:], "big")
            if head[1] in _FRAMES:
                frame = file.read(5)
                return (
                    (int.from_bytes(frame[3:], "big"), int.from_bytes(frame[1:3], "big")) if len(frame) == 5 else None
                )
            if length < 2:
                return None
            file.seek(length - 2, os.SEEK_CUR)
    return None


def _in_order(names: set[str]) -> tuple[str, ...]:
    return (*(name for name in _KEYPOINT_ORDER if name in names), *sorted(names.difference(_KEYPOINT_ORDER)))


def _digest(
    names: Mapping[str, Sequence[str]],
    splits: Mapping[tuple[str, str], Sequence[Instance]],
    left_out: Mapping[str, str],
) -> str:
    # Names are written as JSON, so that none of them can pass for two.
    digest = hashlib.sha256(json.dumps([list(names.items()), sorted(left_out)]).encode())
    for key, instances in splits.items():
        for instance in instances:
            digest.update(json.dumps([*key, instance.name, instance.photo.name, instance.box]).encode())
            digest.update(np.ascontiguousarray(instance.keypoints, "<f8").tobytes())
    return digest.hexdigest()
