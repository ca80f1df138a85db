"""The data set of drawn animals, and the correspondences between them.

Keypoints and correspondences are computed, not estimated: a ray through a pixel names the point of an animal that is
seen there, the affine maps of another animal's parts say where that point is in its picture, and a second ray whether
anything hides it. Nothing is learnt from these drawings about photos.
"""

import hashlib
import io
import itertools
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.datasets.toy.body import species_of
from corrcore.datasets.toy.camera import random_scene
from corrcore.datasets.toy.keypoints import keypoint_places
from corrcore.datasets.toy.render import draw
from corrcore.datasets.toy.scene import Scene

CATEGORIES = ("toy cat", "toy cow")
TITLE = "Toy animals (drawn, not photographed)"
VERSION = "1"  # of the drawings and their keypoints; a test asks for another when they change


def load(n_train: int = 60, n_val: int = 24, seed: int = 0) -> KeypointDataset:
    """As many drawn animals of each category, each alone in its picture; others with every `seed`.

    Animal number n of a split is the same however many there are. Keypoints are named as those of PASCAL VOC's animals;
    left and right are the animal's. They are points of its surface, NaN where that is turned away or hidden. Pictures
    are drawn when they are loaded.

    >>> dataset = load(n_train=2, n_val=1)
    >>> cats = dataset.instances("toy cat", "train")
    >>> correspondence(cats[0], cats[1]).shape[:2] == cats[0].photo.load().shape[:2]
    True
    """
    for name, value, least in (("n_train", n_train, 1), ("n_val", n_val, 1), ("seed", seed, 0)):
        if value < least:
            msg = f"{name} must be at least {least}; got {value}."
            raise ValueError(msg)
    recipe = f"{VERSION} {n_train} {n_val} {seed}"
    return KeypointDataset(
        name="toy",
        title=TITLE,
        digest=hashlib.sha256(recipe.encode()).hexdigest(),
        synthetic=True,
        keypoint_names=dict.fromkeys(CATEGORIES, tuple(keypoint_places("cat"))),
        splits=_Splits({"train": n_train, "val": n_val}, seed),
        left_out={},
    )


class _Splits(Mapping[tuple[str, str], Sequence[Instance]]):
    """So many animals by split, of every category; where their keypoints are is computed when they are asked for."""

    def __init__(self, counts: Mapping[str, int], seed: int) -> None:
        self._counts, self._seed = dict(counts), seed
        self._made: dict[tuple[str, str], list[Instance]] = {}

    def __getitem__(self, which: tuple[str, str]) -> Sequence[Instance]:
        if which not in list(self):
            raise KeyError(which)
        with _MAKING:  # every thread is given the same objects
            if which not in self._made:
                numbers = range(self._counts[which[1]])
                self._made[which] = [_instance(*which, number, self._seed) for number in numbers]
            return self._made[which]

    def __contains__(self, which: object) -> bool:
        return which in list(self)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return itertools.product(CATEGORIES, self._counts)

    def __len__(self) -> int:
        return len(CATEGORIES) * len(self._counts)


_MAKING = threading.Lock()


def correspondence(source: Instance, target: Instance) -> Float[np.ndarray, "height width 2"]:
    """For every pixel of the source's picture the point (x, y) of the target's that shows the same point of the animal.

    NaN where the source shows background, or the target does not show that point: it is turned away, or hidden by
    another part. Exact but for rounding. Raises ValueError for instances that are not drawn here, or not of one
    category.
    """
    scenes = []
    for name, instance in (("source", source), ("target", target)):
        if not isinstance(instance.photo, Drawing):
            msg = (
                f"{name} must be an instance of the toy data set, whose correspondences are known; got {instance.name}."
            )
            raise ValueError(msg)  # noqa: TRY004 - the type of an instance is right
        scenes.append(instance.photo.scene)
    if source.category != target.category:
        msg = f"source and target must be of one category; got {source.category} and {target.category}."
        raise ValueError(msg)
    own, other = scenes
    width, height = own.size
    places = np.stack(np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float)), axis=-1)
    part, solid, _ = own.meet(places.reshape(-1, 2))
    there = np.flatnonzero(part >= 0)
    result = np.full((height * width, 2), np.nan)
    result[there] = other.find(part[there], solid[there])
    return result.reshape(height, width, 2)


@dataclass(frozen=True)
class Drawing:
    """A drawn picture: everything in it follows from its `key`."""

    name: str
    category: str
    key: tuple[int, ...]

    @property
    def stamp(self) -> tuple[str, tuple[int, ...]]:
        """Changes with the key and with the way drawings are made."""
        return VERSION, self.key

    @property
    def scene(self) -> Scene:
        """The animal before its camera."""
        return _scene(self)

    def load(self) -> UInt8[np.ndarray, "height width 3"]:
        """The picture, drawn when it is first asked for."""
        return np.array(Image.open(io.BytesIO(_picture(self))))


@lru_cache(maxsize=512)
def _scene(drawing: Drawing) -> Scene:
    return random_scene(drawing.category, np.random.default_rng([*drawing.key, 0]))


@lru_cache(maxsize=170)  # all of both categories, 18 MB so: to draw one takes twenty times as long as to read it
def _picture(drawing: Drawing) -> bytes:
    """The picture as a lossless WebP."""
    file = io.BytesIO()
    picture = draw(drawing.scene, drawing.category, np.random.default_rng([*drawing.key, 1]))
    Image.fromarray(picture).save(file, format="WEBP", lossless=True, method=0)
    return file.getvalue()


def _instance(category: str, split: str, number: int, seed: int) -> Instance:
    key = (seed, zlib.crc32(f"{category} {split}".encode()), number)
    name = f"{category.replace(' ', '-')}-{split}-{number:03d}"
    photo = Drawing(f"{name}.png", category, key)
    scene = photo.scene
    places = keypoint_places(species_of(category)).values()
    part = np.array([scene.names.index(name) for name, _ in places])
    keypoints = scene.find(part, np.array([place for _, place in places]))
    return Instance(name, category, photo, scene.box, keypoints)
