"""Searches rows that a GPU holds."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float16, Float32, Float64, Int64

from corrcore.engines.knn.keys import GROUP
from corrcore.engines.knn.memory import as_tensor, drop_pages

ROWS = 1 << 15  # copied, or scored in double precision, at a time
MOST_BYTES = 1 << 31  # of scores


class Device:
    """Searches rows that a GPU holds: half-precision products, whose maxima by groups tell where to look closer."""

    def __init__(
        self,
        rows: Float16[torch.Tensor, "padded channels"],
        excluded: Sequence[tuple[int, int]],
        report: Callable[[float], None],
    ) -> None:
        self._rows, self._excluded, self._report = rows, excluded, report

    @staticmethod
    def copy(
        rows: Float16[np.ndarray, "rows channels"], device: torch.device
    ) -> Float16[torch.Tensor, "padded channels"]:
        """The rows on the device, filled up with zeros to whole groups."""
        n, channels = rows.shape
        copied = torch.zeros(n + -n % GROUP, channels, dtype=torch.float16, device=device)
        for first in range(0, n, ROWS):
            copied[first : min(first + ROWS, n)] = as_tensor(rows)[first : first + ROWS].to(device)
            drop_pages(rows)
        return copied

    def queries_at_once(self, keep: int, _shortlist_bytes: int) -> int:
        """Scores of half precision take 2 GB at most, or a quarter of what is free; so do shortlists' doubles."""
        n, channels = self._rows.shape
        return max(1, min(MOST_BYTES, _free_bytes(self._rows.device) // 4) // max(2 * n, 8 * keep * channels))

    def search_shortlist(
        self, unit: Float64[np.ndarray, "queries channels"], k: int, keep: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids and similarities of the best `k` of `keep` likely rows, and for which queries these are certain.

        The best rows of all lie in the groups of the best maxima.
        """
        n_admissible = len(self._rows) - sum(stop - start for start, stop in self._excluded)
        queries = torch.from_numpy(unit).to(self._rows.device)
        halves = queries.half()
        groups = self._without_excluded(halves @ self._rows.T).unflatten(1, (-1, GROUP))
        best = groups.amax(dim=2).topk(min(keep, groups.shape[1]), sorted=False).indices
        likely = groups.gather(1, best[:, :, None].expand(-1, -1, GROUP)).flatten(1)
        values, places = likely.topk(keep, sorted=False)
        ids = (best.gather(1, places // GROUP) * GROUP + places % GROUP).sort(dim=1).values
        ids, similarities = _best(ids, (self._rows[ids].double() @ queries[:, :, None])[:, :, 0].float(), k)
        # rounding of the query, and of products and sums of magnitude 1 to half precision seven times
        slack = 1.001 * (queries - halves.double()).norm(dim=1) + 2.0**-8
        certain = (similarities[:, -1] > values.amin(dim=1) + slack).cpu().numpy()
        self._report(1.0)
        return ids.cpu().numpy(), similarities.cpu().numpy(), certain | (keep == n_admissible)

    def search_all(self, unit: Float64[np.ndarray, "queries channels"], k: int) -> tuple[np.ndarray, np.ndarray]:
        """The same from exact similarities to all rows."""
        found = []
        at_once = max(1, min(16, (1 << 28) // len(self._rows)))
        for queries in torch.from_numpy(unit).to(self._rows.device).split(at_once):
            blocks = [(queries @ rows.double().T).float() for rows in self._rows.split(ROWS)]
            scores = self._without_excluded(torch.cat(blocks, dim=1))
            level = scores.topk(k).values[:, -1:]
            above, ties = scores > level, scores == level
            chosen = above | (ties & (ties.cumsum(dim=1) <= k - above.sum(dim=1, keepdim=True)))
            ids = chosen.nonzero()[:, 1].view(len(queries), k)
            found.append(_best(ids, scores.gather(1, ids), k))
            self._report(1.0)
        ids, similarities = (torch.cat(part).cpu().numpy() for part in zip(*found, strict=True))
        return ids, similarities

    def _without_excluded(self, scores: torch.Tensor) -> torch.Tensor:
        for start, stop in self._excluded:
            scores[:, start:stop] = -torch.inf
        return scores


def _free_bytes(device: torch.device) -> int:
    """What a device has left, with what torch holds of it and does not use."""
    if device.type != "cuda":
        return 4 * MOST_BYTES
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def _best(
    ids: Int64[torch.Tensor, "queries some"], similarities: Float32[torch.Tensor, "queries some"], k: int
) -> tuple[Int64[torch.Tensor, "queries k"], Float32[torch.Tensor, "queries k"]]:
    """The `k` largest similarities in order. Ids ascend, and so do those of ties in what comes back."""
    similarities, order = similarities.sort(dim=1, descending=True, stable=True)
    return ids.gather(1, order[:, :k]), similarities[:, :k]
