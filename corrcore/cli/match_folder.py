"""One photo with points and a folder of photos for `corrcore match`: the points are looked for in each of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from corrcore.cli.limits import Limits
from corrcore.cli.match_pairs import MatchedPair, PhotoPair, PointsOf, results_for, source_points
from corrcore.concurrency import Progress
from corrcore.datasets import folder as folders
from corrcore.datasets.folder import FolderPhoto, printable_name
from corrcore.datasets.points import NamedPoints
from corrcore.features import Extractor, Feature
from corrcore.tasks.matching import MatchOptions
from corrcore.tasks.points_transfer import LeaveOut, transfer_points


@dataclass(frozen=True, eq=False)
class FolderRequest:
    """A source of ``(width, height)`` px with points that lie inside it, and the photos to find them in."""

    source: FolderPhoto
    size: tuple[int, int]
    points: NamedPoints
    targets: Sequence[FolderPhoto]

    def __len__(self) -> int:
        return len(self.targets)

    def matched(
        self,
        features: Sequence[Feature],
        network: Extractor,
        options: MatchOptions,
        *,
        leave_out: LeaveOut,
        progress: Progress,
    ) -> Iterator[MatchedPair]:
        """Where each feature finds the points, a photo after another; one without is told to `leave_out`."""
        labels = _labels(self.targets)
        with results_for(options) as results:
            found = transfer_points(
                self.source.load(),
                self.points.places,
                self.targets,
                features,
                network=network,
                options=options,
                results=results,
                leave_out=leave_out,
                progress=progress,
            )
            for each in found:
                name = f"{self.source.name} to {each.photo.name}"
                pair = PhotoPair(name, self.source, each.photo, (self.size, each.size), self.points)
                yield MatchedPair(pair, each.matches, labels[each.photo.name])


def _labels(photos: Sequence[FolderPhoto]) -> dict[str, str]:
    """A name for a file about each photo, by the photo's: that without folders and suffix, numbered where several would
    have it.
    """
    stems = [photo.name.rsplit(".", 1)[0].replace("/", "-") for photo in photos]
    counts = Counter(stems)
    return {
        photo.name: stem if counts[stem] == 1 else f"{stem} ({number})"
        for number, (photo, stem) in enumerate(zip(photos, stems, strict=True), start=1)
    }


def photo_to_folder(
    source: Path, folder: Path, points_of: PointsOf, limits: Limits, leave_out: LeaveOut
) -> FolderRequest:
    """All photos below a folder but the source; what is in no format that is read is told to `leave_out`.

    Raises ValueError where the source or its points cannot be read, for points outside, and where there is no photo.
    """
    photo = FolderPhoto(printable_name(source.name), source, **limits)
    size, points = source_points(photo, points_of)
    listing = folders.photos(folder, **limits)
    targets = [each for each in listing.photos if not each.path.samefile(source)]
    if not targets:
        msg = f"there is no photo in {printable_name(folder)} but {photo.name}, whose points are looked for; add some."
        raise ValueError(msg)
    for reason, n in listing.counts.items():
        leave_out(f"{n:,} of {printable_name(folder)}", reason)
    return FolderRequest(photo, size, points, targets)
