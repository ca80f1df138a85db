"""Experiments on a patch index: do retrieved patches sit in the right place, and how far do neighbours agree?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from corrcore import images
from corrcore.datasets import folder
from corrcore.datasets.folder import FolderPhoto
from corrcore.experiments.base import Experiment, Result
from corrcore.experiments.context import Context
from corrcore.experiments.options import option, required
from corrcore.experiments.registry import register
from corrcore.features import Extractor
from corrcore.geometry import WINDOW_STRIDES
from corrcore.metrics import Estimate, bootstrap_interval
from corrcore.patch_index import LONGER_SIDE_PX, PatchIndex
from corrcore.settings import prepared_path
from corrcore.tasks import averaging, reconstruction
from corrcore.tasks.averaging import Agreement

WITHIN_PX = (4, 8, 16)


@dataclass(frozen=True)
class _Number:
    """How a number that was measured is said: in words, with so many digits, `times` so much, and its unit."""

    words: str
    digits: int = 0
    unit: str = ""
    times: float = 1.0

    def text(self, found: Estimate) -> str:
        """The number and its interval; an infinite one is a radius within which agreement does not fall."""
        if np.isnan(found.value):
            return "none"
        low, high = (f"{self.times * end:.{self.digits}f}" for end in (found.low, found.high))
        interval = f" [{low} or more]" if np.isinf(found.high) else f" [{low}, {high}]"
        if np.isnan(found.high) or np.isinf(found.low):
            interval = ""
        if np.isinf(found.value):
            return f"does not fall{interval}"
        return f"{self.times * found.value:.{self.digits}f}{' ' * bool(self.unit)}{self.unit}{interval}"


_NUMBERS: Mapping[str, _Number] = {
    "matches": _Number("patches measured"),
    "score": _Number("score, 0.5 by chance", 2),
    **{f"within_{px}_px": _Number(f"best match within {px} px", unit="%", times=100) for px in WITHIN_PX},
    **{f"chance_within_{px}_px": _Number(f"within {px} px by chance", unit="%", times=100) for px in WITHIN_PX},
    "psnr_db": _Number("PSNR", 1, "dB"),
    "ssim": _Number("SSIM", 2),
    "agreement_radius_px": _Number("agreement radius", unit="px"),
    "agreement_at_centre": _Number("agreement at the centre", 2),
    "agreement_at_rim": _Number("agreement at the rim", 2),
}

LayerNumbers = Mapping[str, Mapping[str, float]]
"""What was measured of one sample, by layer and name."""

LayerEstimates = Mapping[str, Mapping[str, Estimate]]
"""The same over all samples, with 95 % intervals."""

Sample = TypeVar("Sample")
State = TypeVar("State")


@dataclass(frozen=True)
class _OverIndex(Experiment[Sample, State, LayerNumbers, LayerEstimates]):
    """What experiments on an index have in common."""

    index: str = required("an index's name")
    layers: tuple[str, ...] = option((), "such as conv3,conv5 (default: all)")
    limit: int | None = option(50, "photos or seeds at most")
    seed: int = option(0, "of the random numbers")
    window: int = option(WINDOW_STRIDES, "side of the square for fields without a size, in strides")
    approximate: bool = option(False, "search compressed descriptors (`index compress`), which may miss neighbours")

    statistic: ClassVar[Any] = staticmethod(np.mean)

    def opened(self, context: Context) -> PatchIndex:
        """The index, to be searched as is asked."""
        return context.index(self.index, approximate=self.approximate)

    def resolved(self, context: Context) -> Self:
        """With all the index's layers, unless some are given, and the usual window where none has a use for it.

        Raises ValueError for other layers, and for a window that is too small.
        """
        index = self.opened(context)
        if unknown := [layer for layer in self.layers if layer not in index.layers]:
            msg = f"layers of {self.index} must be among {', '.join(index.layers)}; got {', '.join(unknown)}."
            raise ValueError(msg)
        layers = self.layers or index.layers
        windowed = any(index.with_window(self.window).receptive_field(layer).windowed for layer in layers)
        return replace(self, layers=layers, window=self.window if windowed else WINDOW_STRIDES)

    def folder(self, context: Context) -> str:
        """Named by the index and its content."""
        return f"index {self.index} {self.opened(context).digest[:8]}"

    def provenance(self, context: Context) -> Mapping[str, Any]:
        """The index's content, and the network that described it."""
        index = self.opened(context)
        return {"index_digest": index.digest, "extractors": {index.extractor: index.extractor_digest}}

    def read_record(self, plain: Mapping[str, Any]) -> LayerNumbers:
        """See `Experiment.read_record`; NaN was null, infinities words."""
        return {
            layer: {name: float("nan") if value is None else float(value) for name, value in of.items()}
            for layer, of in plain.items()
        }

    def summarise(self, result: Result[LayerNumbers, LayerEstimates]) -> LayerEstimates:
        """The statistic over the samples that have a number."""
        records = list(result.records.values())
        return {
            layer: {
                name: self._estimate(np.array([record[layer][name] for record in records]))
                for name in records[0][layer]
                if name != "id"
            }
            for layer in records[0]
        }

    def _estimate(self, values: np.ndarray) -> Estimate:
        values = values[~np.isnan(values)]
        middle = float(self.statistic(values)) if len(values) else float("nan")
        low = high = float("nan")
        if len(values) > 1:
            low, high = bootstrap_interval(values, rng=np.random.default_rng(0), statistic=self.statistic)
        return Estimate(middle, low, high, np.empty(0), len(values))

    def summary_rows(self, summary: LayerEstimates) -> Sequence[Mapping[str, str]]:
        """A row per layer and number; neighbours that were searched approximately are called so."""
        name = self.statistic.__name__
        searched = {"search": "approximate"} if self.approximate else {}
        return [
            {
                "layer": layer,
                **searched,
                "measured": _NUMBERS[what].words,
                name: _NUMBERS[what].text(found),
                "samples": str(found.samples),
            }
            for layer, of in summary.items()
            for what, found in of.items()
        ]


