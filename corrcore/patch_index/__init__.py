"""Patches of many photos: their descriptors and pixels on disk, ready to be searched and cut.

An index is a folder of memory-mapped files (`corrcore.patch_index.files`). Photos may enter at several scales and
mirrored; Long, Zhang and Darrell (2014, Section 3) use at least one million patches per layer.
"""

from corrcore.engines.knn import Compression, Probing
from corrcore.patch_index.build import LONGER_SIDE_PX, build
from corrcore.patch_index.catalogue import (
    SAMPLES,
    Listing,
    State,
    checked_name,
    delete,
    list_indexes,
    list_unfinished,
    look_up,
    open_index,
    path_of,
    samples,
    samples_path,
    survey,
)
from corrcore.patch_index.describe import Photo
from corrcore.patch_index.files import (
    FORMAT,
    IndexDamagedError,
    IndexNotFoundError,
    IndexNotWrittenError,
    IndexUnfinishedError,
    Manifest,
    default_root,
)
from corrcore.patch_index.index import Cells, PatchIndex
from corrcore.patch_index.on_cluster import OnCluster, describer_on
from corrcore.patch_index.photos import IndexedPhoto, photos_of, spread

__all__ = [
    "FORMAT",
    "LONGER_SIDE_PX",
    "SAMPLES",
    "Cells",
    "Compression",
    "IndexDamagedError",
    "IndexNotFoundError",
    "IndexNotWrittenError",
    "IndexUnfinishedError",
    "IndexedPhoto",
    "Listing",
    "Manifest",
    "OnCluster",
    "PatchIndex",
    "Photo",
    "Probing",
    "State",
    "build",
    "checked_name",
    "default_root",
    "delete",
    "describer_on",
    "list_indexes",
    "list_unfinished",
    "look_up",
    "open_index",
    "path_of",
    "photos_of",
    "samples",
    "samples_path",
    "spread",
    "survey",
]
