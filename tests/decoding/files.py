"""Pictures and files for tests, written byte by byte where no library writes them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 33, 40


def smooth_picture() -> np.ndarray:
    """Smooth, so that lossy formats keep it, and unlike itself under any turn or mirroring."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    channels = (255 * x / (WIDTH - 1), 255 * y / (HEIGHT - 1), 128 + 100 * np.sin(x / 7 + y / 11))
    return np.stack(channels, -1).round().astype(np.uint8)


PICTURE = smooth_picture()
RGB = Image.fromarray(PICTURE)
GREY = PICTURE[:, :, 0]
ALPHA = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
DEEP = np.linspace(0, 65_535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)


def save(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, *extra: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG from its unfiltered rows (without filter bytes where there are none)."""
    header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + pixels + chunk(b"IEND", b"")


def filtered(rows: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in rows)


def tiff(tags: dict[int, tuple[int, list[int]]], pixels: bytes, *, order: str = "<") -> bytes:
    """A TIFF of one page whose pixels lie from byte 8; `tags` are {tag: (3 for SHORT or 4 for LONG, values)}."""
    data = pixels + b"\0" * (len(pixels) % 2)
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{'HL'[kind - 3]}", *values)
        if len(packed) > 4:
            place = struct.pack(f"{order}L", 8 + len(data))
            data += packed + b"\0" * (len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHL", tag, kind, len(values)) + place
    directory = struct.pack(f"{order}H", len(tags)) + entries + b"\0" * 4
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8 + len(data))
    return start + data + directory


def tiff_of(array: np.ndarray, *, order: str = "<", sample_format: int = 1, bits: int | None = None, **tags) -> bytes:
    """An uncompressed TIFF of an array [row, column] or [row, column, channel]."""
    height, width = array.shape[:2]
    n_channels = array.shape[2] if array.ndim == 3 else 1
    pixels = array.astype(array.dtype.newbyteorder(order)).tobytes()
    base = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits or 8 * array.itemsize] * n_channels),
        259: (3, [1]),
        262: (3, [{1: 1, 2: 1, 3: 2, 4: 5}[n_channels]]),
        273: (4, [8]),
        277: (3, [n_channels]),
        278: (4, [height]),
        279: (4, [len(pixels)]),
        339: (3, [sample_format] * n_channels),
    }
    return tiff(base | {int(tag[1:]): value for tag, value in tags.items()}, pixels, order=order)


def exif(orientation: int, order: str = "<") -> bytes:
    return tiff({274: (3, [orientation])}, b"", order=order)


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def grey3(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[:, :, None], 3, axis=2)


def assert_pixels(image: np.ndarray, expected: np.ndarray, *, tolerance: float = 0.0) -> None:
    assert image.shape == expected.shape
    assert image.dtype == np.uint8
    assert np.abs(image - expected.astype(float)).max() <= tolerance


def gif(*frames: bytes, width: int = 2, height: int = 1) -> bytes:
    black_red = b"\0\0\0\xff\0\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + black_red + b"".join(frames) + b";"


def gif_frame(left: int = 0, top: int = 0, width: int = 2, height: int = 1) -> bytes:
    # Codes of 3 bits: clear, 0, 1, end.
    return b"," + struct.pack("<HHHHB", left, top, width, height, 0) + b"\2\2\x44\x0a\0"


# What the stored row 0 and column 0 are in the upright picture (EXIF 2.3, tag 274).
EDGES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored_as(upright: np.ndarray, orientation: int) -> np.ndarray:
    row_0, column_0 = EDGES[orientation]
    backwards = {"bottom", "right"}
    rows, columns = (-1 if row_0 in backwards else 1), (-1 if column_0 in backwards else 1)
    turned = upright if row_0 in {"top", "bottom"} else upright.transpose(1, 0, 2)
    return turned[::rows, ::columns]


BAD_EXIF = {
    "empty": b"",
    "no-tiff": b"nothing of the kind",
    "cut": exif(6)[:12],
    "directory-outside": b"II*\0" + struct.pack("<L", 2**31),
    "a-million-entries": b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 30,
    "orientation-9": exif(9),
    "orientation-twice": tiff({274: (3, [6, 6])}, b""),
    "orientation-long": tiff({274: (4, [6])}, b""),
    # Tags whose data lie outside: Pillow would warn.
    "tag-outside": b"II*\0\x08\0\0\0\2\0" + struct.pack("<HHLLHHLL", 271, 2, 10**6, 99, 282, 5, 1, 10**9) + b"\0" * 4,
}


def bomb(n_bytes: int) -> bytes:
    """So many zeros, deflated."""
    deflate = zlib.compressobj(9)
    return b"".join(deflate.compress(bytes(2**20)) for _ in range(n_bytes >> 20)) + deflate.flush()
