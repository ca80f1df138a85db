"""The size of a photo, from its header."""

import os

from PIL import Image

from corrcore import images

_ORIENTATION = 0x0112


def read_size(
    source: str | os.PathLike, *, upright: bool = True, max_pixels: int = 25_000_000, max_bytes: int = 20 * 2**20
) -> tuple[int, int]:
    """Width and height of a picture as `images.decode` gives it, or as it is stored. Raises ImageError as it does."""
    name = images.display_name(os.fspath(source))
    try:
        if os.stat(source).st_size > max_bytes:
            msg = f"'{name}' is larger than the {max_bytes / 2**20:.1f} MiB accepted; choose or save a smaller file."
            raise images.ImageError(msg)
        with Image.open(source) as image:
            width, height = image.size
            turned = upright and image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        msg = f"'{name}' cannot be read as a picture ({error}); put it there again."
        raise images.ImageError(msg) from error
    if not 0 < width * height <= max_pixels:
        msg = f"'{name}' is {width:,} x {height:,} pixels; accepted are 1 to {max_pixels:,}; save it smaller."
        raise images.ImageError(msg)
    return (height, width) if turned else (width, height)
