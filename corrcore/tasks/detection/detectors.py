"""Keypoint detectors: what they score, and the best pixel around a cell."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from corrcore import extractors
from corrcore.engines.svm import LinearClassifier
from corrcore.features import Extractor, Image
from corrcore.geometry import PixelBox
from corrcore.precision import single_precision
from corrcore.tasks.detection.spec import DetectorSpec

VERSION = 1  # of what this package computes: results kept by another are not used
LEAST_OBJECTS = 5  # that show a keypoint: with fewer it has no detector


@dataclass(frozen=True)
class MiningRound:
    """One round of mining: the cells trained on, their positives, the sum of all objectives, and how many negatives
    that were not among the cells came out hard.
    """

    cells: int
    positives: int
    objective: float
    hard: int


@dataclass(frozen=True, eq=False)
class Detectors:
    """A linear classifier for each keypoint that enough training objects show (`LEAST_OBJECTS`).

    `names` are of all keypoints, `trained` the numbers of those with a detector, in the classifier's order. `rounds`
    are those of every group of keypoints that were mined for together; mining is `finished` if the last round of each
    found no hard negative that was new, so that the detectors are what training on all cells would give.
    """

    spec: DetectorSpec
    names: tuple[str, ...]
    trained: tuple[int, ...]
    linear: LinearClassifier
    rounds: tuple[tuple[MiningRound, ...], ...]

    @property
    def finished(self) -> bool:
        """Whether no hard negative was left out."""
        return all(group[-1].hard == 0 for group in self.rounds)

    def scores(
        self, descriptors: Float[torch.Tensor, "rows columns channels"]
    ) -> Float32[np.ndarray, "rows columns keypoints"]:
        """Every cell's score by every keypoint's detector; NaN for keypoints without one."""
        own = cell_scores(descriptors[None], torch.from_numpy(self.linear.weights), self.spec)[0]
        found = np.full((*own.shape[:2], len(self.names)), np.nan, np.float32)
        found[..., list(self.trained)] = own.cpu().numpy() + self.linear.bias
        return found

    def refine_to_pixels(
        self, image: Image, points: Float[np.ndarray, "keypoints 2"], *, network: Extractor
    ) -> Float[np.ndarray, "keypoints 2"]:
        """Where within half a stride of `points`, cells' centres, each keypoint's score is highest, pixel by pixel.

        The feature is taken at every pixel, its 3 x 3 cells a stride apart as ever. The paper names the stride as what
        limits its predictions. NaN stays; features without a grid, such as SIFT, and keypoints without a detector are
        as they were.
        """
        result = points.copy()
        feature = self.spec.feature
        if extractors.extractor_of(feature, network).anywhere:
            return result
        field = extractors.receptive_field(feature, network=network)
        fraction = field.offset % 1  # cells' centres may lie between pixels: they are those of the pixels before
        valid = extractors.valid_region(feature, (image.shape[1], image.shape[0]), network=network)
        for detector, keypoint in enumerate(self.trained):
            if not np.isfinite(points[keypoint]).all():
                continue
            x, y = np.floor(points[keypoint] - fraction + 0.5).astype(int).tolist()
            around = _Around.of(x, y, field.stride, self.spec.reach, valid)
            found = extractors.extract_region(image, feature, network=network, region=around.wide)
            row, column = self._best_pixel(found, detector, around)
            result[keypoint] = around.columns[column] + fraction, around.rows[row] + fraction
        return result

    def _best_pixel(
        self, found: Float[torch.Tensor, "rows columns channels"], detector: int, around: "_Around"
    ) -> tuple[int, int]:
        """The row and column, of those looked at, where one detector's score is highest."""
        reach = self.spec.reach
        weights = torch.from_numpy(self.linear.weights[detector]).to(found)
        kernel = weights.view(2 * reach + 1, 2 * reach + 1, -1)
        size = len(around.rows), len(around.columns)
        score, length = (torch.zeros(size, device=found.device) for _ in range(2))
        for down in range(-reach, reach + 1):
            for right in range(-reach, reach + 1):
                at_y, at_x = around.shifted(down, right)
                cells = found[torch.from_numpy(at_y)][:, torch.from_numpy(at_x)]
                score += cells @ kernel[down + reach, right + reach]
                length += cells.square().sum(-1)
        best = int((score / length.sqrt().clamp(min=1e-12)).argmax())
        return divmod(best, len(around.columns))


