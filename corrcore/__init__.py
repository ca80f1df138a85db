"""What does this network know about where things are?

The layers, imports go downwards only:

    cli                              commands, from the experiments' dataclasses
    show                             results as a notebook shows them
    experiments                      many of them: run, results, tables
    tasks                            one image or object in, one frozen dataclass out
    patch_index                      photos' descriptors and pixels on disk
    extractors                       any extractor by name, several features at once
    networks descriptors datasets engines
    features                         Feature, FeatureGrid, Extractor: the one contract
    geometry crops images metrics concurrency settings store decoding

The names below are loaded when they are first used.

>>> import corrcore
>>> corrcore.Feature.parse("sift20", network="alexnet").title
'SIFT, radius 20 px'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corrcore import show
    from corrcore.datasets import open_dataset
    from corrcore.decoding import ImageError, decode
    from corrcore.experiments import (
        AgreementRadius,
        Classification,
        Context,
        Localisation,
        Prediction,
        Responses,
        ResultStore,
        Transfer,
        run,
    )
    from corrcore.extractors import open as open_extractor
    from corrcore.features import Extractor, Feature, FeatureGrid
    from corrcore.geometry import CellGrid, PixelBox, ReceptiveField
    from corrcore.patch_index import PatchIndex
    from corrcore.settings import Settings

_HOMES = {
    "AgreementRadius": "experiments",
    "CellGrid": "geometry",
    "Classification": "experiments",
    "Context": "experiments",
    "Extractor": "features",
    "Feature": "features",
    "FeatureGrid": "features",
    "ImageError": "decoding",
    "Localisation": "experiments",
    "PatchIndex": "patch_index",
    "PixelBox": "geometry",
    "Prediction": "experiments",
    "ReceptiveField": "geometry",
    "Responses": "experiments",
    "ResultStore": "experiments",
    "Settings": "settings",
    "Transfer": "experiments",
    "decode": "decoding",
    "open_dataset": "datasets",
    "open_extractor": "extractors:open",
    "run": "experiments",
}

__all__ = [
    "AgreementRadius",
    "CellGrid",
    "Classification",
    "Context",
    "Extractor",
    "Feature",
    "FeatureGrid",
    "ImageError",
    "Localisation",
    "PatchIndex",
    "PixelBox",
    "Prediction",
    "ReceptiveField",
    "Responses",
    "ResultStore",
    "Settings",
    "Transfer",
    "decode",
    "open_dataset",
    "open_extractor",
    "run",
    "show",
]


def __getattr__(name: str) -> Any:
    if name == "show":
        return import_module("corrcore.show")
    if name not in _HOMES:
        msg = f"module 'corrcore' has no attribute {name!r}"
        raise AttributeError(msg)
    module, _, there = _HOMES[name].partition(":")
    return getattr(import_module(f"corrcore.{module}"), there or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "show"})
