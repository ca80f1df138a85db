"""An extractor whose descriptors are whole numbers, the same on every machine, and photos that are in memory."""

import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from corrcore.features import Extractor, FeatureGrid, Roles
from corrcore.geometry import ReceptiveField
from corrcore.store import write_atomically
from tests.conftest import ArrayPhoto, smooth_noise


class Means(Extractor):
    """The mean colours of squares of 8 px, rounded down, less 100. `l2` is `l1` by another name."""

    name = "means"
    digest = "0" * 32
    layers = ("l1", "l2")
    global_layers = ()
    anywhere = False
    device = torch.device("cpu")
    roles = Roles(("l1",), "l1", ("l1",), "l1", "l1", "l1")

    def receptive_field(self, layer):
        if layer not in self.layers:
            msg = f"layer of means must be one of l1, l2; got {layer!r}."
            raise ValueError(msg)
        return ReceptiveField(8, 8, 3.5)

    def smallest_side(self, layer):
        return 8

    def extract_batch(self, images, layers):
        return [{layer: self._grid(image, layer) for layer in layers} for image in images]

    def _grid(self, image, layer):
        rows, columns = (side // 8 for side in image.shape[:2])
        squares = image[: 8 * rows, : 8 * columns].astype(np.int64).reshape(rows, 8, columns, 8, 3)
        means = torch.from_numpy(squares.sum(axis=(1, 3)) // 64).float() - 100
        return FeatureGrid(means, self.receptive_field(layer), (image.shape[1], image.shape[0]), layer)


@dataclass(frozen=True)
class Stamped(ArrayPhoto):
    """A photo that says what its content is."""

    stamp: str = ""


def noise_photos(n, width=120, height=90):
    return [ArrayPhoto(f"photo{number}.png", smooth_noise(width, height, number)) for number in range(n)]


class Stop(Exception):
    """What a progress raises to cancel."""


def stop_after(n_photos):
    """A progress that stops a build once so many photos are done."""

    def progress(done, text):
        if text.startswith(f"{n_photos} of ") and "checked" not in text:
            raise Stop

    return progress


def files_of(index):
    return {
        path.name: path.read_bytes() for path in index.folder.iterdir() if path.name not in ("lock", "manifest.json")
    }


@dataclass(frozen=True)
class Told(ArrayPhoto):
    """A photo that tells how often it was read, by whatever process."""

    folder: Path = Path()

    @property
    def n_read(self):
        return len(list(self.folder.glob(f"{self.name}.read.*")))

    def load(self):
        (self.folder / f"{self.name}.read.{uuid.uuid4().hex}").touch()
        return self.pixels


@dataclass(frozen=True)
class Gate(ArrayPhoto):
    """A photo that says which process reads it, and is read once it may be."""

    folder: Path = Path()

    @property
    def reader(self):
        """The process that waits for it; None while none does."""
        path = self.folder / f"{self.name}.reader"
        return int(path.read_text()) if path.exists() and not (self.folder / f"{self.name}.open").exists() else None

    def open(self):
        (self.folder / f"{self.name}.open").touch()

    def load(self):
        write_atomically(self.folder / f"{self.name}.reader", str(os.getpid()))
        for _ in range(3000):
            if (self.folder / f"{self.name}.open").exists():
                return self.pixels
            time.sleep(0.02)
        msg = f"nobody opened {self.name}"
        raise TimeoutError(msg)