@dataclass(frozen=True, eq=False)
class _Around:
    """The pixels within half a stride of a point, and the part of the valid region that their cells are in."""

    rows: Int[np.ndarray, " rows"]
    columns: Int[np.ndarray, " columns"]
    stride: int
    valid: PixelBox
    wide: PixelBox

    @classmethod
    def of(cls, x: int, y: int, stride: int, reach: int, valid: PixelBox) -> "_Around":
        half = stride // 2
        columns = np.arange(max(x - half, valid.left), min(x + half + 1, valid.right))
        rows = np.arange(max(y - half, valid.top), min(y + half + 1, valid.bottom))
        wide = PixelBox(
            max(int(columns[0]) - reach * stride, valid.left),
            max(int(rows[0]) - reach * stride, valid.top),
            min(int(columns[-1]) + reach * stride + 1, valid.right),
            min(int(rows[-1]) + reach * stride + 1, valid.bottom),
        )
        return cls(rows, columns, stride, valid, wide)

    def shifted(self, down: int, right: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the wide part, so many strides down and to the right."""
        at_y = _steps(self.rows, down, self.stride, self.valid.top, self.valid.bottom) - self.wide.top
        at_x = _steps(self.columns, right, self.stride, self.valid.left, self.valid.right) - self.wide.left
        return at_y, at_x


def _steps(pixels: Int[np.ndarray, " n"], steps: int, stride: int, start: int, stop: int) -> Int[np.ndarray, " n"]:
    """Pixels so many strides on; where there are fewer the last of them, as the grid's border is repeated."""
    room = (stop - 1 - pixels) // stride if steps > 0 else (pixels - start) // stride
    return pixels + np.sign(steps) * stride * np.minimum(abs(steps), room)


class Windows:
    """What detectors see at every cell of some objects: by convolution over the grids, and never put together."""

    def __init__(self, descriptors: Float[torch.Tensor, "objects rows columns channels"], spec: DetectorSpec) -> None:
        values = F.pad(descriptors.float().permute(0, 3, 1, 2), (spec.reach,) * 4, mode="replicate")
        self._values = values.contiguous(memory_format=torch.channels_last)
        of_cells = torch.linalg.vector_norm(self._values, dim=1, keepdim=True).square()
        self._lengths = F.avg_pool2d(of_cells, spec.cells, stride=1, divisor_override=1).sqrt().clamp(min=1e-12)
        self._side = spec.cells

    def scores(
        self, weights: Float[torch.Tensor, "features detectors"]
    ) -> Float[torch.Tensor, "objects rows columns detectors"]:
        """Each cell times every detector's weights."""
        kernels = weights.T.unflatten(1, (self._side, self._side, -1)).permute(0, 3, 1, 2)
        with single_precision(self._values.device):
            return (F.conv2d(self._values, kernels) / self._lengths).permute(0, 2, 3, 1)

    def back(
        self, weights: Float[torch.Tensor, "objects rows columns detectors"]
    ) -> Float[torch.Tensor, "features detectors"]:
        """The sum over cells of each one's weights times what is seen there."""
        by_length = weights.permute(0, 3, 1, 2) / self._lengths
        size = by_length.shape[1], self._values.shape[1], self._side, self._side
        with single_precision(self._values.device):
            return conv2d_weight(self._values, size, by_length).permute(0, 2, 3, 1).flatten(1).T


def cell_scores(
    descriptors: Float[torch.Tensor, "objects rows columns channels"],
    weights: Float[torch.Tensor, "detectors features"],
    spec: DetectorSpec,
) -> Float[torch.Tensor, "objects rows columns detectors"]:
    """Without the bias."""
    return Windows(descriptors, spec).scores(weights.to(descriptors.device).float().T)
