"""From Pillow's modes to upright RGB of 8 bits."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_SAMPLE_FORMAT = 258, 262, 339

# What cameras and scanners store in 16 bits without scaling it, and what is nearly black if that is overlooked.
_USUAL_DEPTHS = (10, 12)


@dataclass(frozen=True)
class OpenedImage:
    """A picture whose size is known and whose pixels are still to be decoded: [row, column, RGB], as they are
    stored.
    """

    width: int
    height: int
    pixels: Callable[[], np.ndarray]
    orientation: int = 1

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height once the orientation is undone."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)

    def decode(self) -> UInt8[np.ndarray, "height width 3"]:
        """The upright picture, in memory of its own."""
        pixels = self.pixels()
        if pixels.shape != (self.height, self.width, 3):
            msg = f"its header says {self.width} x {self.height} pixels, and its picture has another size"
            raise ValueError(msg)
        return np.array(upright(pixels, self.orientation), order="C")


def opened(image: ImageFile.ImageFile, exif: bytes = b"") -> OpenedImage:
    """An image that Pillow has opened."""
    return OpenedImage(*image.size, pixels=lambda: to_rgb(image), orientation=orientation_of(exif))


def to_rgb(image: ImageFile.ImageFile, *, significant_bits: int | None = None) -> np.ndarray:
    """Decode, and bring any of Pillow's modes to RGB by the rules in `decode`."""
    image.load()
    if image.mode.startswith(("I", "F")):
        return np.broadcast_to(_grey_of_deep(image, significant_bits)[:, :, None], (image.height, image.width, 3))
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.asarray(image)
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    # Straight from La to RGBA Pillow drops the alpha.
    return over_white((image.convert("LA") if image.mode == "La" else image).convert("RGBA"))


def over_white(rgba: Image.Image) -> np.ndarray:
    """An RGBA image composited over white."""
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba)
    return np.asarray(white)


def _grey_of_deep(image: ImageFile.ImageFile, significant_bits: int | None) -> np.ndarray:
    """Grey of more than 8 bits as 0-255."""
    values = np.asarray(image)
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    # Pillow turns "white is zero" round for 8 bits, not for more.
    is_inverted = tags.get(TIFF_PHOTOMETRIC) == 0
    if image.mode.startswith("I;16"):
        bits = tags.get(TIFF_BITS, (16,))[0]
        if bits < 16:
            grey = (values >> (bits - 8)).astype(np.uint8)
        else:  # of inverted samples the maximum is black, and says nothing of white
            grey = to_8_bits(values.astype(np.uint16), 16 if is_inverted else significant_bits)
    else:
        if image.mode == "I" and tags.get(TIFF_SAMPLE_FORMAT, (1,))[0] == 1:
            # Pillow reads unsigned numbers of 32 bits as signed ones.
            values = values.view(np.uint32)
        values = values.astype(np.float32)
        finite = np.isfinite(values)
        low = float(values.min(where=finite, initial=0.0))
        high = float(values.max(where=finite, initial=1.0))
        scale = 255 / (high - low)
        levels = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        grey = np.rint(levels * scale - low * scale).clip(0, 255).astype(np.uint8)
    return 255 - grey if is_inverted else grey


def to_8_bits(
    samples: UInt16[np.ndarray, "*shape"], significant_bits: int | None = None
) -> UInt8[np.ndarray, "*shape"]:
    """The upper 8 of the bits that samples of 16 bits make use of.

    All 16 are used, unless samples were stored without being scaled to 16 bits. That is so where the file
    declares fewer `significant_bits`, no sample is larger than these can be, and some are finer than they would
    be after scaling. Where it declares nothing, it is so if the greatest sample is exactly the white of 10 or
    12 bits: a picture that is merely dark hardly ever ends just there.
    """
    largest = int(samples.max(initial=0))
    if significant_bits is None:
        bits = next((depth for depth in _USUAL_DEPTHS if largest == 2**depth - 1), 16)
    else:
        bits = max(significant_bits, 8)
        is_scaled = largest >= 2**bits or not (samples % 2 ** (16 - bits)).any()
        bits = 16 if is_scaled else bits
    return (samples >> (bits - 8)).astype(np.uint8)


def needs_low_bytes(high: UInt8[np.ndarray, "*shape"]) -> bool:
    """Whether samples may be of fewer than 16 bits, judged by their high bytes: only then do the low ones matter."""
    return int(high.max(initial=0)) < 128


def join_bytes(high: UInt8[np.ndarray, "*shape"], low: UInt8[np.ndarray, "*shape"]) -> UInt16[np.ndarray, "*shape"]:
    """Samples of 16 bits."""
    return high.astype(np.uint16) << 8 | low


def orientation_of(exif: bytes) -> int:
    """EXIF tag 0x0112 of a block laid out as TIFF: 1 to 8, or 1 where it is missing or makes no sense."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}L", exif, 4)
        (n_entries,) = struct.unpack_from(f"{order}H", exif, directory)
        for at in range(directory + 2, directory + 2 + 12 * n_entries, 12):
            tag, kind, count, value = struct.unpack_from(f"{order}HHLH", exif, at)
            if tag == 0x0112:
                return value if (kind, count) == (3, 1) and 1 <= value <= 8 else 1
    except struct.error:
        # Cut short.
        pass
    return 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation: 2-4 turn or mirror about the axes, 5-8 also swap rows and columns."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    # After the swap: which of the rows, the columns run backwards.
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(orientation, (1, 1))
    return pixels[::rows, ::columns]
