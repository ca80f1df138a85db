"""Messages of many displacement fields at once, on a CUDA device: sweeps over all labels, from messages of zero.

A cell's messages depend on those of the cells before it alone, so the cells of an anti-diagonal of the source grid are
computed at once, for all pairs, and one diagonal after the other. Every cell finds the messages it would in reading
order, so labels and bounds are those of `on_cpu.State`, but for rounding.

There is one step per diagonal. On a CUDA device it is a kernel where Triton can launch one, and the two sweeps of an
iteration are recorded once and replayed; else it is a few of torch's operations, which run anywhere.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int

from corrcore.engines.mrf import on_triton
from corrcore.engines.mrf.problem import FORBIDDEN, Settings

_BEFORE, _AFTER = ((0, -1), (-1, 0)), ((0, 1), (1, 0))  # neighbours, in rows and columns


class _Diagonal(NamedTuple):
    """Cells of which none is another's neighbour, and the places of their four messages."""

    row: torch.Tensor
    column: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor
    share: torch.Tensor


class Batch:
    """The messages of many pairs of one size, after any number of iterations.

    Messages are kept as [pair, edge, row, column], those sent forth apart from those sent back, so that cells side by
    side read and write different ones. Edges beyond the border have messages too, which stay zero.

    Steps are Triton's kernels if `by_triton`: by default on a CUDA device where Triton can launch them. Else they are
    torch's operations, which take minima over `chunk` numbers at a time.
    """

    def __init__(
        self,
        unaries: Sequence[Float[np.ndarray, "rows columns target_rows target_columns"]],
        settings: Settings,
        *,
        device: torch.device,
        by_triton: bool | None = None,
        chunk: int = 1 << 26,
    ) -> None:
        self._rows, self._columns, self._height, self._width = shape = unaries[0].shape
        self._smoothness, self._reweighted = float(settings.smoothness), settings.reweighted
        self._device, self._chunk = device, chunk
        self.costs = torch.empty((len(unaries), *shape), device=device)
        for costs, unary in zip(self.costs, unaries, strict=True):
            costs.copy_(torch.from_numpy(np.array(unary, np.float32, order="C")))
        self.costs.masked_fill_(self.costs == torch.inf, float(FORBIDDEN))
        n_edges = self._rows * (self._columns + 1) + (self._rows + 1) * self._columns
        self.forth = torch.zeros((len(unaries), n_edges, *shape[2:]), device=device)
        self.back = torch.zeros_like(self.forth)
        self._labels = torch.zeros((len(unaries), *shape[:2], 2), dtype=torch.int64, device=device)
        self._lessened = torch.zeros((len(unaries), *shape[:2], 2), device=device)  # on the way back, see `iterate`
        self._diagonals = [self._diagonal(i) for i in range(self._rows + self._columns - 1)]
        self._by_triton = (device.type == "cuda" and on_triton.is_usable()) if by_triton is None else by_triton
        self._graph: torch.cuda.CUDAGraph | None = None

    def iterate(self) -> tuple[Int[torch.Tensor, "pairs rows columns 2"], Float64[torch.Tensor, " pairs"]]:
        """Labels chosen on the way forth, and bounds: the sums of all by which sums and messages were lessened."""
        with torch.cuda.device_of(self.costs):
            if self._graph is not None:
                self._graph.replay()
            else:
                self._sweeps()
                self._graph = self._recorded() if self.costs.is_cuda and self._by_triton else None
        bounds = self._lessened.sum(dim=(1, 2, 3), dtype=torch.float64)
        return self._labels.clone(), bounds if self._reweighted else torch.full_like(bounds, -torch.inf)

    def energies(self, labels: Int[torch.Tensor, "pairs rows columns 2"]) -> Float64[torch.Tensor, " pairs"]:
        """What labels cost, data and smoothness together."""
        place = labels[..., 0] * self._width + labels[..., 1]
        data = self.costs.flatten(3).gather(3, place[..., None]).sum(dim=(1, 2, 3), dtype=torch.float64)
        own = torch.cartesian_prod(*(torch.arange(n, device=self._device) for n in labels.shape[1:3]))
        displacement = labels - own.reshape(labels.shape[1:])
        rough = sum(displacement.diff(dim=axis).square().sum(dim=(1, 2, 3)) for axis in (1, 2))
        return data + self._smoothness * rough

    def improve(self, labels: Int[torch.Tensor, "pairs rows columns 2"]) -> Int[torch.Tensor, "pairs rows columns 2"]:
        """Gives cells the best label given their neighbours', every other one at a time, until none changes."""
        labels = labels.clone()
        cells = np.indices(labels.shape[1:3]).reshape(2, -1)
        halves = [torch.from_numpy(cells[:, cells.sum(axis=0) % 2 == i]).to(self._device) for i in (0, 1)]
        changed = True
        while changed:
            changed = False
            for row, column in halves:
                costs = self._given(self.costs[:, row, column], labels, row, column, _BEFORE + _AFTER)
                now = labels[:, row, column]
                place = now[..., 0] * self._width + now[..., 1]
                better = costs.amin(dim=(2, 3)) < costs.flatten(2).gather(2, place[..., None])[..., 0]
                labels[:, row, column] = torch.where(better[..., None], self._least(costs), now)
                changed |= bool(better.any())
        return labels

    def _diagonal(self, number: int) -> _Diagonal:
        row = np.arange(max(0, number - self._columns + 1), min(self._rows, number + 1))
        column = number - row
        left, up = row * (self._columns + 1) + column, (self._rows * (self._columns + 1)) + row * self._columns + column
        n_after = (column + 1 < self._columns).astype(int) + (row + 1 < self._rows)
        n_before = (column > 0).astype(int) + (row > 0)
        share = 1 / np.maximum(np.maximum(n_after, n_before), 1) if self._reweighted else np.ones(len(row))
        arrays = row, column, left, left + 1, up, up + self._columns, share.astype(np.float32)
        return _Diagonal(*(torch.from_numpy(array).to(self._device) for array in arrays))

    def _sweeps(self) -> None:
        step = self._step_by_triton if self._by_triton else self._step_by_torch
        for number in range(len(self._diagonals)):
            step(number, forth=True)
        for number in reversed(range(len(self._diagonals))):
            step(number, forth=False)

    def _recorded(self) -> torch.cuda.CUDAGraph:
        """Both sweeps as one launch, into which most of a step's time goes. Kernels must be compiled by now."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # and not torch.cuda.graph, which collects garbage first
            graph.capture_begin(capture_error_mode="thread_local")  # other threads may allocate meanwhile
            self._sweeps()
            graph.capture_end()
        return graph

    def _step_by_triton(self, number: int, *, forth: bool) -> None:
        first, last = max(0, number - self._columns + 1), min(self._rows, number + 1)
        launch: Any = on_triton.step[(2, last - first, len(self.costs))]
        tall, wide = (max(16, 1 << (n - 1).bit_length()) for n in (self._height, self._width))
        launch(
            *(self.costs, self.forth, self.back, self._labels, self._lessened, self._smoothness, number, first),
            *(self._rows, self._columns, self._height, self._width),
            *(tall, wide, forth, self._reweighted),
            enable_fp_fusion=True,  # costs and distances multiplied and added with one rounding
            num_warps=min(32, max(4, tall * wide // 256)),  # so many that a label's numbers stay in registers
        )

    def _step_by_torch(self, number: int, *, forth: bool) -> None:
        cells = self._diagonals[number]
        row, column, share = cells.row, cells.column, cells.share[:, None, None]
        left, up = self.forth[:, cells.left], self.forth[:, cells.up]
        right, down = self.back[:, cells.right], self.back[:, cells.down]
        sums = self.costs[:, row, column] + (right + down)
        if forth:
            self._labels[:, row, column] = self._least(self._given(sums, self._labels, row, column, _BEFORE))
        sums += left + up
        if forth:
            self._send(self.forth, cells.right, share * sums - right, column + 1 < self._columns, (0, 1))
            self._send(self.forth, cells.down, share * sums - down, row + 1 < self._rows, (1, 0))
            return
        least = sums.amin(dim=(2, 3), keepdim=True)
        sums -= least
        by_left = self._send(self.back, cells.left, share * sums - left, column > 0, (0, -1))
        by_up = self._send(self.back, cells.up, share * sums - up, row > 0, (-1, 0))
        self._lessened[:, row, column] = torch.stack([least[..., 0, 0] + by_left, by_up], dim=-1)

    def _send(
        self,
        messages: Float32[torch.Tensor, "pairs edges height width"],
        edges: Int[torch.Tensor, " cells"],
        costs: Float32[torch.Tensor, "pairs cells height width"],
        sent: torch.Tensor,
        apart: tuple[int, int],
    ) -> Float32[torch.Tensor, "pairs cells"]:
        """Messages to the neighbours so far apart, of those cells that have one; returns what they were lessened by."""
        spread = costs.flatten(0, 1)
        spread = self._spread(spread, apart[0])
        spread = self._spread(spread.mT, apart[1]).mT
        least = costs.amin(dim=(2, 3), keepdim=True)
        messages[:, edges[sent]] = (spread.reshape(costs.shape) - least)[:, sent]
        return torch.where(sent, least[..., 0, 0], 0)

    def _spread(self, costs: Float32[torch.Tensor, "n labels others"], apart: int) -> torch.Tensor:
        label = torch.arange(costs.shape[1], device=self._device)
        distances = self._smoothness * (label[:, None] - label - apart).square().float()
        parts = costs.split(max(1, self._chunk // (costs[0].numel() * len(label))))
        return torch.cat([(part[:, None] + distances[:, :, None]).amin(dim=2) for part in parts])

    def _given(
        self,
        costs: Float32[torch.Tensor, "pairs cells height width"],
        labels: Int[torch.Tensor, "pairs rows columns 2"],
        row: Int[torch.Tensor, " cells"],
        column: Int[torch.Tensor, " cells"],
        neighbours: Sequence[tuple[int, int]],
    ) -> Float32[torch.Tensor, "pairs cells height width"]:
        """`costs` and what labels cost for another displacement than those neighbours have."""
        for apart in neighbours:
            at_row, at_column = row + apart[0], column + apart[1]
            there = (at_row >= 0) & (at_row < self._rows) & (at_column >= 0) & (at_column < self._columns)
            theirs = labels[:, at_row.clamp(0, self._rows - 1), at_column.clamp(0, self._columns - 1)]
            weights = self._smoothness * there[:, None]
            y, x = (torch.arange(n, device=self._device) for n in (self._height, self._width))
            by_row = weights * (y - (theirs[..., :1] - apart[0])).square()
            by_column = weights * (x - (theirs[..., 1:] - apart[1])).square()
            costs = (costs + by_row[..., :, None]) + by_column[..., None, :]
        return costs

    def _least(self, costs: Float32[torch.Tensor, "pairs cells height width"]) -> Int[torch.Tensor, "pairs cells 2"]:
        """The first label of least cost, by column and then by row."""
        place = costs.mT.flatten(2).argmin(dim=2)
        return torch.stack([place % self._height, place // self._height], dim=-1)
