"""Copies of a photo, known by what they show: enlarged, shrunk, recompressed or mirrored.

A fingerprint is the signs of a photo's lowest frequencies: the discrete cosine transform of its grey levels at
32 x 32 px, its first 16 x 16 coefficients without the mean, as Zauner (2010, "Implementation and benchmarking of
perceptual image hash functions") has it with 8 x 8. Mirroring a photo flips the signs of the odd horizontal
frequencies, so a mirrored copy is found without a fingerprint of its own.

Of the 1,253 photos of PASCAL VOC 2011 that have keypoints, no two differ in fewer than 82 of the 255 bits, as they are
or mirrored: at the threshold of 48 bits there is no false alarm among 784,378 pairs. Of 209 of them shrunk to a fifth,
doubled, mirrored, darkened, or written as JPEG of quality 10, no copy differs in more than 23 bits. To measure the
first again: `CORRCORE_DATA=... pytest tests/patch_index/test_copies.py`. Parts of a photo, and turned ones, are
other photos.
"""

import numpy as np
from jaxtyping import Bool, Int, UInt8
from scipy.fft import dctn

from corrcore import images
from corrcore.features import Image

MAX_DISTANCE = 48  # of 255 bits, up to which a photo counts as a copy of another
N_BYTES = 32
_SIDE, _FREQUENCIES = 32, 16
_FLAT = 2.0  # grey levels of standard deviation below which the signs are noise

Fingerprint = UInt8[np.ndarray, "32"]


def fingerprint(image: Image) -> Fingerprint | None:
    """The signs of a photo's low frequencies, a bit each; None for a picture of nearly one grey level."""
    grey = images.grey(images.resize_to(image, height=_SIDE, width=_SIDE))
    if grey.std() < _FLAT:
        return None
    positive = np.asarray(dctn(grey, norm="ortho"))[:_FREQUENCIES, :_FREQUENCIES] > 0
    positive[0, 0] = False  # the mean, which brightness changes
    return np.packbits(positive)


def to_hex(found: Fingerprint | None) -> str:
    """A fingerprint as text; empty for none."""
    return "" if found is None else found.tobytes().hex()


def from_hex(text: str) -> Fingerprint | None:
    """The inverse of `to_hex`."""
    return np.frombuffer(bytes.fromhex(text), np.uint8) if text else None


def distances(first: Fingerprint, others: UInt8[np.ndarray, "photos 32"]) -> Int[np.ndarray, " photos"]:
    """In how many bits a fingerprint differs from others, or its mirror image's does where that is less."""
    return np.minimum(_count(first, others), _count(first ^ _MIRRORED, others))


def _count(first: Fingerprint, others: UInt8[np.ndarray, "photos 32"]) -> Int[np.ndarray, " photos"]:
    return np.bitwise_count(first ^ others).sum(axis=1, dtype=np.int64)


def _mirrored_bits() -> Bool[np.ndarray, "rows columns"]:
    odd = np.arange(_FREQUENCIES) % 2 == 1
    return np.broadcast_to(odd, (_FREQUENCIES, _FREQUENCIES))


_MIRRORED = np.packbits(_mirrored_bits())
