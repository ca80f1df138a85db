"""Nearest neighbours by cosine, exactly."""

from corrcore.engines.knn.table import (
    ABSENT,
    BLOCK_SCORES,
    BUCKET,
    GROUP,
    KEPT_BYTES,
    LONGER,
    MANY_QUERIES,
    MARGIN,
    SHORTLIST_BYTES,
    DescriptorTable,
    Neighbours,
    Progress,
    quantise,
)

__all__ = [
    "ABSENT",
    "BLOCK_SCORES",
    "BUCKET",
    "GROUP",
    "KEPT_BYTES",
    "LONGER",
    "MANY_QUERIES",
    "MARGIN",
    "SHORTLIST_BYTES",
    "DescriptorTable",
    "Neighbours",
    "Progress",
    "quantise",
]
