"""Two described crops brought into line by several features; what is asked and told of them is in their photos'
pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from corrcore import images
from corrcore.concurrency import Progress, part
from corrcore.features import Extractor, Feature, Image
from corrcore.tasks.alignment.align import Alignment, align
from corrcore.tasks.alignment.describe import CropSpec, DescribedCrop, describe
from corrcore.tasks.alignment.transfer import TransferOptions
from corrcore.tasks.alignment.warp import warp

WHOLE_PHOTO = CropSpec(margin=0, square=False)


@dataclass(frozen=True, eq=False)
class AlignedPair:
    """A source, a target, and the alignment of one to the other by each feature.

    Points are (x, y) in pixels of the photos that the two were cut out of. A notebook shows the source, the target, and
    the source as the target would show it by each feature.
    """

    source: DescribedCrop
    target: DescribedCrop
    alignments: Mapping[Feature, Alignment]

    def to_target(self, feature: Feature, points: Float[np.ndarray, "*shape 2"]) -> Float[np.ndarray, "*shape 2"]:
        """Where points of the source's photo lie in the target's, by a feature."""
        moved = self.alignments[feature].to_target(self.source.transform.to_crop(points))
        return self.target.transform.to_image(moved)

    def source_points(self, feature: Feature) -> Float[np.ndarray, "rows columns 2"]:
        """The centres of the source's cells."""
        return self.source.transform.to_image(self.source.grids[feature].cells.centres())

    def target_points(self, feature: Feature) -> Float[np.ndarray, "rows columns 2"]:
        """The centres of the target's cells."""
        return self.target.transform.to_image(self.target.grids[feature].cells.centres())

    def similarity(self, feature: Feature, point: Float[np.ndarray, "2"]) -> Float[np.ndarray, "rows columns"]:
        """The cosine of every cell of the target to the source's cell that is nearest to a point."""
        grid = self.source.grids[feature]
        row, column = grid.cells.nearest(*self.source.transform.to_crop(point).tolist())
        descriptor = grid.descriptors[row, column].float()
        return (self.target.grids[feature].descriptors.float() @ descriptor).cpu().numpy()

    def _repr_png_(self) -> bytes:
        warped = [warp(self.source, self.target, found)[0] for found in self.alignments.values()]
        return images.encode(images.in_a_row([self.source.image, self.target.image, *warped]), format="PNG")


def align_photos(
    source: Image,
    target: Image,
    features: Sequence[Feature],
    *,
    network: Extractor,
    smoothness: float = 0.1,
    options: TransferOptions = TransferOptions(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> AlignedPair:
    """Brings two whole photos into line by each of several features.

    Each is scaled to 18 cells on its longer side. Of `options` those of the alignment count, not those of the vote.
    """
    described: list[DescribedCrop] = []
    for number, photo in enumerate((source, target)):
        part(progress, 0, 1)(0.1 * number, f"describing photo {number + 1} of 2")
        height, width = photo.shape[:2]
        box = (-0.5, -0.5, width - 0.5, height - 0.5)
        described.append(describe(photo, box, features, network=network, crop=WHOLE_PHOTO))
    first, second = described
    found: dict[Feature, Alignment] = {}
    for number, feature in enumerate(features):
        report = part(progress, 0.2 + 0.8 * number / len(features), 0.8 / len(features), f"{feature.key}: aligning")
        found[feature] = align(
            first.grids[feature],
            second.grids[feature],
            smoothness=smoothness,
            position=options.position,
            method=options.method,
            iterations=options.iterations,
            gap=options.gap,
            progress=report,
        )
    return AlignedPair(first, second, found)
