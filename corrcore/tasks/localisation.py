"""Whether retrieved patches sit in the right place within the receptive fields they were retrieved for.

Long, Zhang and Darrell (2014), Section 3, say of Figure 1 that eyes stay in place; this puts a number to it.
"""

from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch.nn import functional as F

from corrcore import images
from corrcore.features import Image
from corrcore.geometry import CellGrid
from corrcore.patch_index import PatchIndex

_FLAT = 2.0  # grey levels of standard deviation under which a patch can be matched anywhere
_RIM_PX = 8  # searched beyond the receptive field, so that its own rim is no end of the search
_MATCHES_AT_ONCE = 32


@dataclass(frozen=True)
class Localisation:
    """Where retrieved patches match best within the receptive field they were retrieved for.

    `offsets` are (x, y) pixels from where the original patch is to where the retrieved patch matches best; each was
    chosen among all whole offsets from `lowest` to `highest` in both directions.
    """

    layer: str
    offsets: Int[np.ndarray, "matches 2"]
    lowest: int
    highest: int

    def _distances(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the matches, and of all places there are."""
        across = np.arange(self.lowest, self.highest + 1)
        return np.hypot(*self.offsets.T), np.hypot(*np.meshgrid(across, across)).ravel()

    @property
    def score(self) -> float:
        """The probability that a patch matches closer to its place than a place drawn uniformly lies.

        One half where all places of the receptive field are equally likely, 1 for perfect localisation, 0 for matches
        at its rim; NaN without matches. Ties count half.
        """
        shares = self._closer()
        return float(shares.mean()) if len(shares) else float("nan")

    @property
    def score_error(self) -> float:
        """The standard error of the score, as if matches were independent; NaN with fewer than two."""
        shares = self._closer()
        return float(shares.std(ddof=1) / np.sqrt(len(shares))) if len(shares) > 1 else float("nan")

    def _closer(self) -> Float[np.ndarray, " matches"]:
        """The share of places that lie further off than each match."""
        near, places = self._distances()
        places = np.sort(places)
        closer = len(places) - np.searchsorted(places, near, side="right")
        ties = np.searchsorted(places, near, side="right") - np.searchsorted(places, near, side="left")
        return (closer + ties / 2) / len(places)

    def share_within(self, distance_px: float) -> tuple[float, float]:
        """The share of matches at most that far from their place (NaN without any), and of all places."""
        near, places = self._distances()
        share = float((near <= distance_px).mean()) if len(near) else float("nan")
        return share, float((places <= distance_px).mean())


def localise(
    image: Image,
    grid: CellGrid,
    nearest: Int[np.ndarray, " cells"],
    layer: str,
    index: PatchIndex,
    *,
    rng: np.random.Generator,
    side: int | None = None,
    max_cells: int = 256,
) -> Localisation:
    """Measures whether retrieved patches are *placed* right within the receptive field, not only alike.

    For each cell of `grid`, the square of `side` pixels around the patch of its `nearest` neighbour in `layer` is
    looked for in the cell's own receptive field, at every whole-pixel place, by normalised cross-correlation of grey
    levels (brightness and contrast do not count); the offset of the best place from the cell's own patch is recorded.
    By default the square is three strides wide, the patch with its surroundings, since a patch alone matches in many
    places.

    To a descriptor that knows what is in its receptive field but not where, all shifts of the content that keep the
    square inside are alike. The best place is then uniform over the receptive field, and every number is compared with
    exactly that (`Localisation.score` is 0.5). Real photos put what they show in the middle more often than at the rim,
    which lifts even descriptors without any order a little: a few hundredths above 0.5 say nothing. The measure sees
    only what shows in grey levels: a layer whose neighbours have the same part in the same place but look different
    scores lower than it localises.

    Smooth pictures match best at the rim of whatever is searched; so 8 px more are searched on every side, and matches
    outside the receptive field dropped. Only cells and neighbours whose receptive field lies inside their pictures
    count, for padding betrays position; squares of nearly one grey level, which match anywhere, are left out. At most
    `max_cells` cells, drawn by `rng`, are measured.
    """
    cells = cells_to_measure(grid, rng=rng, max_cells=max_cells)
    return localise_cells(image, grid, cells, nearest[cells], layer, index, side=side)


def cells_to_measure(grid: CellGrid, *, rng: np.random.Generator, max_cells: int = 256) -> Int[np.ndarray, " measured"]:
    """The cells that `localise` measures: those whose receptive field and rim lie inside, or so many at random."""
    searched = grid.receptive_field.window_px + 2 * _RIM_PX
    corners = grid.corners(grid.receptive_field.window_px) - _RIM_PX
    searchable = np.flatnonzero(((corners >= 0) & (corners + searched <= grid.image_size)).all(axis=1))
    cells = np.intersect1d(searchable, grid.inner())
    return cells if len(cells) <= max_cells else np.sort(rng.choice(cells, max_cells, replace=False))


def localise_cells(
    image: Image,
    grid: CellGrid,
    cells: Int[np.ndarray, " measured"],
    nearest: Int[np.ndarray, " measured"],
    layer: str,
    index: PatchIndex,
    *,
    side: int | None = None,
) -> Localisation:
    """`localise` of some cells, whose neighbours alone are given."""
    field = grid.receptive_field
    window = field.window_px
    side = side or min(3 * field.stride, window // 2)
    middle = int(field.first_pixel(0, side) - field.first_pixel(0, window))
    lowest, highest = -middle, window - side - middle
    searched = window + 2 * _RIM_PX
    corners = grid.corners(window) - _RIM_PX
    offsets = [np.empty((0, 2), np.int64)]
    for start in range(0, len(cells), _MATCHES_AT_ONCE):
        part = cells[start : start + _MATCHES_AT_ONCE]
        neighbours = nearest[start : start + _MATCHES_AT_ONCE]
        whole = index.see_no_border(layer, neighbours)
        part, neighbours = part[whole], neighbours[whole]
        if len(part):
            neighbours, _ = index.cut_receptive_fields(layer, neighbours)
            windows, _ = images.extract_patches(image, corners[part], height=searched, width=searched)
            squares = images.grey(neighbours[:, middle : middle + side, middle : middle + side])
            best, matchable = _best_match(images.grey(windows), squares)
            found = best[matchable] - _RIM_PX - middle
            offsets.append(found[((found >= lowest) & (found <= highest)).all(axis=1)])
    return Localisation(layer, np.concatenate(offsets), lowest, highest)


def _best_match(
    windows: Float[np.ndarray, "n window window"], patches: Float[np.ndarray, "n side side"]
) -> tuple[Int[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]:
    """The (x, y) place of best normalised cross-correlation of each patch in its window; whether there is one.

    Numerators by the Fourier transform, means and variances of every place by running sums.
    """
    side = patches.shape[-1]
    places = windows.shape[-1] - side + 1
    size = [next(n for n in count(windows.shape[-1]) if _is_fast(n))] * 2  # wraps around beyond the places that count
    window, patch = torch.from_numpy(windows - windows.mean()), torch.from_numpy(patches)
    centred = patch - patch.mean(dim=(1, 2), keepdim=True)
    spectrum = torch.fft.rfft2(window, s=size) * torch.fft.rfft2(centred, s=size).conj()
    products = torch.fft.irfft2(spectrum, s=size)[..., :places, :places]
    means, squares = _box_means(window, side), _box_means(window**2, side)
    variance = squares - means**2
    scale = torch.where(variance > _FLAT**2, variance.clamp_min(_FLAT**2).rsqrt(), torch.nan)
    best, where = (products * scale).nan_to_num(-torch.inf).flatten(1).max(dim=1)
    matchable = torch.isfinite(best) & (centred.square().mean(dim=(1, 2)) > _FLAT**2)
    place = torch.stack([where % places, torch.div(where, places, rounding_mode="floor")], dim=-1)
    return place.numpy(), matchable.numpy()


def _is_fast(n: int) -> bool:
    """Whether a Fourier transform of this length is quick: it has no prime factor above 5."""
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


def _box_means(values: Float[torch.Tensor, "n window window"], side: int) -> Float[torch.Tensor, "n places places"]:
    """The mean over every square of `side`, by running sums."""
    sums = F.pad(values.double(), (1, 0, 1, 0)).cumsum(1).cumsum(2)
    boxes = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    return (boxes / side**2).float()
