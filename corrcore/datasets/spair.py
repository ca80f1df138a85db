"""SPair-71k (Min, Lee, Ponce and Cho 2019): pairs of photos between which keypoints are matched.

The folder holds ``ImageAnnotation/<category>/<image>.json``, one object each, and ``Layout/large/trn.txt``, ``val.txt``
and ``test.txt`` with a pair a line, ``<number>-<source>-<target>:<category>``; numbers may have gaps. Keypoints of a
pair are those that both annotations have, so ``PairAnnotation`` is not read. Photos lie in ``JPEGImages/<category>`` of
the folder, or in ``JPEGImages`` of a folder of PASCAL VOC beside it, from which all of them were taken.

Boxes are PASCAL VOC's: they count pixels from 1, and name the first and the last one. Keypoints count from 0: on 289
eyes that VOC's annotators marked as well, these lie 0.0 and 0.2 px (x and y) from VOC's on average, counted so.
"""

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corrcore.datasets.folder import MAX_BYTES, MAX_PIXELS, FolderPhoto, printable_name
from corrcore.datasets.records import BoxXYXY, DatasetNotFoundError, Instance, InstancePair, KeypointDataset
from corrcore.datasets.registry import ReaderSpec
from corrcore.datasets.voc_xml import FaultError
from corrcore.decoding import ImageError, read_size
from corrcore.settings import prepared_path

SPLITS: Mapping[str, str] = {"trn": "train", "val": "val", "test": "test"}
"""Our names of SPair's splits."""

_LINE = re.compile(r"(\d{1,18})-(\w[\w.]{0,99})-(\w[\w.]{0,99}):(\w[\w-]{0,99})", re.ASCII)  # names may be shown
_IMAGE = re.compile(r"\w[\w.]*", re.ASCII)
_KEYPOINT = re.compile(r"\d{1,3}", re.ASCII)
_MAX_LIST_BYTES = 16 * 10**6
_MAX_ANNOTATION_BYTES = 10**6


def recognises(folder: Path) -> bool:
    """Whether a folder is laid out so; what it lacks is said when it is loaded."""
    return (folder / "ImageAnnotation").is_dir() and (folder / "Layout").is_dir()


def load(
    root: str | os.PathLike, *, max_pixels: int | None = MAX_PIXELS, max_bytes: int | None = MAX_BYTES
) -> KeypointDataset:
    """The annotated objects below `root`, and the listed pairs of each category and split in the lists' order.

    Keypoints are called by their numbers. What cannot be used is left out, not fatal: `left_out` says why, of an object
    by ``<category>/<image>``, of a keypoint outside its photo by ``<category>/<image> <keypoint>``, of lines by their
    list. A pair stays where both its objects can be used and show a common keypoint.

    `digest` depends on what comes out here, not on pixels. Photos are decoded when they are loaded, up to `max_pixels`
    and `max_bytes`; now only the sizes in their headers are read.

    Raises DatasetNotFoundError where there is no such folder, no photo, or nothing in it can be used.
    """
    tree = _Tree(prepared_path(root), max_pixels, max_bytes)
    lines = tree.lines()
    found = _objects(tree, lines)
    if not found:
        key, reason = next(iter(tree.left_out.items()), ("", "there is no annotation in ImageAnnotation/<category>."))
        more = f" ({len(tree.left_out)} were left out; {key} is the first)" if len(tree.left_out) > 1 else ""
        msg = f"no object below {printable_name(tree.root)} can be used: {reason}{more}"
        raise DatasetNotFoundError(msg)
    names = {
        category: tuple(sorted({name for one in own.values() for name in one.points}, key=int))
        for category, own in found.items()
    }
    objects = {
        category: {image: one.instance(names[category]) for image, one in own.items()}
        for category, own in found.items()
    }
    splits: dict[tuple[str, str], list[Instance]] = {}
    for category, own in found.items():
        for split in SPLITS.values():
            if some := [objects[category][image] for image, one in own.items() if one.split == split]:
                splits[category, split] = some
    pairs = _pairs(tree, lines, objects)
    return KeypointDataset(
        name="spair71k",
        title="SPair-71k",
        digest=_digest(names, splits, pairs, tree.left_out),
        synthetic=False,
        keypoint_names=names,
        splits=splits,
        left_out=tree.left_out,
        listed_pairs=pairs,
    )


