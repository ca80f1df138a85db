"""What `corrcore match` is given: two photos or a folder of pairs, and points; and what is found of each pair."""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corrcore.concurrency import Progress
from corrcore.datasets import points as point_files
from corrcore.datasets.folder import FolderPhoto, printable_name, reason_by_name
from corrcore.datasets.points import NamedPoints
from corrcore.datasets.records import Instance
from corrcore.decoding import SUFFIXES, read_size
from corrcore.experiments.context import open_results
from corrcore.experiments.pairs import DescribedOnce
from corrcore.features import Extractor, Feature
from corrcore.settings import prepared_path
from corrcore.store import explain
from corrcore.tasks import matching
from corrcore.tasks.matching import MatchOptions, PointMatches

Given = tuple[float, float] | Path
"""A point (x, y) in pixels of the source, or a file of points."""

LeaveOut = Callable[[str, str], None]
"""Is told of what is left out: its name, and why."""

OWN_POINTS = tuple(f"points{suffix}" for suffix in point_files.SUFFIXES)

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_PLACE = re.compile(rf"\s*({_NUMBER})\s*,\s*({_NUMBER})\s*", re.ASCII)


@dataclass(frozen=True, eq=False)
class PhotoPair:
    """Two photos, their ``(width, height)`` in px, and points of the first that are looked for in the second."""

    name: str
    source: FolderPhoto
    target: FolderPhoto
    sizes: tuple[tuple[int, int], tuple[int, int]]
    points: NamedPoints


@dataclass(frozen=True, eq=False)
class MatchedPair:
    """A pair, and where each feature finds its points."""

    pair: PhotoPair
    matches: Mapping[Feature, PointMatches]


def point_or_file(text: str) -> Given:
    """``X,Y`` as a point, anything else as the path of a file."""
    if place := _PLACE.fullmatch(text):
        return float(place[1]), float(place[2])
    path = prepared_path(text)
    if path.suffix.lower() not in point_files.SUFFIXES:
        msg = f"must be X,Y in pixels, or a file that ends in {' or '.join(point_files.SUFFIXES)}; got {text}"
        raise argparse.ArgumentTypeError(msg)
    return path


def pairs_of(photos: Sequence[Path], given: Sequence[Given], leave_out: LeaveOut) -> list[PhotoPair]:
    """The pairs that a command asks for, with points that lie inside their sources.

    `photos` are a source and a target, or one folder whose subfolders are pairs; what is none is told to `leave_out`.
    Raises ValueError where photos or points cannot be read, and for a folder without any pair.
    """
    points = _points_given(given)
    if len(photos) == 1 and photos[0].is_dir():
        return list(_pairs_in(photos[0], points, leave_out))
    if len(photos) != 2 or any(path.is_dir() for path in photos):
        listed = " ".join(printable_name(path.name) for path in photos)
        msg = f"match takes two photos, or one folder whose subfolders hold two photos each; got {listed}."
        raise ValueError(msg)
    if points is None:
        msg = "--points is missing: give X,Y in pixels of the source, or a file of points (.json or .csv)."
        raise ValueError(msg)
    source, target = (FolderPhoto(printable_name(path.name), path) for path in photos)
    return [_pair(f"{source.name} to {target.name}", source, target, points)]


def _points_given(given: Sequence[Given]) -> Callable[[str], NamedPoints] | None:
    """The points of a photo by its name, as ``--points`` gives them: places are called by their numbers."""
    if not given:
        return None
    places = [each for each in given if not isinstance(each, Path)]
    typed = NamedPoints(tuple(str(n) for n in range(1, len(places) + 1)), np.array(places, float).reshape(-1, 2))
    files = [point_files.open_points(each) for each in given if isinstance(each, Path)]
    return lambda photo: point_files.joined([typed, *(points_of(photo) for points_of in files)])


def _pair(name: str, source: FolderPhoto, target: FolderPhoto, points_of: Callable[[str], NamedPoints]) -> PhotoPair:
    """Reads sizes in the photos' headers, and the points. Raises ValueError as these do, and for points outside."""
    first, second = (read_size(photo.path, name=photo.name) for photo in (source, target))
    points = points_of(source.name)
    points.check_inside(first, source.name)
    return PhotoPair(name, source, target, (first, second), points)


def _pairs_in(root: Path, usual: Callable[[str], NamedPoints] | None, leave_out: LeaveOut) -> Iterator[PhotoPair]:
    """Every subfolder that is a pair, by name."""
    n_found = 0
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if reason_by_name(folder.name):
            continue
        name = printable_name(folder.name)
        try:
            found = _pair_in(folder, name, usual)
        except (ValueError, OSError) as error:
            leave_out(name, _told(error))
            continue
        n_found += 1
        yield found
    if not n_found:
        msg = f"no subfolder of {printable_name(root)} is a pair; each must hold exactly two photos that can be read."
        raise ValueError(msg)


def _pair_in(folder: Path, name: str, usual: Callable[[str], NamedPoints] | None) -> PhotoPair:
    """A subfolder's pair. Raises ValueError where it is none."""
    photos = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and not reason_by_name(path.name)
    )
    if len(photos) != 2:
        msg = f"it must hold exactly two photos; it has {len(photos):,}."
        raise ValueError(msg)
    own = [folder / each for each in OWN_POINTS if (folder / each).exists()]
    if len(own) > 1:
        msg = f"it has {' and '.join(OWN_POINTS)}; keep one of them."
        raise ValueError(msg)
    points_of = point_files.open_points(own[0]) if own else usual
    if points_of is None:
        msg = f"it has no points; put {' or '.join(OWN_POINTS)} there, or give --points."
        raise ValueError(msg)
    source, target = (FolderPhoto(f"{name}/{printable_name(path.name)}", path) for path in photos)
    return _pair(name, source, target, points_of)


def match_pairs(
    pairs: Sequence[PhotoPair],
    features: Sequence[Feature],
    network: Extractor,
    options: MatchOptions,
    *,
    leave_out: LeaveOut,
    progress: Progress,
) -> Iterator[MatchedPair]:
    """Where each feature finds the points of each pair, a pair after another; copies of a photo are described once.

    A pair that cannot be matched is told to `leave_out`; where it is the only one, its error is raised.
    """
    results = open_results() if options.without_position else None
    described = DescribedOnce(features, network, options, results=results)
    for number, pair in enumerate(pairs):

        def tell(share: float, text: str, number: int = number) -> None:
            progress((number + share) / len(pairs), text)

        try:
            sides = []
            for share, photo, size in zip((0.0, 0.4), (pair.source, pair.target), pair.sizes, strict=True):
                tell(share, f"describing {photo.name}")
                sides.append(described(_whole(photo, size)))
            tell(0.8, f"matching {pair.name}")
            source, target = sides
            found = {
                feature: matching.match_points(source[feature], target[feature], pair.points.places, options=options)
                for feature in features
            }
        except (ValueError, OSError) as error:
            if len(pairs) == 1:
                raise
            leave_out(pair.name, _told(error))
            continue
        tell(1.0, pair.name)
        yield MatchedPair(pair, found)


def _whole(photo: FolderPhoto, size: tuple[int, int]) -> Instance:
    """A whole photo as an object, under the name of its content."""
    box = (-0.5, -0.5, size[0] - 0.5, size[1] - 0.5)
    return Instance(photo.stamp, "", photo, box, np.empty((0, 2)))


def _told(error: ValueError | OSError) -> str:
    return explain(error) if isinstance(error, OSError) and not isinstance(error, ValueError) else str(error)
