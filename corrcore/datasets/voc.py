"""PASCAL VOC 2011 with the keypoints of Bourdev et al. (Berkeley): one XML file an object.

The folder holds ``JPEGImages/<image>.jpg``, ``ImageSets/Main/train.txt`` and ``val.txt`` with one image a line, and
``keypoints/<category>/<image>_<object>.xml``.

The files count pixels from 1. A box there is its first pixel and the way from that to its last one, so its outer edges
lie half a pixel further out on both sides. Keypoints were cut to whole pixels: the true place is up to one pixel
further right and down, so 0.5 is added (a quarter in a photo's last pixel, of which only the first half is left). Then
as many keypoints lie close to the left edges of the boxes as to the right ones; without it there are three times as
many.
"""

import codecs
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corrcore.datasets import voc_xml
from corrcore.datasets.folder import MAX_BYTES, MAX_PIXELS, SUFFIXES, FolderPhoto, printable_name
from corrcore.datasets.records import BoxXYXY, DatasetNotFoundError, Instance, KeypointDataset
from corrcore.datasets.registry import ReaderSpec
from corrcore.datasets.voc_xml import FaultError, XmlObject
from corrcore.decoding import ImageError, read_size
from corrcore.settings import prepared_path

# Head to tail, front to back, the animal's left first. Names of other categories follow in the order of the alphabet.
_KEYPOINT_ORDER = (
    *("L_Eye", "R_Eye", "Nose", "L_EarBase", "R_EarBase", "Throat", "Withers", "TailBase"),
    *("L_F_Elbow", "R_F_Elbow", "L_B_Elbow", "R_B_Elbow", "L_F_Paw", "R_F_Paw", "L_B_Paw", "R_B_Paw"),
)

_SPLITS = ("train", "val")
_IMAGE = re.compile(r"\w[\w.-]*", re.ASCII)
_MAX_LIST_BYTES = 16 * 10**6
_ENCODINGS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def recognises(folder: Path) -> bool:
    """Whether a folder is laid out so; what it lacks is said when it is loaded."""
    return (folder / "keypoints").is_dir() and any((folder / name).is_dir() for name in ("JPEGImages", "ImageSets"))


def load(
    root: str | os.PathLike,
    categories: Iterable[str] | None = None,
    *,
    max_pixels: int | None = MAX_PIXELS,
    max_bytes: int | None = MAX_BYTES,
) -> KeypointDataset:
    """The annotated objects below `root`, of all categories or of those named, in that order.

    An annotation that cannot be used is left out, not fatal: `left_out` says why, by ``<category>/<file>``, for a
    category or a list by its name. A keypoint outside its photo is left out alone, by ``<category>/<file> <keypoint>``,
    and NaN like a hidden one, so that visible keypoints lie inside their photos. They need not lie in their boxes, and
    some that were clicked on a neighbour do not. Boxes are cut at the photo's edges. An object without any visible
    keypoint stays, for it still looks like its category. A split without objects is not there.

    Photos are upright, as everywhere: where EXIF says that one is stored turned, and an annotation fits it only as it
    is stored, all annotations of that photo are left out.

    `digest` depends on what comes out here, not on pixels. Photos are decoded when they are loaded, up to `max_pixels`
    and `max_bytes`; now only the sizes in their headers are read.

    Raises DatasetNotFoundError where there is no such folder or category, or nothing in it can be used.
    """
    tree = _Tree(prepared_path(root), max_pixels, max_bytes)
    there = tree.categories()
    asked = list(there if categories is None else dict.fromkeys(categories))
    known = printable_name(", ".join(there))
    if unknown := [category for category in asked if category not in there]:
        msg = (
            f"{printable_name(tree.keypoints)} holds no folder for {', '.join(map(repr, unknown))}; there are {known}."
        )
        raise DatasetNotFoundError(msg)
    if not asked:
        msg = f"categories must name at least one; there are {known}."
        raise ValueError(msg)
    tree.read_lists()
    names, splits = _assembled({category: _annotations(tree, category) for category in asked}, tree)
    left_out = tree.left_out
    if not names:
        key, reason = next(iter(left_out.items()))
        more = f" ({len(left_out)} were left out; {key} is the first)" if len(left_out) > 1 else ""
        where = printable_name(tree.root)
        msg = f"no object of {printable_name(', '.join(asked))} below {where} can be used: {reason}{more}"
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