READER = ReaderSpec(
    name="spair",
    title="SPair-71k",
    layout="ImageAnnotation/<category>, Layout/large/trn.txt, val.txt and test.txt",
    recognises=recognises,
    load=load,
)


@dataclass(frozen=True)
class _Line:
    """A line of a list: a pair of images of a category."""

    number: str
    source: str
    target: str
    category: str


@dataclass(frozen=True)
class _Object:
    """One annotation. `points` count from 0; hidden ones are not there."""

    image: str
    category: str
    split: str
    photo: FolderPhoto
    box: BoxXYXY
    points: Mapping[str, tuple[float, float]]

    def instance(self, names: Sequence[str]) -> Instance:
        points = [self.points.get(name, (math.nan, math.nan)) for name in names]
        name = f"{self.image}:{self.category}"
        return Instance(name, self.category, self.photo, self.box, np.array(points, float).reshape(-1, 2))


class _Tree:
    """The folder, and the folders its photos are looked for in. No file is read through a link that leads out."""

    def __init__(self, root: Path, max_pixels: int | None, max_bytes: int | None) -> None:
        where = printable_name(root)
        if not root.is_dir():
            msg = f"{where} is no folder; give the one that holds ImageAnnotation and Layout (SPair-71k)."
            raise DatasetNotFoundError(msg)
        self.root, self.limits = root, (max_pixels, max_bytes)
        self.annotations = root / "ImageAnnotation"
        self.lists = {split: root / "Layout" / "large" / f"{split}.txt" for split in SPLITS}
        missing = [self.annotations] * (not self.annotations.is_dir())
        missing += [path for path in self.lists.values() if not path.is_file()]
        if missing:
            names = ", ".join(path.relative_to(root).as_posix() for path in missing)
            msg = f"{where} is not laid out as SPair-71k: {names} missing; unpack the whole of SPair-71k there."
            raise DatasetNotFoundError(msg)
        self.own_photos = root / "JPEGImages"
        self.voc_photos = [path for path in sorted(root.parent.glob("VOC*/JPEGImages")) if path.is_dir()]
        if not self.own_photos.is_dir() and not self.voc_photos:
            msg = (
                f"{where} has annotations and no photos: neither JPEGImages/<category> in it nor VOC*/JPEGImages "
                "beside it is there; unpack the whole of SPair-71k, or put VOC2011 or VOC2012 beside it."
            )
            raise DatasetNotFoundError(msg)
        self.left_out: dict[str, str] = {}

    def leave_out(self, key: str, reason: object) -> None:
        self.left_out[printable_name(key)] = str(reason)

    def lines(self) -> dict[str, list[_Line]]:
        """Pairs by our names of splits, in order; lines that name none are reported."""
        found: dict[str, list[_Line]] = {}
        for split, path in self.lists.items():
            where = printable_name(path)
            data = _read(path, self.root, _MAX_LIST_BYTES, "list of pairs, one per line", DatasetNotFoundError)
            texts = data.decode("utf-8-sig", errors="replace").split()
            matches = [_LINE.fullmatch(text) for text in texts]
            found[SPLITS[split]] = [_Line(*match.groups()) for match in matches if match]
            if wrong := [text for text, match in zip(texts, matches, strict=True) if not match]:
                reason = (
                    f"{where}: {len(wrong):,} of {len(texts):,} lines are no pairs, the first is "
                    f"'{printable_name(wrong[0][:60])}'; a line is <number>-<source>-<target>:<category>."
                )
                self.leave_out(path.relative_to(self.root).as_posix(), reason)
        return found

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every annotation with its category, in order."""
        for folder in _paths_in(self.annotations):
            if not folder.is_dir():
                continue
            files = [path for path in _paths_in(folder) if path.suffix == ".json"]
            if not files:
                reason = f"{printable_name(folder)} holds no annotation; put one JSON file per photo there."
                self.leave_out(folder.name, reason)
            yield from ((folder.name, path) for path in files)

    def photo(self, image: str, category: str) -> FolderPhoto:
        """The photo of an image. Raises FaultError where it is in none of the folders."""
        own = self.own_photos / category / f"{image}.jpg"
        places = [(own, self.root), *((folder / f"{image}.jpg", folder) for folder in self.voc_photos)]
        for path, inside in places:
            if path.is_file():
                _check_link(path, inside)
                return FolderPhoto(f"{image}.jpg", path, *self.limits)
        folders = [own.parent] * self.own_photos.is_dir() + self.voc_photos
        listed = " or ".join(printable_name(folder) for folder in folders)
        msg = f"{image}.jpg is missing; put it into {listed}, or remove its annotation."
        raise FaultError(msg)


def _paths_in(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, by name. Raises DatasetNotFoundError where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        msg = f"{printable_name(folder)} cannot be read ({error.strerror or error}); allow it or remove it."
        raise DatasetNotFoundError(msg) from None


def _check_link(path: Path, inside: Path) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(inside)):
        msg = (
            f"{printable_name(path)} is a link that leads out of {printable_name(inside)}; put the file there instead."
        )
        raise FaultError(msg)


def _read(path: Path, inside: Path, most: int, what: str, error: type[Exception]) -> bytes:
    """A file's bytes. Raises `error` for a link that leads out, one that cannot be read, and one over `most` bytes."""
    where = printable_name(path)
    try:
        _check_link(path, inside)
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FaultError as fault:
        raise error(str(fault)) from None
    except OSError as fault:
        msg = f"{where} cannot be read ({fault.strerror or fault}); allow it or remove it."
        raise error(msg) from None
    if len(data) > most:
        msg = f"{where} is larger than {most // 10**6} MB, so it is no {what}; put the original file there."
        raise error(msg)
    return data


