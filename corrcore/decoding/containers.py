"""JPEG, PNG, WebP, AVIF, GIF and BMP: their sizes, and the parts that hold pixels."""

import io
import re
import struct

import numpy as np
from PIL import AvifImagePlugin, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from corrcore.decoding.limits import MAX_PARTS
from corrcore.decoding.pixels import (
    OpenedImage,
    join_bytes,
    needs_low_bytes,
    opened,
    orientation_of,
    over_white,
    to_8_bits,
    to_rgb,
)

# Each scan of a progressive JPEG passes over the whole picture, however few bytes it takes. Encoders write about ten.
_MAX_SCANS = 50

# Reserved for extensions: Pillow looks for markers in what they hold.
_EXTENSIONS = frozenset({0xC8, *range(0xF0, 0xFE)})

# A marker with its code; `FF 00` and the restart markers belong to the entropy-coded data, `FF FF` is padding.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)


def open_jpeg(data: bytes) -> OpenedImage:
    """Keep the tables, frames and scans up to the first end of image, and of APPn only JFIF (0) and Adobe (14).

    EXIF counts before the first scan, so all but the pixels can be known from the file's beginning.
    """
    kept, exif, at, n_scans = [data[:2]], b"", 2, 0
    for _ in range(MAX_PARTS):
        marker = _JPEG_MARKER.search(data, at)
        if n_scans:
            # What lies between two markers is the picture; before the first scan it is junk.
            kept.append(data[at : marker.start() if marker else None])
        if marker is None:
            break
        code, body = marker[1][0], marker.end()
        if code == 0xD9:
            kept.append(marker[0])
            break
        at = body
        if code not in (0x01, 0xD8):  # which stand alone; the others have a length, of which its two bytes are a part
            length = int.from_bytes(data[body : body + 2])
            if length < 2:
                msg = f"a segment of {length} bytes"
                raise ValueError(msg)
            at += length
        if code == 0xE1 and not exif and not n_scans and data.startswith(b"Exif\0\0", body + 2):
            exif = data[body + 2 : at]
        elif code in (0xE0, 0xEE) or not (0xE0 <= code <= 0xEF or code == 0xFE or code in _EXTENSIONS):
            kept.append(data[marker.start() : at])
        n_scans += code == 0xDA
        if n_scans > _MAX_SCANS:
            msg = f"more than {_MAX_SCANS} scans"
            raise ValueError(msg)
    else:
        msg = f"more than {MAX_PARTS:,} segments"
        raise ValueError(msg)
    return opened(JpegImageFile(io.BytesIO(b"".join(kept))), exif)


def open_png(data: bytes) -> OpenedImage:
    """Keep the chunks of the one still picture."""
    kept, exif, significant, at = [data[:8]], b"", b"", 8
    wanted = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
    if data[24:25] == b"\x10":
        # Pillow would compare a key of 16 bits with samples of 8.
        wanted.remove(b"tRNS")
    for _ in range(MAX_PARTS):
        kind = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if kind in wanted:
            kept.append(data[at:end])
        elif kind == b"eXIf":
            exif = data[at + 8 : end - 4]
        elif kind == b"sBIT":
            significant = data[at + 8 : end - 4]
        if kind == b"IEND" or end >= len(data):
            break
        at = end
    else:
        msg = f"more than {MAX_PARTS:,} chunks"
        raise ValueError(msg)
    clean = b"".join(kept)
    image = PngImageFile(io.BytesIO(clean))

    def pixels() -> np.ndarray:
        if image.tile and image.tile[0].args in _DEEP_RAW_MODES:
            return _deep_colour(clean, str(image.tile[0].args), significant)
        return to_rgb(image, significant_bits=max(significant, default=None))

    return OpenedImage(*image.size, pixels=pixels, orientation=orientation_of(exif))


# Pillow gives the high bytes of 16 bits alone, and the low ones if it is told the other order. Grey with alpha has as
# many bytes a pixel as RGBA of 8 bits, and comes whole as that.
_DEEP_RAW_MODES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}


