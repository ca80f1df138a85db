"""TIFF: the first page's storage tags, laid out anew for Pillow."""

import io
import struct
import sys

import numpy as np
from PIL import TiffTags
from PIL.TiffImagePlugin import TiffImageFile

from corrcore.decoding.limits import MAX_PARTS, PILLOW_MAX_PIXELS
from corrcore.decoding.pixels import (
    TIFF_BITS,
    TIFF_PHOTOMETRIC,
    TIFF_SAMPLE_FORMAT,
    OpenedImage,
    join_bytes,
    needs_low_bytes,
    orientation_of,
    to_8_bits,
    to_rgb,
)

_WIDTH, _HEIGHT, _COMPRESSION, _TILE_WIDTH, _TILE_HEIGHT, _SUB_PAGES, _DNG_VERSION = 256, 257, 259, 322, 323, 330, 50706
_SUBFILE_TYPE = 254
# The tags that say how pixels are stored; all others stay unread.
_STORAGE_TAGS = {
    *(_WIDTH, _HEIGHT, TIFF_BITS, _COMPRESSION, TIFF_PHOTOMETRIC, TIFF_SAMPLE_FORMAT, _TILE_WIDTH, _TILE_HEIGHT),
    *(266, 273, 277, 278, 279, 284),  # fill order, strips, samples per pixel, planes
    *(292, 293, 317, 320, 324, 325, 338, 347),  # fax options, predictor, palette, tiles, alpha, JPEG tables
    *(529, 530, 531, 532),  # YCbCr
}
_TYPE_BYTES = {1: 1, 3: 2, 4: 4, 5: 8, 7: 1}  # per value: BYTE, SHORT, LONG, RATIONAL, UNDEFINED
# Uncompressed, fax, LZW, JPEG, deflate, packed bits. The rest is rare, and its decoders take memory as the file says.
_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}


def open_tiff(data: bytes) -> OpenedImage:
    """Append a directory with the first page's storage tags alone, and make it the only one."""
    order = "<" if data[:1] == b"I" else ">"
    entries, numbers = _storage_entries(data, order)
    if numbers.get(_COMPRESSION, 1) not in _COMPRESSIONS:
        msg = f"compression {numbers[_COMPRESSION]} is not read"
        raise ValueError(msg)
    width, height = numbers.get(_WIDTH, 0), numbers.get(_HEIGHT, 0)
    tile_width, tile_height = numbers.get(_TILE_WIDTH, 1), numbers.get(_TILE_HEIGHT, 1)
    if tile_width * tile_height > min(max(2 * width * height, 2**20), PILLOW_MAX_PIXELS):
        msg = f"tiles of {tile_width} x {tile_height} pixels"
        raise ValueError(msg)

    padding = b"\0" * (len(data) % 2)
    moved = struct.pack(f"{order}L", len(data) + len(padding))
    alone = struct.pack(f"{order}H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + b"\0" * 4

    def pixels() -> np.ndarray:
        return _pixels(b"".join([data[:4], moved, data[8:], padding, alone]))

    return OpenedImage(width, height, pixels, orientation=orientation_of(data))


def _storage_entries(data: bytes, order: str) -> tuple[dict[int, bytes], dict[int, int]]:
    """The first directory's entries of storage tags, and their first or only values where they are short."""
    (directory,) = struct.unpack_from(f"{order}L", data, 4)
    (n_entries,) = struct.unpack_from(f"{order}H", data, directory)
    entries: dict[int, bytes] = {}
    numbers: dict[int, int] = {}
    present: set[int] = set()
    n_bytes, is_thumbnail = 0, False
    for at in range(directory + 2, directory + 2 + 12 * n_entries, 12):
        tag, kind, count, offset = struct.unpack_from(f"{order}HHLL", data, at)
        present.add(tag)
        is_thumbnail |= tag == _SUBFILE_TYPE and offset & 1 == 1
        if tag not in _STORAGE_TAGS or tag in entries or kind not in _TYPE_BYTES:
            continue
        size = count * _TYPE_BYTES[kind]
        n_bytes += size
        if (
            not 1 <= count <= MAX_PARTS
            # Pillow would warn; bytes count as one value.
            or (count > 1 and TiffTags.lookup(tag).length == 1 and kind not in (1, 7))
            or (size > 4 and offset + size > len(data))
            or n_bytes > len(data)
        ):
            msg = f"tag {tag} holds {count} values"
            raise ValueError(msg)
        entries[tag] = data[at : at + 12]
        numbers[tag] = struct.unpack_from(f"{order}H", data, at + 8)[0] if kind == 3 else offset
    # The first page of a raw file is a thumbnail, which would pass for the photo.
    if _DNG_VERSION in present or data[8:10] == b"CR" or (is_thumbnail and _SUB_PAGES in present):
        msg = "a camera's raw file, which is not read"
        raise ValueError(msg)
    return entries, numbers


def _pixels(clean: bytes) -> np.ndarray:
    image = TiffImageFile(io.BytesIO(clean))
    # Strips may be listed over and over, each to be decoded. Eight: the most planes Pillow reads.
    boxes = [tile.extents or (0, 0, 0, 0) for tile in image.tile]
    if sum((right - left) * (bottom - top) for left, top, right, bottom in boxes) > 8 * image.width * image.height:
        msg = "its strips overlap"
        raise ValueError(msg)
    raw_modes = {tile.args[0] if isinstance(tile.args, tuple) else tile.args for tile in image.tile}
    if raw_modes <= {"RGB;16L", "RGB;16B", "RGB;16N"}:
        return _deep_colour(image, clean)
    return to_rgb(image)


def _deep_colour(image: TiffImageFile, clean: bytes) -> np.ndarray:
    """RGB of 16 bits, of which Pillow gives either byte: the high one if it is told the file's order, else the
    low one.
    """
    high = to_rgb(image)
    if not needs_low_bytes(high):
        return high
    image = TiffImageFile(io.BytesIO(clean))
    native = "L" if sys.byteorder == "little" else "B"
    for number, tile in enumerate(image.tile):
        args = tuple(tile.args or ())
        raw_mode = str(args[0])
        order = raw_mode[-1].replace("N", native)
        image.tile[number] = tile._replace(args=(raw_mode[:-1] + ("B" if order == "L" else "L"), *args[1:]))
    return to_8_bits(join_bytes(high, to_rgb(image)))
