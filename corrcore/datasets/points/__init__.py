"""Named points of a photo, in files that people have: COCO's keypoints (JSON), and lines of name,x,y (CSV).

Points are (x, y) in pixels of the upright photo, pixel centres at integers, the first at 0; COCO's keypoints count so.
"""

from corrcore.datasets.points.named import (
    MAX_BYTES,
    MAX_NAME,
    MAX_POINTS,
    SUFFIXES,
    NamedPoints,
    joined,
    rounded,
)
from corrcore.datasets.points.reading import open_points, read_points
from corrcore.datasets.points.writing import AnnotatedPhoto, to_coco

__all__ = [
    "MAX_BYTES",
    "MAX_NAME",
    "MAX_POINTS",
    "SUFFIXES",
    "AnnotatedPhoto",
    "NamedPoints",
    "joined",
    "open_points",
    "read_points",
    "rounded",
    "to_coco",
]
