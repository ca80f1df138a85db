"""The cells of training objects that detectors are trained on for a round of mining."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from corrcore.engines.svm import Rows, Samples
from corrcore.tasks.detection.detectors import Windows, cell_scores
from corrcore.tasks.detection.spec import DetectorSpec, cell_windows

CONVOLVED = 2**15  # cells of all objects: so few a processor passes by convolution as fast as a part put together
_SCORED = 4  # objects at a time
_ADDED = 1024  # cells at a time


class Pool:
    """Cells by their numbers over all objects, at most `most` of them.

    What detectors see of them lies in one array, which never moves; of few objects, where windows are of several
    cells, it is not put together, which would take as many times the memory.
    """

    def __init__(
        self,
        descriptors: Float[torch.Tensor, "objects rows columns channels"],
        spec: DetectorSpec,
        most: int,
        *,
        convolved: bool | None = None,
    ) -> None:
        self._descriptors, self._spec, self._most = descriptors, spec, most
        n_cells, n_features = descriptors[..., 0].numel(), descriptors.shape[-1] * spec.cells**2
        by_size = spec.reach > 0 and n_cells <= CONVOLVED and descriptors.device.type == "cpu"
        self._windows = Windows(descriptors, spec) if (by_size if convolved is None else convolved) else None
        put_together = most if self._windows is None else 0
        self._rows = torch.empty(put_together, n_features, device=descriptors.device)
        self.cells = np.empty(0, int)

    @property
    def samples(self) -> Samples:
        """What the cells are to the solver."""
        if self._windows is None:
            return Rows(self._rows[: len(self.cells)])
        return _Cells(self._descriptors, self._windows, self._spec, self.cells)

    def scores_of_all(self, weights: Float[torch.Tensor, "detectors features"]) -> Float[torch.Tensor, "all detectors"]:
        """The scores of all cells of all objects, without the bias."""
        if self._windows is not None:
            return self._windows.scores(weights.T).flatten(0, 2)
        parts = self._descriptors.split(_SCORED)
        return torch.cat([cell_scores(some, weights, self._spec).flatten(0, 2) for some in parts])

    @property
    def room(self) -> int:
        """How many cells more it takes."""
        return self._most - len(self.cells)

    def start(self, cells: Int[np.ndarray, " cells"]) -> None:
        """With these alone."""
        self.cells = np.empty(0, int)
        self.add(cells)

    def add(self, cells: Int[np.ndarray, " some"]) -> None:
        """More cells, of which none is there yet."""
        if self._windows is None:
            numbers = torch.from_numpy(cells).to(self._rows.device)
            for place, some in zip(self._rows[len(self.cells) :].split(_ADDED), numbers.split(_ADDED), strict=False):
                place[: len(some)] = cell_windows(self._descriptors, some, self._spec)
        self.cells = np.concatenate([self.cells, cells])

    def keep(self, kept: Bool[np.ndarray, " cells"]) -> None:
        """These alone of those that are there."""
        self.start(self.cells[kept])


class _Cells:
    """Some cells of objects as samples, passed by convolution over all."""

    def __init__(
        self, descriptors: torch.Tensor, windows: Windows, spec: DetectorSpec, cells: Int[np.ndarray, " cells"]
    ) -> None:
        self._descriptors, self._windows, self._spec = descriptors, windows, spec
        self._cells = torch.from_numpy(cells).to(descriptors.device)
        self.shape = len(cells), descriptors.shape[-1] * spec.cells**2
        self.dtype, self.device = torch.float32, descriptors.device

    def scores(self, w: Float[torch.Tensor, "inputs problems"]) -> Float[torch.Tensor, "samples problems"]:
        """See `Samples`."""
        return self._windows.scores(w[:-1]).flatten(0, 2)[self._cells] + w[-1]

    def back(self, weights: Float[torch.Tensor, "samples problems"]) -> Float[torch.Tensor, "inputs problems"]:
        """See `Samples`."""
        grids = weights.new_zeros(*self._descriptors.shape[:3], weights.shape[1])
        grids.flatten(0, 2)[self._cells] = weights
        return torch.cat([self._windows.back(grids), weights.sum(0, keepdim=True)])

    def rows(self, numbers: Int[torch.Tensor, " some"]) -> Float[torch.Tensor, "some features"]:
        """See `Samples`."""
        return cell_windows(self._descriptors, self._cells[numbers], self._spec)