@dataclass(frozen=True, eq=False)
class _Localising:
    index: PatchIndex
    extractor: Extractor
    layers: tuple[str, ...]


@register
@dataclass(frozen=True, kw_only=True)
class Localisation(_OverIndex[FolderPhoto, _Localising]):
    """How well each layer localises within its receptive fields (`tasks.localisation.localise`), over photos.

    The score (chance 0.5), the share of best matches within 4, 8 and 16 px with the share by chance, PSNR and SSIM at
    k = 1, each as the mean over photos. Measured are the photos of the folder that the index holds out, or `every` one.
    """

    photos: str = required("the folder of photos")
    every: bool = option(False, "measure every photo of the folder, not only those the index holds out")
    max_cells: int = option(256, "cells per photo and layer, at most")

    kind: ClassVar[str] = "localisation"
    title: ClassVar[str] = "Localisation of retrieved patches (Figure 1)"
    versions: ClassVar[tuple[int, ...]] = (reconstruction.VERSION,)
    describes: ClassVar[bool] = True

    def resolved(self, context: Context) -> Self:
        """With the folder's whole path, too."""
        return replace(super().resolved(context), photos=str(prepared_path(self.photos)))

    def samples(self, context: Context) -> Mapping[str, FolderPhoto]:
        """Photos of the folder."""
        index = self.opened(context)
        photos = folder.photos(self.photos).photos
        if not self.every:
            photos = tuple(photo for photo in photos if photo.name in set(index.held_out))
            if not photos:
                msg = (
                    f"{self.photos} has none of the photos that {index.name} holds out; "
                    "add --every to measure them all."
                )
                raise ValueError(msg)
        return {photo.name: photo for photo in photos[: self.limit]}

    def prepare(self, context: Context) -> _Localising:
        """Opens the index and its network."""
        index = self.opened(context).with_window(self.window)
        network = context.network(index.extractor)
        index.check_made_by(network)
        return _Localising(index, network, self.layers)

    def measure(self, sample: FolderPhoto, state: _Localising) -> LayerNumbers:
        """Rebuilds one photo by each layer."""
        image, index = sample.load(), state.index
        same = index.photos_like(image)
        image = images.shrink(image, longer_side=LONGER_SIDE_PX)
        record: dict[str, dict[str, float]] = {}
        for layer in state.layers:
            retrieval = reconstruction.retrieve(image, layer, extractor=state.extractor, index=index, k=1, exclude=same)
            rng = np.random.default_rng([self.seed, *sample.name.encode()])
            found = retrieval.localise(image, index, rng=rng, max_cells=self.max_cells)
            rebuilt = reconstruction.rebuild(retrieval, index, k=1)
            close = reconstruction.fidelity(image, rebuilt, retrieval.cells.covered)
            record[layer] = {"matches": len(found.offsets), "score": found.score}
            for distance in WITHIN_PX:
                shares = found.share_within(distance)
                record[layer][f"within_{distance}_px"], record[layer][f"chance_within_{distance}_px"] = shares
            record[layer] |= {"psnr_db": close.psnr_db, "ssim": close.ssim}
        return record


