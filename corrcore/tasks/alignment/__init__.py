"""Two objects of one kind brought into alignment by their features, and keypoints that travel with them."""

from corrcore.tasks.alignment.align import VERSION, Alignment, align, data_term
from corrcore.tasks.alignment.describe import (
    CROP_SPEC,
    CropSpec,
    DescribedCrop,
    describe,
    describe_object,
    summary_source,
)
from corrcore.tasks.alignment.pair import AlignedPair, align_photos
from corrcore.tasks.alignment.transfer import (
    NEIGHBOURS,
    TOP,
    Neighbour,
    NeighbourPool,
    ObjectTransfer,
    Order,
    Transfer,
    TransferOptions,
    nearest_summaries,
    transfer,
    transfer_to_object,
    vote,
)
from corrcore.tasks.alignment.warp import warp

__all__ = [
    "CROP_SPEC",
    "NEIGHBOURS",
    "TOP",
    "VERSION",
    "AlignedPair",
    "Alignment",
    "CropSpec",
    "DescribedCrop",
    "Neighbour",
    "NeighbourPool",
    "ObjectTransfer",
    "Order",
    "Transfer",
    "TransferOptions",
    "align",
    "align_photos",
    "data_term",
    "describe",
    "describe_object",
    "nearest_summaries",
    "summary_source",
    "transfer",
    "transfer_to_object",
    "vote",
    "warp",
]
