"""Points that one has set on one photo, transferred to many others: to name the same parts in a set of one's own.

Each target is looked at for itself, by `corrcore.tasks.matching`, which says what speaks for each place.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float

from corrcore.concurrency import Progress, part
from corrcore.datasets.records import Photo
from corrcore.features import Extractor, Feature, Image
from corrcore.store import Cache, explain
from corrcore.tasks import confidence, matching
from corrcore.tasks.matching import MatchOptions, PointMatches

LeaveOut = Callable[[str, str], None]
"""Is told of what is left out: its name, and why."""


Target = TypeVar("Target", bound=Photo)


@dataclass(frozen=True, eq=False)
class TransferredPoints(Generic[Target]):
    """Where each feature finds the points in a photo of ``(width, height)`` px."""

    photo: Target
    size: tuple[int, int]
    matches: Mapping[Feature, PointMatches]


def transfer_points(
    source: Image,
    points: Float[np.ndarray, "points 2"],
    targets: Sequence[Target],
    features: Sequence[Feature],
    *,
    network: Extractor,
    options: MatchOptions = MatchOptions(),  # noqa: B008 - frozen
    results: Cache | None = None,
    leave_out: LeaveOut | None = None,
    progress: Progress | None = None,
) -> Iterator[TransferredPoints[Target]]:
    """Finds points (x, y) of one photo in others, one target after another; the source is described once.

    Photos are whole, so `options` are of extent "photo"; what they take out of descriptors is kept in `results`, where
    that is given. A target that cannot be loaded or described is told to
    `leave_out` and passed over; without that its error is raised. Raises for the source what `matching.describe` does.
    """
    part(progress, 0, 1)(0, "describing the photo with the points")
    described = matching.describe(source, features, network=network, options=options, results=results)
    for number, photo in enumerate(targets):
        part(progress, number / len(targets), 1 / len(targets))(0, f"finding points in {photo.name}")
        try:
            pixels = photo.load()
            there = matching.describe(pixels, features, network=network, options=options, results=results)
            found = confidence.judged_matches(described, there, points, network=network, options=options)
        except (ValueError, OSError) as error:
            if leave_out is None:
                raise
            leave_out(photo.name, reason_of(error))
            continue
        yield TransferredPoints(photo, (pixels.shape[1], pixels.shape[0]), found)
    part(progress, 0, 1)(1, f"{len(targets):,} of {len(targets):,}")


def reason_of(error: ValueError | OSError) -> str:
    """Why something is left out, in a sentence."""
    return explain(error) if isinstance(error, OSError) and not isinstance(error, ValueError) else str(error)


def usual_features(network: Extractor) -> tuple[Feature, Feature]:
    """What photos are matched by where nothing else is asked for: the network's layer for transfer, and SIFT."""
    return Feature(network.name, network.roles.transfer), Feature.parse("sift20", network=network.name)
