"""Pairs of photos for `corrcore match`: two photos, or the subfolders of a folder; and what is found of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corrcore.cli.limits import Limits
from corrcore.concurrency import Progress
from corrcore.datasets import points as point_files
from corrcore.datasets.folder import FolderPhoto, printable_name, reason_by_name
from corrcore.datasets.points import NamedPoints
from corrcore.datasets.records import Instance
from corrcore.decoding import SUFFIXES, read_size
from corrcore.experiments.context import open_results
from corrcore.experiments.pairs import DescribedOnce
from corrcore.features import Extractor, Feature
from corrcore.store import Cache
from corrcore.tasks import confidence
from corrcore.tasks.matching import MatchOptions, PointMatches
from corrcore.tasks.points_transfer import LeaveOut, reason_of

PointsOf = Callable[[str], NamedPoints]
"""The points of a photo by its name."""

OWN_POINTS = tuple(f"points{suffix}" for suffix in point_files.SUFFIXES)


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
    """A pair, and where each feature finds its points. `label` names its picture."""

    pair: PhotoPair
    matches: Mapping[Feature, PointMatches]
    label: str


@dataclass(frozen=True, eq=False)
class PairsRequest:
    """Pairs to match, of points that lie inside their sources."""

    pairs: Sequence[PhotoPair]

    def __len__(self) -> int:
        return len(self.pairs)

    def matched(
        self,
        features: Sequence[Feature],
        network: Extractor,
        options: MatchOptions,
        *,
        leave_out: LeaveOut,
        progress: Progress,
    ) -> Iterator[MatchedPair]:
        """Where each feature finds the points, a pair after another; copies of a photo are described once.

        A pair that cannot be matched is told to `leave_out`; where it is the only one, its error is raised.
        """
        with results_for(options) as results:
            described = DescribedOnce(features, network, options, results=results)
            for number, pair in enumerate(self.pairs):

                def tell(share: float, text: str, number: int = number) -> None:
                    progress((number + share) / len(self), text)

                try:
                    sides = []
                    for share, photo, size in zip((0.0, 0.4), (pair.source, pair.target), pair.sizes, strict=True):
                        tell(share, f"describing {photo.name}")
                        sides.append(described(_whole(photo, size)))
                    tell(0.8, f"matching {pair.name}")
                    source, target = sides
                    at = pair.points.places
                    found = confidence.judged_matches(source, target, at, network=network, options=options)
                except (ValueError, OSError) as error:
                    if len(self) == 1:
                        raise
                    leave_out(pair.name, reason_of(error))
                    continue
                tell(1.0, pair.name)
                yield MatchedPair(pair, found, pair.source.path.parent.name)


def results_for(options: MatchOptions) -> AbstractContextManager[Cache | None]:
    """Where what options take out of descriptors is kept for another command; None where they take out nothing."""
    return open_results() if options.without_position else nullcontext()


def _whole(photo: FolderPhoto, size: tuple[int, int]) -> Instance:
    """A whole photo as an object, under the name of its content."""
    box = (-0.5, -0.5, size[0] - 0.5, size[1] - 0.5)
    return Instance(photo.stamp, "", photo, box, np.empty((0, 2)))


def two_photos(source: Path, target: Path, points_of: PointsOf, limits: Limits) -> PairsRequest:
    """A pair of two photos. Raises ValueError where photos or points cannot be read, and for points outside."""
    first, second = (FolderPhoto(printable_name(path.name), path, **limits) for path in (source, target))
    return PairsRequest([_pair(f"{first.name} to {second.name}", first, second, points_of)])


def source_points(photo: FolderPhoto, points_of: PointsOf) -> tuple[tuple[int, int], NamedPoints]:
    """A photo's size, as its header says, and its points. Raises ValueError as these do, and for points outside."""
    size = _size(photo)
    points = points_of(photo.name)
    points.check_inside(size, photo.name)
    return size, points


def _size(photo: FolderPhoto) -> tuple[int, int]:
    return read_size(photo.path, name=photo.name, max_pixels=photo.max_pixels, max_bytes=photo.max_bytes)


def _pair(name: str, source: FolderPhoto, target: FolderPhoto, points_of: PointsOf) -> PhotoPair:
    second = _size(target)
    first, points = source_points(source, points_of)
    return PhotoPair(name, source, target, (first, second), points)


def pairs_in(root: Path, usual: PointsOf | None, limits: Limits, leave_out: LeaveOut) -> PairsRequest:
    """Every subfolder that is a pair, by name; what is none is told to `leave_out`.

    `usual` points are for pairs without their own. Raises ValueError where there is no pair.
    """
    found = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if reason_by_name(folder.name):
            continue
        name = printable_name(folder.name)
        try:
            found.append(_pair_in(folder, name, usual, limits))
        except (ValueError, OSError) as error:
            leave_out(name, reason_of(error))
    if not found:
        msg = f"no subfolder of {printable_name(root)} is a pair; each must hold exactly two photos that can be read."
        raise ValueError(msg)
    return PairsRequest(found)


def _pair_in(folder: Path, name: str, usual: PointsOf | None, limits: Limits) -> PhotoPair:
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
    source, target = (FolderPhoto(f"{name}/{printable_name(path.name)}", path, **limits) for path in photos)
    return _pair(name, source, target, points_of)
