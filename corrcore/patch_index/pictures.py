"""The pictures of an index, and crops of them cut from one file of pixels without decoding anything."""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from corrcore.features import Image

_PIXELS_AT_ONCE = 1 << 22  # gathered when crops are cut


class PictureTable:
    """Every photo at every scale, perhaps mirrored: row ``i`` of the arrays is one picture.

    `photo_of` is the photo's number. A mirrored picture is cut from the pixels of the one before it.
    """

    def __init__(self, pictures: Float[np.ndarray, "pictures 4"], counts: Int[np.ndarray, " photos"]) -> None:
        """Of `files.Picture`, in order, as many of each photo as `counts` says."""
        scales, mirrored, widths, heights = pictures.T
        self.photo_of = np.repeat(np.arange(len(counts)), counts)
        self.scales, self.mirrored = scales.copy(), mirrored.astype(bool)
        self.widths, self.heights = widths.astype(np.int64), heights.astype(np.int64)
        stored = np.where(self.mirrored, 0, self.widths * self.heights)
        self.n_pixels = int(stored.sum())
        self._first_pixel = np.cumsum(stored) - np.maximum(stored, np.roll(stored, 1) * self.mirrored)

    def __len__(self) -> int:
        return len(self.photo_of)

    def largest(self, photo: int) -> int:
        """The picture of a photo at its largest scale, not mirrored."""
        first, stop = np.searchsorted(self.photo_of, (photo, photo + 1))
        pictures = first + np.flatnonzero(~self.mirrored[first:stop])
        return int(pictures[np.argmax(self.scales[pictures])])

    def pixels(self, picture: int, file: Shaped[np.ndarray, "pixels 3"]) -> Image:
        """The pixels of one picture."""
        width, height, first = self.widths[picture], self.heights[picture], self._first_pixel[picture]
        pixels = np.array(file[first : first + width * height]).reshape(height, width, 3)
        return np.ascontiguousarray(pixels[:, ::-1]) if self.mirrored[picture] else pixels

    def cut(
        self,
        pictures: Int[np.ndarray, " crops"],
        left: Int[np.ndarray, " crops"],
        top: Int[np.ndarray, " crops"],
        side: int,
        file: Shaped[np.ndarray, "pixels 3"],
    ) -> tuple[UInt8[np.ndarray, "crops side side 3"], Bool[np.ndarray, "crops side side"]]:
        """Squares of pictures, and which of their pixels lie inside; those outside are black."""
        width, height = self.widths[pictures, None], self.heights[pictures, None]
        x, y = left[:, None] + np.arange(side), top[:, None] + np.arange(side)
        valid = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
        # A row of a crop is one run of the file, copied whole. Runs that leave their picture bring neighbouring
        # pixels along, which are not valid. Mirrored pictures are cut at the mirrored place and turned round.
        mirrored = self.mirrored[pictures]
        first_column = np.where(mirrored, width[:, 0] - x[:, -1] - 1, x[:, 0])
        starts = (self._first_pixel[pictures] + first_column)[:, None] + np.clip(y, 0, height - 1) * width
        whole = np.all(valid, axis=(1, 2))
        crops = np.empty((len(pictures), side, side, 3), np.uint8)
        step = max(1, _PIXELS_AT_ONCE // side**2)
        for begin in range(0, len(pictures), step):
            part = slice(begin, begin + step)
            crops[part] = _runs(starts[part], side, file)
            turned, cut = begin + np.flatnonzero(mirrored[part]), begin + np.flatnonzero(~whole[part])
            crops[turned] = crops[turned, :, ::-1]
            crops[cut] *= valid[cut, ..., None]
        return crops, valid


def _runs(
    starts: Int[np.ndarray, "n rows"], length: int, file: Shaped[np.ndarray, "pixels 3"]
) -> UInt8[np.ndarray, "n rows length 3"]:
    """Runs of pixels of the file; what lies before its first or after its last pixel is anything."""
    n_pixels = len(file)
    if length > n_pixels:
        flat = np.clip(starts[..., None] + np.arange(length), 0, n_pixels - 1)
        return file[flat]
    within = np.clip(starts, 0, n_pixels - length)
    windows = np.lib.stride_tricks.sliding_window_view(file.reshape(-1), 3 * length)
    runs = windows[3 * within].reshape(*starts.shape, length, 3)
    for row in zip(*np.nonzero(within != starts), strict=True):
        runs[row] = np.roll(runs[row], within[row] - starts[row], axis=0)
    return runs