def _objects(tree: _Tree, lines: Mapping[str, Sequence[_Line]]) -> dict[str, dict[str, _Object]]:
    """The annotations that can be used, by category and image; `tree.left_out` is told of the rest."""
    splits: dict[tuple[str, str], set[str]] = {}
    for split, some in lines.items():
        for line in some:
            for image in (line.source, line.target):
                splits.setdefault((line.category, image), set()).add(split)
    found: dict[str, dict[str, _Object]] = {}
    for category, path in tree.files():
        image = path.stem
        try:
            one = _object(tree, category, path, splits.get((category, image), set()))
        except FaultError as fault:
            tree.leave_out(f"{category}/{image}", fault)
        except OSError as error:
            reason = f"{printable_name(path)} or its photo cannot be read ({error.strerror or error}); allow it."
            tree.leave_out(f"{category}/{image}", reason)
        else:
            found.setdefault(category, {})[image] = one
    return found


def _object(tree: _Tree, category: str, path: Path, splits: set[str]) -> _Object:
    where, image = printable_name(path), path.stem
    if not _IMAGE.fullmatch(image):
        msg = f"{where} is named after no image; a name is letters, digits, '_' and '.', so rename or remove it."
        raise FaultError(msg)
    if len(splits) != 1:
        lists = f"{' and '.join(sorted(splits))}, and would be tested on what was learnt" if splits else "no list"
        msg = f"{where}: pairs with it are in {lists}; list its pairs in one of Layout/large."
        raise FaultError(msg)
    plain = _plain(path, tree.root)
    if (told := plain.get("category")) != category:
        msg = f"{where} says category {_short(told)} and lies in the folder of {category!r}; move it or correct it."
        raise FaultError(msg)
    photo = tree.photo(image, category)
    try:
        size = read_size(photo.path, max_pixels=photo.max_pixels, max_bytes=photo.max_bytes)
    except ImageError as error:
        msg = f"{printable_name(photo.path)} gives no photo: {error}"
        raise FaultError(msg) from None
    if (annotated := (plain.get("image_width"), plain.get("image_height"))) != size:
        msg = (
            f"{where} is of a photo of {_short(annotated[0])} x {_short(annotated[1])} px, and "
            f"{printable_name(photo.path)} has {size[0]} x {size[1]} px; put the original photo there."
        )
        raise FaultError(msg)
    box, points = _box(plain, size, where), _points(plain, where)
    for name, point in list(points.items()):
        if not all(-0.5 <= value <= side - 0.5 for value, side in zip(point, size, strict=True)):
            reason = (
                f"{where}: keypoint {name} at ({point[0]:g}, {point[1]:g}) is outside its photo of {size[0]} x "
                f"{size[1]} px; it counts as hidden until it is corrected."
            )
            tree.leave_out(f"{category}/{image} {name}", reason)
            del points[name]
    return _Object(image, category, next(iter(splits)), photo, box, points)


