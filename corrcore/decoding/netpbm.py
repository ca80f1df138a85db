"""Binary PBM, PGM and PPM, read here: Pillow goes through most of them in Python, pixel by pixel."""

import re

import numpy as np

from corrcore.decoding.pixels import OpenedImage

_HEADER = re.compile(
    rb"""P(?:(4)|[56])
    (?:\s|\#[^\r\n]*[\r\n])+ (\d{1,10})           # width
    (?:\s|\#[^\r\n]*[\r\n])+ (\d{1,10})           # height
    (?(1)|(?:\s|\#[^\r\n]*[\r\n])+ (\d{1,5}))\s   # the value of white, but for bitmaps""",
    re.VERBOSE,
)


def open_netpbm(data: bytes) -> OpenedImage:
    """Read the header of P4, P5 or P6."""
    header = _HEADER.match(data, 0, 4096)
    if header is None:
        msg = "its header makes no sense"
        raise ValueError(msg)
    width, height = int(header[2]), int(header[3])
    white = int(header[4] or 1)
    n_channels = 3 if data[1:2] == b"6" else 1
    if not 1 <= white <= 65_535:
        msg = f"maximum {white} is not between 1 and 65535"
        raise ValueError(msg)

    def pixels() -> np.ndarray:
        if header[1]:
            row_bytes = (width + 7) // 8
            packed = np.frombuffer(data, np.uint8, height * row_bytes, header.end()).reshape(height, row_bytes)
            levels = 255 * (1 - np.unpackbits(packed, axis=1, count=width))[:, :, None]
        else:
            sample = np.dtype(np.uint8 if white < 256 else ">u2")
            count = height * width * n_channels
            samples = np.frombuffer(data, sample, count, header.end()).reshape(height, width, n_channels)
            to_level = (np.arange(2 ** (8 * sample.itemsize)) * 255 + white // 2) // white
            levels = np.minimum(to_level, 255).astype(np.uint8)[samples]
        return np.broadcast_to(levels, (height, width, 3))

    return OpenedImage(width, height, pixels)
