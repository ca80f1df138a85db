"""How much of a match is place, and not thing: what a layer's descriptors say of where a cell stands.

Three measures that need no annotation, of square images or of the one size that a network takes:

- The *positional share*: how much of the variance of descriptors within a photo goes with the place alone. Photos are
  turned and mirrored at random and windows of them taken, so that no place has a content of its own; what descriptors
  of different photos then have in common at a place, over all they vary, is the share (an intraclass correlation).
- Matches of a photo with moved copies of itself, of which the truth is known: how many cells find the same content, how
  many the same place. Copies are shifted by a quarter of the window, with what follows in the photo or with one colour
  in its wake ("padded"), and mirrored.
- Images without content (`positional_subspace`): how often a cell of smooth noise is matched to the same place of other
  noise, against chance; and what share of photos' variance lies in the subspace that all of them span. Images of one
  colour are not matched: away from padding their cells are alike but for rounding, which would decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch.nn import functional as F

from corrcore import concurrency, images, store
from corrcore.concurrency import Progress
from corrcore.features import Extractor, FeatureGrid, Image
from corrcore.images import ImageLike
from corrcore.patch_index import Photo
from corrcore.store import Cache
from corrcore.tasks.effective_field import photo_stamp
from corrcore.tasks.positional_subspace import (
    N_IMAGES,
    PositionalSubspace,
    Size,
    VarianceInCommon,
    centred,
    is_noise,
    keep_subspace,
    size_for,
    subspace_key,
    without_content,
)

VERSION = 2  # of what this module computes: results kept by another are not used
SIDE_PX = 448  # as photos are matched
N_COMPONENTS = 8  # of the subspace, of which the photos' variance is told
_N_SOURCES = 256  # cells at most that are matched from one image to another

Copy = Literal["shifted", "padded", "mirrored"]
COPIES: tuple[Copy, ...] = get_args(Copy)


@dataclass(frozen=True)
class SelfMatches:
    """Where cells of photos are found in a moved copy, of `n` cells whose content has left their place.

    `content` and `place` are the shares found within a cell of the same content, and of the same place; `error_px` is
    the median distance from the content.
    """

    content: float
    place: float
    error_px: float
    n: int


@dataclass(frozen=True, eq=False)
class Position:
    """What a layer's descriptors say of where a cell stands, in images of ``(width, height)`` pixels.

    `map` is each cell's part in the positional `share`: what is of the place, over the variance of the whole layer. It
    may be a little below 0 by chance. `again` is the share of cells of smooth noise that are matched to the same place
    of other noise, within a cell; `again_by_chance` that of cells drawn at random. `in_subspace` is what share of the
    variance within photos is along each of the first `N_COMPONENTS` positional directions, as far as there are so many;
    `left_out` says by photo's name why some could not be used.
    """

    layer: str
    map: Float[np.ndarray, "rows columns"]
    moved: Mapping[Copy, SelfMatches]
    again: float
    again_by_chance: float
    in_subspace: Float[np.ndarray, " components"]
    size: Size
    n_photos: int
    left_out: Mapping[str, str]

    @property
    def share(self) -> float:
        """The positional share, from 0 for descriptors of content alone to 1 for descriptors of the place alone."""
        return float(np.clip(self.map.mean(), 0, 1))


def measure_position(
    extractor: Extractor,
    layers: Sequence[str],
    photos: Sequence[Photo | ImageLike],
    *,
    side_px: int = SIDE_PX,
    results: Cache | None = None,
    progress: Progress | None = None,
) -> dict[str, Position]:
    """Measures layers over photos, all in the same passes (see the module's text). Kept in `results`, where given.

    Raises ValueError for an unknown layer, images too small for one, and fewer than two photos that can be used.
    """
    size = size_for(extractor, (side_px, side_px))
    for layer in layers:
        extractor.receptive_field(layer)
    keys = {layer: _key(extractor, layer, photos, size) for layer in layers} if results is not None else {}
    kept = {layer: _kept(layer, size, results, key) for layer, key in keys.items() if results is not None}
    found = {layer: each for layer, each in kept.items() if each is not None}
    missing = [layer for layer in layers if layer not in found]
    if missing:
        for layer, each in _measured(extractor, missing, photos, size, results, progress).items():
            found[layer] = each
            if results is not None:
                _keep(each, results, keys[layer])
    return {layer: found[layer] for layer in layers}


def kept_position(
    extractor: Extractor, layer: str, photos: Sequence[Photo | ImageLike], *, side_px: int = SIDE_PX, results: Cache
) -> Position | None:
    """What `measure_position` has kept, if it has; nothing is computed."""
    size = size_for(extractor, (side_px, side_px))
    return _kept(layer, size, results, _key(extractor, layer, photos, size))


def _measured(
    extractor: Extractor,
    layers: Sequence[str],
    photos: Sequence[Photo | ImageLike],
    size: Size,
    results: Cache | None,
    progress: Progress | None,
) -> dict[str, Position]:
    tell = concurrency.part(progress, 0, 1)
    n, left_out = len(photos) + 2, dict[str, str]()
    empty = {layer: _Empty() for layer in layers}
    for number, image in enumerate(without_content(size)):
        tell(2 * number / N_IMAGES / n, "images without content")
        for layer, grid in extractor.extract(image, layers).items():
            empty[layer].add(grid, noise=is_noise(number))
    totals = {layer: _Total(each.common.subspace()) for layer, each in empty.items()}
    if results is not None:
        for layer, each in totals.items():
            keep_subspace(each.subspace, results, subspace_key(extractor, layer, size))
    for number, photo in enumerate(photos):
        name = getattr(photo, "name", "") or f"photo {number + 1}"
        tell((number + 2) / n, name)
        try:
            image = images.as_image(photo if isinstance(photo, ImageLike) else photo.load())
        except (ValueError, OSError) as error:
            left_out[name] = str(error)
            continue
        rng = np.random.default_rng(number)
        window, copies = moved_copies(image, size, rng)
        own = extractor.extract(window, layers)
        for each in totals.values():
            each.begin()
        for copy in (None, *COPIES):
            there = own if copy is None else extractor.extract(copies[copy], layers)
            for layer, total in totals.items():
                total.add(copy, own[layer], there[layer], size)
    return {layer: total.found(layer, empty[layer], size, left_out) for layer, total in totals.items()}


def moved_copies(image: Image, size: Size, rng: np.random.Generator) -> tuple[Image, dict[Copy, Image]]:
    """A window of ``(width, height)`` into a photo that is turned and mirrored at random, and its moved copies.

    The photo is resized so that the window and what it is shifted by just fit in; of that only they are made, as a
    photo may be a thousand times as wide as high.
    """
    turned = np.rot90(image, int(rng.integers(4)))
    turned = turned[:, ::-1] if rng.integers(2) else turned
    (width, height), (right, down) = size, shift_of(size)
    scale = max((width + right) / turned.shape[1], (height + down) / turned.shape[0])
    rows = max(round(scale * turned.shape[0]), height + down)
    columns = max(round(scale * turned.shape[1]), width + right)
    top, left = int(rng.integers(rows - height - down + 1)), int(rng.integers(columns - width - right + 1))
    both = images.window_of_resized(
        np.ascontiguousarray(turned),
        whole=(columns, rows),
        corner=(left, top),
        height=height + down,
        width=width + right,
    )
    window, shifted = both[:height, :width], both[down:, right:]
    padded = np.empty_like(window)
    padded[:] = np.rint(window.mean(axis=(0, 1)))
    padded[: height - down, : width - right] = window[down:, right:]
    return window, {"shifted": shifted, "padded": padded, "mirrored": images.hflip(window)}


def shift_of(size: Size) -> Size:
    """By how many pixels content moves to the left and up in shifted copies: a quarter of the window."""
    return size[0] // 4, size[1] // 4


def content_in(copy: Copy, points: Float[np.ndarray, "points 2"], size: Size) -> Float[np.ndarray, "points 2"]:
    """Where in a copy the content at points (x, y) of the window is."""
    if copy == "mirrored":
        return np.array([size[0] - 1, 0]) + points * [-1, 1]
    return points - np.array(shift_of(size))


def nearest_centres(
    source: FeatureGrid, target: FeatureGrid, cells: Int[np.ndarray, " cells"]
) -> Float[np.ndarray, "cells 2"]:
    """The centres of the target's cells that are most like some of the source's."""
    one, other = (F.normalize(grid.flat().float(), dim=-1) for grid in (source, target))
    best = (one[torch.from_numpy(cells)] @ other.T).argmax(dim=1).cpu().numpy()
    return target.cells.centres().reshape(-1, 2)[best]


def _some(cells: Int[np.ndarray, " cells"]) -> Int[np.ndarray, " chosen"]:
    """At most `_N_SOURCES` of them, evenly."""
    if len(cells) <= _N_SOURCES:
        return cells
    return cells[np.linspace(0, len(cells) - 1, _N_SOURCES).round().astype(int)]


def _within_a_cell(
    points: Float[np.ndarray, "points 2"], others: Float[np.ndarray, "points 2"], stride: int
) -> Bool[np.ndarray, " points"]:
    return np.asarray(np.abs(points - others).max(axis=1) <= stride)


@dataclass
class _Empty:
    """What is found of images without content."""

    common: VarianceInCommon = field(default_factory=VarianceInCommon)
    noise: FeatureGrid | None = None  # the last
    again: list[Bool[np.ndarray, " cells"]] = field(default_factory=list)
    chance: float = 0.0

    def add(self, grid: FeatureGrid, *, noise: bool) -> None:
        """One more; cells of noise are looked for in the noise before."""
        self.common.add(grid)
        if not noise:
            return
        cells = _some(np.arange(len(grid.cells)))
        centres, stride = grid.cells.centres().reshape(-1, 2), grid.receptive_field.stride
        if self.noise is not None:
            found = nearest_centres(grid, self.noise, cells)
            self.again.append(_within_a_cell(found, centres[cells], stride))
        else:
            near = [
                _within_a_cell(centres, np.broadcast_to(centres[cell], centres.shape), stride).mean() for cell in cells
            ]
            self.chance = float(np.mean(near))
        self.noise = grid


class _Total:
    """What is found of photos and their copies, added up."""

    def __init__(self, subspace: PositionalSubspace) -> None:
        self.subspace = subspace
        self._axes = torch.tensor(subspace.axes[:N_COMPONENTS])
        self._all: torch.Tensor | float = 0.0  # of centred descriptors, over all views, by cell
        self._photo: torch.Tensor | float = 0.0  # the same of the photo at hand
        self._own: torch.Tensor | float = 0.0  # squares of each photo's sum, by cell
        self._variance, self._along, self._n_views, self._n_photos = 0.0, np.zeros(len(self._axes)), 0, 0
        self._matches: dict[Copy, list[np.ndarray]] = {copy: [] for copy in COPIES}
        self._grid: FeatureGrid | None = None

    def begin(self) -> None:
        """Another photo."""
        self._photo, self._n_photos = 0.0, self._n_photos + 1

    def add(self, copy: Copy | None, own: FeatureGrid, there: FeatureGrid, size: Size) -> None:
        """The window itself, or a copy; padded ones show less than photos do, and are matched alone."""
        if copy != "padded":
            self._add_view(there)
        if copy is None:
            return
        stride = own.receptive_field.stride
        centres = own.cells.centres().reshape(-1, 2)
        truth = content_in(copy, centres, size)
        inside = ((truth > -0.5) & (truth < np.array(size) - 0.5)).all(axis=1)
        apart = np.abs(truth - centres).max(axis=1) > 1.5 * stride
        cells = _some(np.flatnonzero(inside & apart))
        found = nearest_centres(own, there, cells)
        to_content, to_place = (np.linalg.norm(found - to[cells], axis=1) for to in (truth, centres))
        content = _within_a_cell(found, truth[cells], stride) & (to_content <= to_place)
        place = _within_a_cell(found, centres[cells], stride) & (to_place < to_content)
        self._matches[copy].append(np.stack([content, place, to_content], axis=-1))

    def _add_view(self, grid: FeatureGrid) -> None:
        values = centred(grid)
        self._grid = grid
        photo = self._photo + values
        before = self._photo.square().sum(dim=1) if isinstance(self._photo, torch.Tensor) else 0.0
        self._own = self._own + photo.square().sum(dim=1) - before
        self._photo, self._all = photo, self._all + values
        self._variance += float(values.square().sum(dim=1).mean())
        self._along += (values @ self._axes.to(values).T).square().mean(dim=0).cpu().numpy()
        self._n_views += 1

    def found(self, layer: str, empty: _Empty, size: Size, left_out: Mapping[str, str]) -> Position:
        """All of it. Raises ValueError for fewer than two photos."""
        if self._n_photos < 2 or self._grid is None or not isinstance(self._all, torch.Tensor):
            name, reason = next(iter(left_out.items()), ("", "give at least two."))
            msg = f"what photos have in common at a place needs two of them: {f'{name}: ' if name else ''}{reason}"
            raise ValueError(msg)
        views = self._n_views // self._n_photos
        pairs = self._n_photos * (self._n_photos - 1) * views**2
        common = (self._all.square().sum(dim=1) - self._own).cpu().numpy().astype(float) / pairs
        variance = max(self._variance / self._n_views, 1e-12)
        rows, columns, _ = self._grid.descriptors.shape
        return Position(
            layer,
            (common / variance).reshape(rows, columns),
            {copy: _summed(matches) for copy, matches in self._matches.items()},
            float(np.concatenate(empty.again).mean()),
            empty.chance,
            self._along / self._n_views / variance,
            size,
            self._n_photos,
            dict(left_out),
        )


def _summed(matches: Sequence[Float[np.ndarray, "_ 3"]]) -> SelfMatches:
    together = np.concatenate(matches)
    if not len(together):
        return SelfMatches(float("nan"), float("nan"), float("nan"), 0)
    content, place, _ = together.mean(axis=0).tolist()
    return SelfMatches(content, place, float(np.median(together[:, 2])), len(together))


def _key(extractor: Extractor, layer: str, photos: Sequence[Photo | ImageLike], size: Size) -> str:
    return store.key(
        task="position",
        version=VERSION,
        subspace=subspace_key(extractor, layer, size),
        photos=[photo_stamp(photo) for photo in photos],
    )


def _keep(found: Position, results: Cache, key: str) -> None:
    about: dict[str, Any] = {
        "moved": {copy: [each.content, each.place, each.error_px, each.n] for copy, each in found.moved.items()},
        "again": [found.again, found.again_by_chance],
        "n_photos": found.n_photos,
        "left_out": dict(found.left_out),
    }
    results.put(key, {"map": found.map, "in_subspace": found.in_subspace}, about)


def _kept(layer: str, size: Size, results: Cache, key: str) -> Position | None:
    entry = results.get(key)
    if entry is None:
        return None
    about = entry.metadata
    again, by_chance = about["again"]
    return Position(
        layer,
        entry.arrays["map"],
        {copy: SelfMatches(*about["moved"][copy]) for copy in COPIES},
        again,
        by_chance,
        entry.arrays["in_subspace"],
        size,
        about["n_photos"],
        about["left_out"],
    )
