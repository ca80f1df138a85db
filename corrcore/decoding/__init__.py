"""Strangers' files into pixels.

Pillow is shown only the parts of a file that hold pixels: where it would parse them, text, colour profiles, thumbnails,
further frames and EXIF are cut away unread, but for the orientation, which is read here. So metadata can neither swell
in memory nor make Pillow warn, and neither Pillow's global settings nor Python's warning filters, which all threads
share, have to be touched.
"""

from corrcore.decoding.limits import (
    MAX_BYTES,
    MAX_PIXELS,
    ImageError,
    ImageNotReadError,
    Source,
    check_bytes,
    display_name,
    printable,
)
from corrcore.decoding.reading import SUFFIXES, decode, read_size

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "ImageError",
    "ImageNotReadError",
    "Source",
    "check_bytes",
    "decode",
    "display_name",
    "printable",
    "read_size",
]