READER = ReaderSpec(
    name="voc",
    title="PASCAL VOC with Berkeley keypoints",
    layout="JPEGImages, ImageSets/Main/train.txt and val.txt, keypoints/<category>",
    recognises=recognises,
    load=load,
)


@dataclass(frozen=True)
class _Annotation:
    name: str
    category: str
    split: str
    photo: FolderPhoto
    box: BoxXYXY
    points: Mapping[str, tuple[float, float] | None]
    dropped: Mapping[str, str]

    @property
    def key(self) -> str:
        return f"{self.category}/{self.name}"

    def instance(self, names: Sequence[str]) -> Instance:
        points = [self.points.get(name) or (math.nan, math.nan) for name in names]
        return Instance(self.name, self.category, self.photo, self.box, np.array(points, float).reshape(-1, 2))


class _Tree:
    """The folder, and what was already read in it. No file is read through a link that leads out of it."""

    def __init__(self, root: Path, max_pixels: int | None, max_bytes: int | None) -> None:
        where = printable_name(root)
        if not root.is_dir():
            msg = f"{where} is no folder; give the one that holds JPEGImages, ImageSets and keypoints (VOC2011)."
            raise DatasetNotFoundError(msg)
        self.root, self.real = root, os.path.realpath(root)
        self.limits = (max_pixels, max_bytes)
        self.photos, self.keypoints = root / "JPEGImages", root / "keypoints"
        self.lists = {split: root / "ImageSets" / "Main" / f"{split}.txt" for split in _SPLITS}
        folders = [folder for folder in (self.photos, self.keypoints) if not folder.is_dir()]
        missing = folders + [path for path in self.lists.values() if not path.is_file()]
        if missing:
            names = ", ".join(path.relative_to(root).as_posix() for path in missing)
            msg = (
                f"{where} is not laid out as PASCAL VOC with Berkeley keypoints: {names} missing; "
                "give the folder that holds them (VOC2011)."
            )
            raise DatasetNotFoundError(msg)
        outside = [path for path in (self.photos, self.keypoints, *self.lists.values()) if not self._is_inside(path)]
        if outside:
            msg = f"{printable_name(outside[0])} is a link that leads out of {where}; put the files there instead."
            raise DatasetNotFoundError(msg)
        self.left_out: dict[str, str] = {}
        self.stored_frames: dict[str, str] = {}  # by photo, the first annotation that fits it only as it is stored
        self._photo_files: dict[str, list[str]] = {}  # by image, names with any suffix
        self._splits: dict[str, set[str]] = {}  # of an image: one, unless the lists are wrong
        self._sizes: dict[str, tuple[int, int] | str] = {}  # of a photo, or why there is none
        self._taken: dict[str, Path] = {}  # objects

    def leave_out(self, key: str, reason: object) -> None:
        self.left_out[printable_name(key)] = str(reason)

    def _is_inside(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(self.real)

    def _check_link(self, path: Path) -> None:
        if path.is_symlink() and not self._is_inside(path):
            root = printable_name(self.root)
            msg = f"{printable_name(path)} is a link that leads out of {root}; put the file there instead."
            raise FaultError(msg)

    def categories(self) -> list[str]:
        there = [name for name in _names_in(self.keypoints) if (self.keypoints / name).is_dir()]
        if not there:
            where = printable_name(self.keypoints)
            msg = f"{where} is empty; put one folder per category with one XML file per object there."
            raise DatasetNotFoundError(msg)
        return there

    def read_lists(self) -> None:
        """Reads the photos' names and the lists of them; lines that name no photo are reported."""
        for name in _names_in(self.photos):
            self._photo_files.setdefault(Path(name).stem, []).append(name)
        for split, path in self.lists.items():
            where = printable_name(path)
            if path.stat().st_size > _MAX_LIST_BYTES:
                limit = f"{_MAX_LIST_BYTES // 10**6} MB"
                msg = f"{where} is larger than {limit}, so it is no list of images; give one name per line."
                raise DatasetNotFoundError(msg)
            data = path.read_bytes()
            encoding = next((name for mark, name in _ENCODINGS.items() if data.startswith(mark)), "utf-8")
            lines = (line.split() for line in data.decode(encoding, errors="replace").splitlines())
            listed = dict.fromkeys(words[0] for words in lines if words)  # a list of one category has a second word
            for image in listed:
                self._splits.setdefault(image, set()).add(split)
            if unknown := [image for image in listed if image not in self._photo_files]:
                reason = (
                    f"{where}: {len(unknown):,} of {len(listed):,} images have no photo in JPEGImages, "
                    f"the first is '{printable_name(unknown[0][:60])}'; "
                    "a line is a photo's name without folder and suffix."
                )
                self.leave_out(path.relative_to(self.root).as_posix(), reason)

    def annotation_files(self, category: str) -> list[Path]:
        folder = self.keypoints / category
        self._check_link(folder)
        try:
            files = [folder / name for name in _names_in(folder) if name.lower().endswith(".xml")]
        except DatasetNotFoundError as error:
            raise FaultError(str(error)) from None
        if not files:
            msg = f"{printable_name(folder)} holds no annotation; put one XML file per object there, or remove it."
            raise FaultError(msg)
        return files

    def annotation(self, path: Path, category: str) -> _Annotation:
        self._check_link(path)
        where, found = printable_name(path), voc_xml.read(path)
        if found.category != category:
            own = found.category[:40]
            msg = f"{where} says category {own!r} and lies in the folder of {category!r}; move it or correct it."
            raise FaultError(msg)
        if not _IMAGE.fullmatch(found.image):
            msg = (
                f"{where} names the image {found.image[:40]!r}; a name is letters, digits, '_', '-' and '.', "
                "with no folder and no suffix."
            )
            raise FaultError(msg)
        if path.stem != f"{found.image}_{found.number}":
            msg = (
                f"{where} annotates object {printable_name(found.number[:40])} of image {found.image[:40]}; "
                "an annotation is named <image>_<object>.xml, so rename or correct it."
            )
            raise FaultError(msg)
        if path.stem in self._taken:
            msg = f"{where} is the same object as {printable_name(self._taken[path.stem])}; remove one of them."
            raise FaultError(msg)
        photo = self._photo(found.image)
        split, size = self._split(found.image, where), self._size(photo)
        self._check_frame(found, photo, where)
        inside, dropped = found.cut_to(size, where)
        self._taken[path.stem] = path
        return _Annotation(path.stem, category, split, photo, inside.box, inside.points, dropped)

    def _split(self, image: str, where: str) -> str:
        splits = self._splits.get(image, set())
        if len(splits) == 1:
            return next(iter(splits))
        both = "both train.txt and val.txt, and would be tested on what was learnt"
        lists = both if splits else "neither train.txt nor val.txt"
        msg = f"{where}: image {image} is in {lists}; list it in one of them."
        raise FaultError(msg)

    def _photo(self, image: str) -> FolderPhoto:
        """The image's file: the JPEG by VOC's name, or the only one with another suffix of photos."""
        names = self._photo_files.get(image, [])
        readable = [name for name in names if Path(name).suffix.lower() in SUFFIXES]
        where = printable_name(self.photos / f"{image}.jpg")
        if f"{image}.jpg" in names or not names:
            readable = [f"{image}.jpg"]
        if not readable:
            other = printable_name(names[0])
            msg = f"{where} is missing, and {other} is in no format that is read here; save it as JPEG."
            raise FaultError(msg)
        if len(readable) > 1:
            msg = f"{where} is missing, and {' and '.join(readable)} both could be meant; keep one of them."
            raise FaultError(msg)
        return FolderPhoto(readable[0], self.photos / readable[0], *self.limits)

    def _size(self, photo: FolderPhoto) -> tuple[int, int]:
        """Width and height of the upright photo, from its header: read once for all its objects."""
        if photo.name not in self._sizes:
            self._sizes[photo.name] = self._read_size(photo)
        size = self._sizes[photo.name]
        if isinstance(size, str):
            raise FaultError(size)
        return size

    def _read_size(self, photo: FolderPhoto) -> tuple[int, int] | str:
        where = printable_name(photo.path)
        try:
            self._check_link(photo.path)
            if not photo.path.is_file():
                return f"{where} is missing; put the photo there or remove its annotations."
            return read_size(photo.path, max_pixels=photo.max_pixels, max_bytes=photo.max_bytes)
        except FaultError as fault:
            return str(fault)
        except ImageError as error:
            return f"{where} gives no photo: {error}"

    def _check_frame(self, found: XmlObject, photo: FolderPhoto, where: str) -> None:
        """Raises FaultError for an object that fits its photo as it is stored, and not as it is shown."""
        size = self._size(photo)
        if found.fits(size):
            return
        stored = read_size(photo.path, upright=False, max_pixels=photo.max_pixels, max_bytes=photo.max_bytes)
        if stored != size and found.fits(stored):
            self.stored_frames.setdefault(photo.name, where)
            msg = (
                f"{where} fits {photo.name} only as it is stored ({stored[0]} x {stored[1]} px), not as it is shown: "
                f"EXIF turns it to {size[0]} x {size[1]} px; turn the annotation, or save the photo upright."
            )
            raise FaultError(msg)


def _names_in(folder: Path) -> list[str]:
    """Names of what is in a folder and not hidden, in order. Raises DatasetNotFoundError where it cannot be read."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        msg = f"{printable_name(folder)} cannot be read ({error.strerror or error}); allow it or remove it."
        raise DatasetNotFoundError(msg) from None


def _annotations(tree: _Tree, category: str) -> list[_Annotation]:
    """What can be used of a category; `tree.left_out` is told of the rest."""
    found = []
    try:
        files = tree.annotation_files(category)
    except FaultError as fault:
        tree.leave_out(category, fault)
        return []
    for path in files:
        try:
            found.append(tree.annotation(path, category))
        except FaultError as fault:
            tree.leave_out(f"{category}/{path.stem}", fault)
    return found


def _assembled(
    found: Mapping[str, Sequence[_Annotation]], tree: _Tree
) -> tuple[dict[str, Sequence[str]], dict[tuple[str, str], list[Instance]]]:
    """Names of keypoints by category, and instances by category and split; a category without objects is not there."""
    names: dict[str, Sequence[str]] = {}
    splits: dict[tuple[str, str], list[Instance]] = {}
    for category, annotations in found.items():
        used = []
        for annotation in annotations:
            if (turned := tree.stored_frames.get(annotation.photo.name)) is not None:
                reason = (
                    f"{annotation.key} lies in {annotation.photo.name}, which {turned} annotates as it is stored, "
                    "not as it is shown; correct all its annotations."
                )
                tree.leave_out(annotation.key, reason)
                continue
            used.append(annotation)
            for name, reason in annotation.dropped.items():
                tree.leave_out(f"{annotation.key} {name}", reason)
        if used:
            names[category] = _in_order({name for annotation in used for name in annotation.points})
        for split in _SPLITS:
            if of_split := [annotation.instance(names[category]) for annotation in used if annotation.split == split]:
                splits[category, split] = of_split
    return names, splits


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