def _deep_colour(clean: bytes, raw_mode: str, significant: bytes) -> np.ndarray:
    """Colour, or grey with alpha, of 16 bits per sample."""

    def load(mode: str) -> np.ndarray:
        image = PngImageFile(io.BytesIO(clean))
        image.tile[0] = image.tile[0]._replace(args=mode)
        image.load()
        return np.asarray(image)

    if raw_mode == "LA;16B":
        both = load("RGBA")
        high, low = both[:, :, [0, 0, 0, 2]], both[:, :, [1, 1, 1, 3]]
    else:
        high = load(raw_mode)
        low = load(_DEEP_RAW_MODES[raw_mode]) if needs_low_bytes(high[:, :, :3]) else None
    if low is not None:
        samples = join_bytes(high, low)
        n_colours = 1 if raw_mode == "LA;16B" else 3
        colour_bits, alpha_bits = (
            max(part, default=None) for part in (significant[:n_colours], significant[n_colours:])
        )
        high = np.dstack([to_8_bits(samples[:, :, :3], colour_bits), to_8_bits(samples[:, :, 3:], alpha_bits)])
    return over_white(Image.fromarray(high)) if high.shape[2] == 4 else high


def open_webp(data: bytes) -> OpenedImage:
    """Read the canvas' size and the EXIF chunk here: Pillow takes memory for the canvas as soon as it opens a file."""
    kind, exif, at = data[12:16], b"", 12
    if kind == b"VP8X":
        flags = data[20]
        width, height = (1 + int.from_bytes(data[start : start + 3], "little") for start in (24, 27))
        for _ in range(MAX_PARTS):
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            if data[at : at + 4] == b"EXIF" and flags & 8:
                exif = data[at + 8 : at + 8 + size]
                break
            at += 8 + size + size % 2
            if at >= len(data):
                break
        else:
            msg = f"more than {MAX_PARTS:,} chunks"
            raise ValueError(msg)
    elif kind == b"VP8L" and data[20:21] == b"\x2f":
        (bits,) = struct.unpack_from("<L", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        msg = "its header makes no sense"
        raise ValueError(msg)
    return OpenedImage(
        width, height, pixels=lambda: to_rgb(WebPImageFile(io.BytesIO(data))), orientation=orientation_of(exif)
    )


def open_avif(data: bytes) -> OpenedImage:
    """Rename EXIF items: Pillow would parse them, while AVIF's own rotation and mirroring say all that counts."""
    parts, at = [], 0
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        end = at + size if size >= 8 else len(data)
        box = data[at:end]
        parts.append(box.replace(b"Exif", b"none") if kind in (b"meta", b"moov") else box)
        at = end
        if len(parts) > MAX_PARTS:
            msg = f"more than {MAX_PARTS:,} boxes"
            raise ValueError(msg)
    image = AvifImagePlugin.AvifImageFile(io.BytesIO(b"".join(parts)))
    return opened(image, image.info.get("exif", b""))


def open_gif(data: bytes) -> OpenedImage:
    """Keep the header and the first frame with its transparency, and find how far that frame reaches.

    Pillow widens the canvas to hold a frame that sticks out, before that size could be checked.
    """
    canvas_width, canvas_height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    header, control = data[:at], b""
    in_extension = False
    for _ in range(MAX_PARTS):
        byte = data[at]
        if in_extension:
            # A sub-block of so many bytes; an empty one ends the extension.
            at += 1 + byte
            in_extension = byte > 0
        elif byte == ord("!"):
            if data[at + 1] == 0xF9 and data[at + 2] == 4 and data[at + 7] == 0:
                control = data[at : at + 8]
            at += 2
            in_extension = True
        elif byte == ord(","):
            break
        elif byte == ord(";"):
            msg = "no picture in it"
            raise ValueError(msg)
        else:
            at += 1
    else:
        msg = f"more than {MAX_PARTS:,} blocks"
        raise ValueError(msg)
    left, top, width, height = struct.unpack_from("<HHHH", data, at + 1)
    return OpenedImage(
        max(canvas_width, left + width),
        max(canvas_height, top + height),
        pixels=lambda: to_rgb(GifImageFile(io.BytesIO(header + control + data[at:]))),
    )


def open_bmp(data: bytes) -> OpenedImage:
    """Open uncompressed pictures only."""
    image = BmpImageFile(io.BytesIO(data))
    if image.tile[0].codec_name == "bmp_rle":
        # Pillow unpacks them in Python, a pixel at a time: two kilobytes can take six seconds.
        msg = "run-length coded BMP is not read"
        raise ValueError(msg)
    return opened(image)
