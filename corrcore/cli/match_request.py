"""What `corrcore match` is asked for: which photos, and which points of them."""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from corrcore.cli.limits import Limits
from corrcore.cli.match_folder import photo_to_folder
from corrcore.cli.match_pairs import MatchedPair, PointsOf, pairs_in, two_photos
from corrcore.concurrency import Progress
from corrcore.datasets import points as point_files
from corrcore.datasets.folder import printable_name
from corrcore.datasets.points import NamedPoints
from corrcore.features import Extractor, Feature
from corrcore.settings import prepared_path
from corrcore.tasks.matching import MatchOptions
from corrcore.tasks.points_transfer import LeaveOut

Given = tuple[float, float] | Path
"""A point (x, y) in pixels of the source, or a file of points."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_PLACE = re.compile(rf"\s*({_NUMBER})\s*,\s*({_NUMBER})\s*", re.ASCII)


class MatchRequest(Protocol):
    """Pairs that are to be matched; `len` is how many."""

    def __len__(self) -> int: ...

    def matched(
        self,
        features: Sequence[Feature],
        network: Extractor,
        options: MatchOptions,
        *,
        leave_out: LeaveOut,
        progress: Progress,
    ) -> Iterator[MatchedPair]:
        """Where each feature finds the points, a pair after another; what cannot be matched is told to `leave_out`."""
        ...


def point_or_file(text: str) -> Given:
    """``X,Y`` as a point, anything else as the path of a file."""
    if place := _PLACE.fullmatch(text):
        return float(place[1]), float(place[2])
    path = prepared_path(text)
    if path.suffix.lower() not in point_files.SUFFIXES:
        msg = f"must be X,Y in pixels, or a file that ends in {' or '.join(point_files.SUFFIXES)}; got {text}"
        raise argparse.ArgumentTypeError(msg)
    return path


def is_photo_to_folder(photos: Sequence[Path]) -> bool:
    """Whether points of one photo are looked for in all of a folder."""
    return len(photos) == 2 and photos[1].is_dir() and not photos[0].is_dir()


def request_of(photos: Sequence[Path], given: Sequence[Given], limits: Limits, leave_out: LeaveOut) -> MatchRequest:
    """What a command asks for, with points that lie inside their sources.

    `photos` are a source and a target, a source and a folder of targets, or one folder whose subfolders are pairs; what
    is left out is told to `leave_out`. Raises ValueError where photos or points cannot be read, or there are none.
    """
    if len(photos) == 1 and photos[0].is_dir():
        return pairs_in(photos[0], _points_given(given, only_named=True), limits, leave_out)
    if len(photos) != 2 or photos[0].is_dir():
        listed = " ".join(printable_name(path.name) for path in photos)
        msg = (
            "match takes two photos, a photo and a folder of photos, or one folder whose subfolders hold two photos "
            f"each; got {listed}."
        )
        raise ValueError(msg)
    points = _points_given(given)
    if points is None:
        msg = "--points is missing: give X,Y in pixels of the source, or a file of points (.json or .csv)."
        raise ValueError(msg)
    if is_photo_to_folder(photos):
        return photo_to_folder(photos[0], photos[1], points, limits, leave_out)
    return two_photos(photos[0], photos[1], points, limits)


def _points_given(given: Sequence[Given], *, only_named: bool = False) -> PointsOf | None:
    """The points of a photo by its name, as ``--points`` gives them: places are called by their numbers."""
    if not given:
        return None
    places = [each for each in given if not isinstance(each, Path)]
    typed = NamedPoints(tuple(str(n) for n in range(1, len(places) + 1)), np.array(places, float).reshape(-1, 2))
    files = [point_files.open_points(each, only_named=only_named) for each in given if isinstance(each, Path)]
    return lambda photo: point_files.joined([typed, *(points_of(photo) for points_of in files)])