@dataclass(frozen=True, eq=False)
class _Averaging:
    index: PatchIndex
    layers: tuple[str, ...]


@register
@dataclass(frozen=True)
class AgreementRadius(_OverIndex[int, _Averaging]):
    """The agreement radius of each layer (`tasks.averaging.agreement`), over random seed descriptors of the index.

    A seed's own photo is left out of its neighbours, whose agreement would else be that of copies. Medians: a radius
    counts as infinite where agreement does not fall, and seeds whose neighbours do not agree at the centre have none.
    """

    k: int = option(averaging.PROFILE_K, "neighbours per seed")

    kind: ClassVar[str] = "radius"
    title: ClassVar[str] = "Agreement radius of receptive fields (Figure 2)"
    versions: ClassVar[tuple[int, ...]] = (averaging.VERSION,)
    statistic: ClassVar[Any] = staticmethod(np.median)

    def samples(self, context: Context) -> Mapping[str, int]:
        """Seeds by number."""
        del context
        return {str(number): number for number in range(self.limit or 0)}

    def stamp(self, sample: int) -> str:
        """Seeds have none."""
        return str(sample)

    def prepare(self, context: Context) -> _Averaging:
        """Opens the index."""
        index = self.opened(context).with_window(self.window)
        return _Averaging(index, self.layers)

    def measure(self, sample: int, state: _Averaging) -> LayerNumbers:
        """One seed's radius in each layer."""
        index, record = state.index, {}
        for layer in state.layers:
            rng = np.random.default_rng([self.seed, sample])
            chosen = int(rng.integers(0, index.n_patches(layer), size=1)[0])
            profile = agreement_of_seed(index, layer, chosen, self.k, rng)
            record[layer] = {
                "id": chosen,
                "agreement_radius_px": profile.agreement_radius_px,
                "agreement_at_centre": float(profile.agreement[0]),
                "agreement_at_rim": float(profile.agreement[-1]),
            }
        return record


def agreement_of_seed(index: PatchIndex, layer: str, seed: int, k: int, rng: np.random.Generator) -> Agreement:
    """How far around it the `k` neighbours in other photos agree of a descriptor of the index, by its number."""
    photo = int(index.locate(layer, np.array([seed])).photos[0])
    descriptor = index.descriptors(layer, np.array([seed]))[0]
    averages = averaging.average(descriptor, layer, index=index, ks=(k,), exclude=(photo,))
    return averaging.agreement(averages.ids, layer, index=index, rng=rng)