def _plain(path: Path, root: Path) -> Mapping[str, Any]:
    where = printable_name(path)
    data = _read(path, root, _MAX_ANNOTATION_BYTES, "annotation, which has about 1 kB", FaultError)
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        msg = f"{where} is no usable JSON ({_short(error)}); correct it or remove it."
        raise FaultError(msg) from None
    if not isinstance(plain, dict):
        msg = f"{where} holds no JSON object; an annotation has category, bndbox and kps, so remove it."
        raise FaultError(msg)
    return plain


def _numbers(value: object, n: int) -> tuple[float, ...] | None:
    """So many finite numbers; None for anything else."""
    if not isinstance(value, list) or len(value) != n:
        return None
    whole = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in value)
    return tuple(map(float, value)) if whole and all(abs(each) < 1e9 for each in value) else None


def _box(plain: Mapping[str, Any], size: tuple[int, int], where: str) -> BoxXYXY:
    """The outer edges, counted from 0."""
    bounds = _numbers(plain.get("bndbox"), 4)
    if bounds is None:
        msg = f"{where}: bndbox must be xmin, ymin, xmax and ymax; got {_short(plain.get('bndbox'))}, so correct it."
        raise FaultError(msg)
    left, top, right, bottom = bounds
    if not (1 <= left < right <= size[0] and 1 <= top < bottom <= size[1]):
        msg = (
            f"{where}: bndbox must lie in its photo of {size[0]} x {size[1]} px and have an area; "
            f"got {_short(plain.get('bndbox'))}, so correct it."
        )
        raise FaultError(msg)
    return left - 1.5, top - 1.5, right - 0.5, bottom - 0.5


def _points(plain: Mapping[str, Any], where: str) -> dict[str, tuple[float, float]]:
    """The keypoints that are not null, by number."""
    kps = plain.get("kps")
    if not isinstance(kps, dict) or not all(_KEYPOINT.fullmatch(name) for name in kps):
        msg = f"{where}: kps must be keypoints by number; got {_short(kps)}, so correct it."
        raise FaultError(msg)
    found: dict[str, tuple[float, float]] = {}
    for name, value in kps.items():
        if value is None:
            continue
        point = _numbers(value, 2)
        if point is None:
            msg = f"{where}: keypoint {name} must be null or x and y; got {_short(value)}, so correct it."
            raise FaultError(msg)
        found[str(int(name))] = point[0], point[1]
    return found


def _short(value: object) -> str:
    """The beginning of what a file says, on one line."""
    return printable_name((str(value) if isinstance(value, Exception) else repr(value))[:60])


def _pairs(
    tree: _Tree, lines: Mapping[str, Sequence[_Line]], objects: Mapping[str, Mapping[str, Instance]]
) -> dict[tuple[str, str], list[InstancePair]]:
    """The pairs that can be measured; `tree.left_out` is told how many of a list cannot, by category."""
    found: dict[tuple[str, str], list[InstancePair]] = {}
    lists = dict(zip(SPLITS.values(), tree.lists.values(), strict=True))
    for split, some in lines.items():
        lost: dict[str, list[_Line]] = {}
        counts = Counter(line.category for line in some)
        for line in some:
            own = objects.get(line.category, {})
            if line.source != line.target and line.source in own and line.target in own:
                name = f"{line.number}-{line.source}-{line.target}"
                pair = InstancePair(name, own[line.source], own[line.target])
                if pair.shared.any():
                    found.setdefault((line.category, split), []).append(pair)
                    continue
            lost.setdefault(line.category, []).append(line)
        for category, out in lost.items():
            path = lists[split]
            reason = (
                f"{printable_name(path)}: {len(out):,} of {counts[category]:,} pairs of {category} cannot be measured, "
                f"the first is {out[0].number}; both photos must be usable and show a common keypoint."
            )
            tree.leave_out(f"{path.relative_to(tree.root).as_posix()} {category}", reason)
    return found


def _digest(
    names: Mapping[str, Sequence[str]],
    splits: Mapping[tuple[str, str], Sequence[Instance]],
    pairs: Mapping[tuple[str, str], Sequence[InstancePair]],
    left_out: Mapping[str, str],
) -> str:
    digest = hashlib.sha256(json.dumps([list(names.items()), sorted(left_out)]).encode())
    for key, instances in splits.items():
        for one in instances:
            digest.update(json.dumps([*key, one.name, one.photo.name, one.box]).encode())
            digest.update(np.ascontiguousarray(one.keypoints, "<f8").tobytes())
    for key, some in pairs.items():
        digest.update(json.dumps([*key, *(pair.name for pair in some)]).encode())
    return digest.hexdigest()
