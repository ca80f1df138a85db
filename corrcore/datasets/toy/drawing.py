"""Drawn animals with exact dense correspondence, for machines without annotated photos.

An animal is a set of solid parts: balls and tapering limbs, each the affine image of a solid that is the same for all
animals of its category. A ray through a pixel meets a part in closed form, and the place where it does, in the solid's
own coordinates, names the point of the animal. The affine map of another animal says where that point is in another
picture, and a second ray whether anything hides it there. So keypoints and correspondences are computed, not
estimated. Nothing is learnt from these drawings about photos.

Animals stand in a frame of their own: x forward, y to their left, z up, the ground at 0, a trunk about 1 long.
"""

import hashlib
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image
from scipy import ndimage

from corrcore.datasets.records import BoxXYXY, Instance, KeypointDataset

Species = Literal["cat", "cow"]
Vector = Float[np.ndarray, "3"]

CATEGORIES = ("toy cat", "toy cow")
_LEGS = ("L_F", "R_F", "L_B", "R_B")
_SHARPNESS = 2  # rays a pixel, along each side
_SAME_DEPTH = 1e-6


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
    splits = {
        (category, split): [_instance(category, split, number, seed) for number in range(count)]
        for category in CATEGORIES
        for split, count in (("train", n_train), ("val", n_val))
    }
    recipe = f"{_source_digest()} {n_train} {n_val} {seed}"
    return KeypointDataset(
        name="toy",
        title="Toy animals (drawn, not photographed)",
        digest=hashlib.sha256(recipe.encode()).hexdigest(),
        synthetic=True,
        keypoint_names=dict.fromkeys(CATEGORIES, tuple(_keypoints("cat"))),
        splits=splits,
        left_out={},
    )


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
        return _source_digest(), self.key

    @cached_property
    def scene(self) -> "_Scene":
        return _scene(self.category, np.random.default_rng([*self.key, 0]))

    def load(self) -> UInt8[np.ndarray, "height width 3"]:
        return _picture(self).copy()


@lru_cache(maxsize=170)  # all of both categories, 50 MB: drawing one takes .2 s
def _picture(drawing: Drawing) -> UInt8[np.ndarray, "height width 3"]:
    return _draw(drawing.scene, drawing.category, np.random.default_rng([*drawing.key, 1]))


def _source_digest() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _instance(category: str, split: str, number: int, seed: int) -> Instance:
    key = (seed, zlib.crc32(f"{category} {split}".encode()), number)
    name = f"{category.replace(' ', '-')}-{split}-{number:03d}"
    photo = Drawing(f"{name}.png", category, key)
    scene = photo.scene
    places = _keypoints(_species(category)).values()
    part = np.array([scene.names.index(name) for name, _ in places])
    keypoints = scene.find(part, np.array([place for _, place in places]))
    return Instance(name, category, photo, scene.box, keypoints)


# Geometry: solids, what a ray meets, and where a point is seen.


@dataclass(frozen=True)
class _Part:
    """The affine image of a solid: ``centre + axes @ point``.

    The solid is the hull of the unit ball and of a ball of radius `end` at (0, 0, `length`); alone the unit ball
    where `length` is 0.
    """

    name: str
    material: str
    centre: Vector
    axes: Float[np.ndarray, "3 3"]
    length: float = 0.0
    end: float = 1.0

    @cached_property
    def inverse(self) -> Float[np.ndarray, "3 3"]:
        return np.linalg.inv(self.axes)

    def extent(self, direction: Vector) -> tuple[float, float]:
        """The least and greatest coordinate of the part along a direction."""
        first = float(direction @ self.centre)
        reach = float(np.linalg.norm(self.axes.T @ direction))
        second = first + float(direction @ self.axes[:, 2]) * self.length
        return min(first - reach, second - self.end * reach), max(first + reach, second + self.end * reach)

    def enter(self, start: Sequence[np.ndarray], ray: np.ndarray) -> np.ndarray:
        """How far along `ray` rays enter the solid, in its frame; infinite where they miss it. `start` is x, y, z."""
        x, y, z = start
        flat = x * x + y * y
        along = x * ray[0] + y * ray[1]
        square, slope, value = float(ray @ ray), along + z * ray[2], flat + z * z
        depth = _first_root(square, slope, value - 1)
        if not self.length:
            return depth
        far = _first_root(
            square, slope - self.length * ray[2], value - 2 * self.length * z + self.length**2 - self.end**2
        )
        # The cone that touches both balls: its surface has r cos + z sin = 1.
        sin = (1 - self.end) / self.length
        cos2 = 1 - sin * sin
        rest = 1 - sin * z
        side = _first_root(
            float(cos2 * (ray[0] ** 2 + ray[1] ** 2) - (sin * ray[2]) ** 2),
            cos2 * along + sin * ray[2] * rest,
            cos2 * flat - rest * rest,
        )
        at = z + np.where(np.isfinite(side), side, 0) * ray[2]
        side = np.where((at >= sin) & (at <= self.length + self.end * sin), side, np.inf)
        return np.minimum(np.minimum(depth, far), side)

    def normal(self, solid: np.ndarray) -> np.ndarray:
        """Outward unit normals, in the animal's frame, at points of the solid's surface."""
        outward = solid.copy()
        if self.length:
            sin = (1 - self.end) / self.length
            outward[..., 2] -= np.clip((solid[..., 2] - sin) / (1 - sin * sin), 0, self.length)
        normal = outward @ self.inverse.astype(solid.dtype)
        return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def _first_root(square: float, slope: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Where square t^2 + 2 slope t + value falls through 0; infinite where it does not."""
    under = slope * slope - square * value
    with np.errstate(invalid="ignore", divide="ignore"):
        root = (-slope - np.sqrt(under)) / square
    return np.where(under >= 0, root, np.inf)


@dataclass(frozen=True, eq=False)
class _Scene:
    """An animal before a camera without perspective. (x, y) = origin + scale * (right . point, -up . point)."""

    parts: Sequence[_Part]
    right: Vector
    up: Vector
    view: Vector
    scale: float
    origin: tuple[float, float]
    size: tuple[int, int]

    @property
    def names(self) -> list[str]:
        return [part.name for part in self.parts]

    def extent(self, part: _Part) -> BoxXYXY:
        """Left, top, right, bottom of a part, in pixels."""
        low, high = part.extent(self.right)
        bottom, top = part.extent(self.up)
        x, y = self.origin
        return x + self.scale * low, y - self.scale * top, x + self.scale * high, y - self.scale * bottom

    @property
    def box(self) -> BoxXYXY:
        """Outer edges of the pixels that the animal touches."""
        left, top, right, bottom = np.array([self.extent(part) for part in self.parts]).T
        first_column, first_row = math.floor(left.min() + 0.5), math.floor(top.min() + 0.5)
        last_column, last_row = math.floor(right.max() + 0.5), math.floor(bottom.max() + 0.5)
        return first_column - 0.5, first_row - 0.5, last_column + 0.5, last_row + 0.5

    def rays(self, part: _Part, x: np.ndarray, y: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The rays through pixels: where they start and their direction, in a solid's frame."""
        right, up, ray = (part.inverse @ vector for vector in (self.right, self.up, self.view))
        start = -(part.inverse @ part.centre)
        across, upward = (x - self.origin[0]) / self.scale, (self.origin[1] - y) / self.scale
        return [start[axis] + right[axis] * across + up[axis] * upward for axis in range(3)], ray

    def meet(
        self, points: Float[np.ndarray, "points 2"]
    ) -> tuple[Int[np.ndarray, " points"], Float[np.ndarray, "points 3"], Float[np.ndarray, " points"]]:
        """The part seen at each point (-1 for none), where on its solid, and how far away."""
        x, y = points.T
        seen = np.full(len(points), -1)
        solid = np.full((len(points), 3), np.nan)
        depth = np.full(len(points), np.inf)
        for number, part in enumerate(self.parts):
            left, top, right, bottom = self.extent(part)
            near = np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom))
            start, ray = self.rays(part, x[near], y[near])
            own = part.enter(start, ray)
            first = own < depth[near]
            near, own = near[first], own[first]
            depth[near], seen[near] = own, number
            solid[near] = np.stack([axis[first] for axis in start], axis=-1) + own[:, None] * ray
        return seen, solid, depth

    def find(
        self, part: Int[np.ndarray, " points"], solid: Float[np.ndarray, "points 3"]
    ) -> Float[np.ndarray, "points 2"]:
        """Where points of the solids are seen; NaN where they are not."""
        axes = np.array([one.axes for one in self.parts])
        centres = np.array([one.centre for one in self.parts])
        places = np.einsum("pij,pj->pi", axes[part], solid) + centres[part]
        x, y = self.origin
        points = np.stack([x + self.scale * places @ self.right, y - self.scale * places @ self.up], axis=-1)
        seen, _, depth = self.meet(points)
        hidden = (seen != part) | ~(np.abs(depth - places @ self.view) < _SAME_DEPTH)
        width, height = self.size
        outside = ((points < -0.5) | (points > (width - 0.5, height - 0.5))).any(axis=1)
        points[hidden | outside] = np.nan
        return points


# Anatomy: how the parts of an animal hang together.


@dataclass(frozen=True)
class _Body:
    """Lengths are in lengths of the trunk, angles in radians."""

    hip: float  # height of the hips
    width: float
    chest: float
    belly: float
    rump: float
    neck: float
    neck_up: float
    neck_width: float
    head: float
    head_down: float
    head_turn: float
    muzzle: float
    ear: float
    ear_width: float
    ear_out: float
    leg: float
    paw: float
    tail: float
    tail_up: float
    tail_curl: float
    swing: tuple[float, float, float, float]
    bend: tuple[float, float, float, float]


_MEAN = {
    "cat": _Body(
        hip=0.64,
        width=0.19,
        chest=0.215,
        belly=0.195,
        rump=0.20,
        neck=0.27,
        neck_up=0.75,
        neck_width=0.125,
        head=0.185,
        head_down=0.10,
        head_turn=0.0,
        muzzle=0.105,
        ear=0.18,
        ear_width=0.105,
        ear_out=0.42,
        leg=0.070,
        paw=0.070,
        tail=0.80,
        tail_up=0.5,
        tail_curl=0.9,
        swing=(0.0, 0.0, 0.0, 0.0),
        bend=(0.0, 0.0, 0.0, 0.0),
    ),
    "cow": _Body(
        hip=0.74,
        width=0.235,
        chest=0.285,
        belly=0.262,
        rump=0.25,
        neck=0.34,
        neck_up=0.45,
        neck_width=0.15,
        head=0.145,
        head_down=0.60,
        head_turn=0.0,
        muzzle=0.25,
        ear=0.17,
        ear_width=0.06,
        ear_out=1.35,
        leg=0.085,
        paw=0.07,
        tail=0.62,
        tail_up=-0.9,
        tail_curl=-0.45,
        swing=(0.0, 0.0, 0.0, 0.0),
        bend=(0.0, 0.0, 0.0, 0.0),
    ),
}


def _species(category: str) -> Species:
    return "cat" if category == "toy cat" else "cow"


def _some_body(species: Species, rng: np.random.Generator) -> _Body:
    mean = _MEAN[species]

    def about(value: float, share: float) -> float:
        return value * math.exp(share * rng.uniform(-1, 1))

    stout = about(1, 0.13)
    stride = rng.uniform(0.0, 0.42)
    phase = rng.uniform(0, 2 * math.pi)
    steps = [phase, phase + math.pi, phase + math.pi + 0.5, phase + 0.5]
    swing = [stride * math.sin(step) for step in steps]
    bend = [0.9 * stride * max(0.0, math.cos(step)) for step in steps]
    if species == "cat":
        down, neck_up, turn = rng.uniform(-0.15, 0.45), rng.uniform(0.25, 1.15), rng.uniform(-0.6, 0.6)
        tail_up, tail_curl = rng.uniform(-0.6, 1.2), rng.uniform(-0.7, 1.6)
    else:
        down, neck_up, turn = rng.uniform(0.35, 0.95), rng.uniform(0.2, 0.95), rng.uniform(-0.45, 0.45)
        tail_up, tail_curl = rng.uniform(-1.1, -0.6), rng.uniform(-0.65, -0.25)
    return _Body(
        hip=about(mean.hip, 0.13),
        width=mean.width * stout,
        chest=about(mean.chest, 0.07) * stout,
        belly=about(mean.belly, 0.06) * stout,
        rump=about(mean.rump, 0.07) * stout,
        neck=about(mean.neck, 0.15),
        neck_up=neck_up,
        neck_width=about(mean.neck_width, 0.1),
        head=about(mean.head, 0.12),
        head_down=down,
        head_turn=turn,
        muzzle=about(mean.muzzle, 0.15),
        ear=about(mean.ear, 0.22),
        ear_width=about(mean.ear_width, 0.15),
        ear_out=about(mean.ear_out, 0.2),
        leg=about(mean.leg, 0.13) * math.sqrt(stout),
        paw=about(mean.paw, 0.1),
        tail=about(mean.tail, 0.2),
        tail_up=tail_up,
        tail_curl=tail_curl,
        swing=(swing[0], swing[1], swing[2], swing[3]),
        bend=(bend[0], bend[1], bend[2], bend[3]),
    )


def _vector(*values: float) -> Vector:
    return np.array(values, float)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _frame(along: Vector, hint: Vector) -> Float[np.ndarray, "3 3"]:
    """Unit axes as columns: z along a direction, x as near as can be to a hint."""
    z = _unit(along)
    x = _unit(hint - (hint @ z) * z)
    return np.stack([x, np.cross(z, x), z], axis=1)


def _ball(name: str, material: str, centre: Vector, radii: Sequence[float], frame: np.ndarray | None = None) -> _Part:
    return _Part(name, material, centre, (np.eye(3) if frame is None else frame) * np.array(radii))


def _limb(
    name: str,
    material: str,
    first: Vector,
    last: Vector,
    radii: tuple[float, float],
    hint: Vector,
    *,
    length: float = 4.0,
    end: float = 0.7,
) -> _Part:
    """A limb between two joints; `radii` towards the hint and across."""
    stretch = float(np.linalg.norm(last - first)) / length
    frame = _frame(last - first, hint) * np.array([*radii, stretch])
    return _Part(name, material, first, frame, length, end)


def _direction(forward: float, up: float, side: float = 0.0) -> Vector:
    return _vector(forward, side, up)


def _anatomy(species: Species, body: _Body) -> list[_Part]:
    parts: list[_Part] = []
    cat = species == "cat"
    forward, upward = _vector(1, 0, 0), _vector(0, 0, 1)

    # Trunk.
    shoulder, hip = _vector(0.40, 0, body.hip), _vector(-0.40, 0, body.hip)
    parts += [
        _ball("chest", "coat", shoulder + _vector(-0.05, 0, 0.01), (0.29, body.width, body.chest)),
        _limb(
            "belly",
            "coat",
            hip + _vector(0.13, 0, -0.01),
            shoulder + _vector(-0.13, 0, -0.015),
            (body.belly, body.width * 0.98),
            upward,
            length=2.6,
            end=1.0,
        ),
        _ball("rump", "coat", hip + _vector(0.06, 0, 0.0), (0.27, body.width * 0.97, body.rump)),
    ]

    # Neck and head.
    nape = shoulder + _vector(0.06, 0, body.chest * 0.35)
    aim = _direction(math.cos(body.neck_up), math.sin(body.neck_up), 0.35 * math.sin(body.head_turn))
    skull = nape + _unit(aim) * (body.neck + body.head * 0.5)
    below = _direction(math.sin(body.neck_up), -math.cos(body.neck_up))
    parts.append(
        _limb("neck", "coat", nape, skull, (body.neck_width * (1.25 if cat else 1.4), body.neck_width), below,
              length=3.0, end=0.72)
    )  # fmt: skip
    face = _direction(
        math.cos(body.head_down) * math.cos(body.head_turn),
        -math.sin(body.head_down),
        math.cos(body.head_down) * math.sin(body.head_turn),
    )
    left = _unit(np.cross(upward, face))
    head = np.stack([face, left, np.cross(face, left)], axis=1)

    def on_head(ahead: float, left: float, above: float) -> Vector:
        return skull + head @ (_vector(ahead, left, above) * body.head)

    size = body.head
    if cat:
        parts.append(_ball("head", "coat", skull, (size * 1.0, size * 1.04, size * 0.92), head))
        tip = on_head(0.62, 0, -0.26) + head[:, 0] * body.muzzle
        parts.append(
            _limb(
                "muzzle",
                "muzzle",
                on_head(0.45, 0, -0.28),
                tip,
                (size * 0.44, size * 0.56),
                head[:, 2],
                length=1.2,
                end=0.72,
            )
        )
        parts.append(
            _ball(
                "nose",
                "nose",
                tip + head @ _vector(0.30, 0, 0.22) * size,
                (size * 0.13, size * 0.17, size * 0.12),
                head,
            )
        )
        eye, eye_size = (0.74, 0.45, 0.18), 0.235
    else:
        parts.append(_ball("head", "coat", skull, (size * 1.25, size * 1.0, size * 1.0), head))
        tip = on_head(0.5, 0, -0.12) + head[:, 0] * body.muzzle
        parts.append(_limb("face", "coat", on_head(0.35, 0, -0.02), tip, (size * 0.80, size * 0.80), head[:, 2],
                           length=2.0, end=0.8))  # fmt: skip
        parts.append(
            _ball("muzzle", "muzzle", tip + head[:, 0] * size * 0.12, (size * 0.62, size * 0.80, size * 0.66), head)
        )
        parts.append(
            _ball(
                "nose",
                "nose",
                tip + head @ _vector(0.52, 0, 0.26) * size,
                (size * 0.26, size * 0.50, size * 0.27),
                head,
            )
        )
        eye, eye_size = (0.64, 0.76, 0.38), 0.24
    for side, sign in (("L", 1), ("R", -1)):
        parts.append(_ball(f"{side}_eye", "eye", on_head(eye[0], sign * eye[1], eye[2]), (size * eye_size,) * 3, head))
        out = _direction(-0.12, math.cos(body.ear_out), sign * math.sin(body.ear_out))
        base = on_head(-0.10, sign * (0.56 if cat else 0.78), 0.60 if cat else 0.52)
        opening = head @ _unit(_vector(1.0, sign * (0.45 if cat else 0.3), -0.1 if cat else 0.2))
        width = body.ear_width
        parts.append(_limb(f"{side}_ear", "ear", base, base + head @ out * body.ear, (width * 0.55, width), opening,
                           length=2.2, end=0.25 if cat else 0.6))  # fmt: skip
        if not cat:
            root = on_head(-0.25, sign * 0.50, 0.75)
            horn = root + head @ _unit(_vector(0.15, sign * 0.75, 0.9)) * size * 1.15
            parts.append(_limb(f"{side}_horn", "horn", root, horn, (size * 0.24, size * 0.24), head[:, 0],
                               length=4.0, end=0.3))  # fmt: skip

    # Legs: a thigh in the trunk, an upper and a lower limb, a paw on the ground.
    for name, swing, bend in zip(_LEGS, body.swing, body.bend, strict=True):
        front, sign = name[2] == "F", 1 if name[0] == "L" else -1
        joint = (shoulder if front else hip) + _vector(-0.02 if front else 0.02, sign * body.width * 0.62, -0.04)
        thick = body.leg
        drop = joint[2] - body.paw * 0.75
        lean = swing + (0.10 if front else 0.16)
        knee = joint + _direction(math.sin(lean), -math.cos(lean)) * drop * 0.52
        back = swing - bend - (0.02 if front else 0.22)
        ankle = knee + _direction(math.sin(back), -math.cos(back)) * drop * 0.50
        radii = (0.15, body.width * 0.36, body.chest * 0.85) if front else (0.19, body.width * 0.42, body.rump * 0.98)
        thigh = joint + (knee - joint) * 0.16
        parts.append(_ball(f"{name}_thigh", "coat", thigh, radii, _frame(joint - knee, forward)))
        parts.append(_limb(f"{name}_upper", "coat", joint, knee, (thick * 1.40, thick * 1.10), forward,
                           length=3.0, end=0.58))  # fmt: skip
        parts.append(_limb(f"{name}_lower", "coat", knee, ankle, (thick * 0.90, thick * 0.80), forward,
                           length=4.0, end=0.72))  # fmt: skip
        foot = _vector(ankle[0] + body.paw * 0.45, ankle[1], max(ankle[2], body.paw * 0.7))
        parts.append(_ball(f"{name}_paw", "paw" if cat else "hoof", foot, (body.paw * 1.35, body.paw, body.paw * 0.80)))

    # Tail: limbs, each bent against the one before.
    joint, angle = hip + _vector(-0.17, 0, body.rump * 0.55), body.tail_up
    for number, end in enumerate((0.9, 0.9, 0.9, 0.9, 0.9, 0.7)):
        step = _direction(-math.cos(angle), math.sin(angle)) * body.tail / 6
        thick = (0.052 if cat else 0.036) * 0.93**number
        parts.append(_limb(f"tail_{number}", "coat", joint, joint + step, (thick, thick), upward + forward * 0.3,
                           length=2.5, end=end))  # fmt: skip
        joint, angle = joint + step, angle + body.tail_curl * (0.1 + 0.09 * number)
    if not cat:
        parts.append(_ball("tuft", "tuft", joint, (0.05, 0.05, 0.10)))
        parts.append(_ball("udder", "udder", _vector(-0.22, 0, body.hip - body.belly * 0.90), (0.13, 0.10, 0.10)))
    return parts


def _on_limb(height: float, toward: Sequence[float], *, length: float, end: float) -> Vector:
    """A point of a limb's surface, by the height of the ball that touches it there."""
    sin = (1 - end) / length
    around = _unit(_vector(*toward, 0)) * math.sqrt(1 - sin * sin)
    return _vector(0, 0, height) + (1 - height * sin) * (around + _vector(0, 0, sin))


def _keypoints(species: Species) -> dict[str, tuple[str, Vector]]:
    """The part and the place on its solid, chosen to be seen from many sides."""
    ear_end = 0.25 if species == "cat" else 0.6
    points = {}
    for side, sign in (("L", 1), ("R", -1)):
        points[f"{side}_Eye"] = (f"{side}_eye", _unit(_vector(0.75, sign * 0.65, 0.12)))
    points["Nose"] = ("nose", _unit(_vector(0.85, 0, 0.5)))
    for side in ("L", "R"):
        points[f"{side}_EarBase"] = (f"{side}_ear", _on_limb(0.75, (1, 0), length=2.2, end=ear_end))
    points["Throat"] = ("neck", _on_limb(1.3, (1, 0), length=3.0, end=0.72))
    points["Withers"] = ("chest", _unit(_vector(-0.25, 0, 0.97)))
    points["TailBase"] = ("rump", _unit(_vector(-0.42, 0, 0.91)))
    for leg in _LEGS:
        sign = 1 if leg[0] == "L" else -1
        points[f"{leg}_Elbow"] = (f"{leg}_lower", _on_limb(0.15, (1, -0.15 * sign), length=4.0, end=0.72))
    for leg in _LEGS:
        points[f"{leg}_Paw"] = (f"{leg}_paw", _unit(_vector(0.75, 0, 0.66)))
    return points


def _scene(category: str, rng: np.random.Generator) -> _Scene:
    parts = _anatomy(_species(category), _some_body(_species(category), rng))
    # From the side, from three quarters, or nearly from the front; of the left or the right flank.
    low, high = ((4, 24), (24, 52), (52, 80))[rng.choice(3, p=(0.5, 0.35, 0.15))]
    turn, rise = math.radians(rng.uniform(low, high)), math.radians(rng.uniform(9, 19))
    facing = rng.choice((-1, 1))
    # The camera stands where `back` points to; at turn 0 it sees the flank, at 90 degrees the face.
    level = _direction(math.sin(turn), 0, facing * math.cos(turn))
    back = level * math.cos(rise) + _vector(0, 0, math.sin(rise))
    right = _unit(np.cross(_vector(0, 0, 1), back))
    up = np.cross(back, right)

    across, upward = (np.array([part.extent(direction) for part in parts]) for direction in (right, up))
    left, far = across[:, 0].min(), across[:, 1].max()
    bottom, top = upward[:, 0].min(), upward[:, 1].max()
    wide, high = far - left, top - bottom
    frame = np.array([wide, high]) * rng.uniform(1.14, 1.5, 2)
    longer = rng.integers(340, 421)
    ratio = np.clip(frame[0] / frame[1], 0.72, 1.5)
    width, height = (longer, round(longer / ratio)) if ratio > 1 else (round(longer * ratio), longer)
    scale = min(width / frame[0], height / frame[1])
    room = np.array([width - wide * scale, height - high * scale])
    x, y = room * rng.uniform((0.15, 0.3), (0.85, 0.85))
    origin = (x - left * scale, y + top * scale)
    return _Scene(parts, right, up, -back, scale, (float(origin[0]), float(origin[1])), (int(width), int(height)))


# Pictures: coats, light and places. All colours are 0 to 1 and named by what they are on.

_COATS: dict[Species, tuple[tuple[str, str, str], ...]] = {
    # The coat, its pattern, the underside.
    "cat": (
        ("#d9974f", "#a45f25", "#f4e3c8"),
        ("#8f8880", "#57514c", "#d8d2c8"),
        ("#f1ead9", "#c98a4b", "#fffaf0"),
        ("#4a4440", "#2f2b29", "#6b635c"),
        ("#b39a78", "#6b5238", "#e6d9c0"),
        ("#efe6d8", "#5a5552", "#fbf7ef"),
        ("#7d8894", "#566270", "#c9d0d6"),
    ),
    "cow": (
        ("#f2ede2", "#2e2a28", "#f7f3ea"),
        ("#a8633a", "#f3e8d8", "#c98d63"),
        ("#efe3cf", "#8d4f2b", "#f7efe0"),
        ("#4b382e", "#2c211b", "#70594b"),
        ("#c79a68", "#f4e6cf", "#e0c49c"),
        ("#5a5450", "#e9e4da", "#8d857e"),
    ),
}
_HORN, _SKIN, _NOSE = "#d9cdb2", "#e3a79c", "#3a2b2b"


def _colour(code: str) -> np.ndarray:
    return np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)], np.float32) / 255


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    return first + (second - first) * share[..., None]


def _step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below, 1 above, and smooth between."""
    share = np.clip((values - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


class _Waves:
    """Smooth noise in space: periodic in `_CELLS` features, with mean 0 and variance 1, another at every call."""

    def __init__(self, rng: np.random.Generator) -> None:
        noise = ndimage.gaussian_filter(rng.normal(size=(_CELLS * 2,) * 3), 1.6, mode="wrap", output=np.float32)
        self.rng, self.values = rng, (noise - noise.mean()) / noise.std()

    def __call__(self, points: np.ndarray, length: float) -> np.ndarray:
        offset = self.rng.uniform(0, 2 * _CELLS, (3, 1)).astype(np.float32)
        places = points.T * np.float32(2 / length) + offset
        return ndimage.map_coordinates(self.values, places, order=1, mode="grid-wrap", prefilter=False)


_CELLS = 16


@cache
def _resting(species: Species) -> list[_Part]:
    """The average animal at rest: where its points lie, coats are patterned, so that a pattern runs on between parts."""
    return _anatomy(species, _MEAN[species])


def _draw(scene: _Scene, category: str, rng: np.random.Generator) -> UInt8[np.ndarray, "height width 3"]:
    species = _species(category)
    picture = _place(scene, rng)
    sun = _unit(_vector(*rng.uniform(-0.7, 0.7, 2), 1) @ np.stack([scene.right, -scene.view, scene.up]))
    warmth = np.array([1, rng.uniform(0.94, 1.0), rng.uniform(0.86, 1.0)], np.float32)

    width, height = scene.size
    left, top, right, bottom = (round(edge + 0.5) for edge in scene.box)
    left, top, right, bottom = max(left - 1, 0), max(top - 1, 0), min(right + 1, width), min(bottom + 1, height)
    part, solid, normal, depth = _meet_all(scene, (left, top, right, bottom))
    # The places of one part after those of another, so that each part is a slice.
    inside = np.flatnonzero(part >= 0)
    inside = inside[np.argsort(part[inside], kind="stable")]
    ends = np.searchsorted(part[inside], np.arange(len(scene.parts) + 1))
    owns = [slice(first, last) for first, last in pairwise(ends.tolist())]
    part, solid, normal, depth = part[inside], solid[inside], normal[inside], depth[inside]

    colour = _colours(scene, species, owns, solid, rng)
    height_of = _along(scene.parts, owns, solid)[:, 2]
    facing = -(normal @ scene.view.astype(np.float32))
    light = 0.5 + 0.5 * (normal @ sun.astype(np.float32))
    sky = 0.5 + 0.5 * normal[:, 2]
    shade = 0.50 + 0.52 * light**1.5 + 0.20 * sky
    shade *= 1 - 0.30 * _step(0.34 - facing, 0.0, 0.34)  # a soft outline
    shade *= 1 - 0.22 * _step(depth, 0.02, 0.35)  # the far legs lie in shadow
    trunk = next(one for one in scene.parts if one.name == "belly").centre[2]
    under = _step(trunk - 0.12 - height_of, 0.0, 0.08) * _step(height_of, 0.12, trunk - 0.1)
    shade *= 1 - 0.16 * under  # so does what is below the belly
    for own, one in zip(owns, scene.parts, strict=True):
        if one.material in ("nose", "eye"):
            shade[own] = 0.75 + 0.35 * light[own]
    colour *= shade[:, None] * warmth

    layer = np.zeros(((bottom - top) * (right - left) * _SHARPNESS**2, 4), np.float32)
    layer[inside, :3], layer[inside, 3] = colour, 1
    layer = layer.reshape((bottom - top) * _SHARPNESS, (right - left) * _SHARPNESS, 4)
    window = picture[top:bottom, left:right]
    drawn = np.zeros((*window.shape[:2], 4), np.float32)
    for row, column in np.ndindex(_SHARPNESS, _SHARPNESS):
        drawn += layer[row::_SHARPNESS, column::_SHARPNESS] / _SHARPNESS**2
    window *= 1 - drawn[..., 3:]
    window += drawn[..., :3]
    picture += rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(0.012)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _along(parts: Sequence[_Part], owns: Sequence[slice], solid: np.ndarray) -> np.ndarray:
    """Where points of solids lie once they are parts of an animal."""
    places = np.empty_like(solid)
    for own, part in zip(owns, parts, strict=True):
        places[own] = solid[own] @ part.axes.T.astype(np.float32) + part.centre.astype(np.float32)
    return places


def _meet_all(
    scene: _Scene, window: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `_Scene.meet` gives for all rays of a window of pixels, row by row, and normals rounded where parts run together."""
    left, top, right, bottom = window
    rows, columns = (
        (np.arange((last - first) * _SHARPNESS, dtype=np.float32) + 0.5) / _SHARPNESS - 0.5 + first
        for first, last in ((top, bottom), (left, right))
    )
    shape = (len(rows), len(columns))
    depth = np.full(shape, np.inf, np.float32)
    seen = np.full(shape, -1, np.int8)
    met = []
    for number, part in enumerate(scene.parts):
        left, top, right, bottom = scene.extent(part)
        where = (slice(*np.searchsorted(rows, (top, bottom))), slice(*np.searchsorted(columns, (left, right))))
        start, ray = scene.rays(part, columns[None, where[1]], rows[where[0], None])
        start, ray = [axis.astype(np.float32) for axis in start], ray.astype(np.float32)
        own = part.enter(start, ray).astype(np.float32)
        first = own < depth[where]
        np.copyto(depth[where], own, where=first)
        np.copyto(seen[where], np.int8(number), where=first)
        met.append((where, start, ray, own))

    solid, normal = np.zeros((2, depth.size, 3), np.float32)
    soft = np.array([part.material in _SOFT for part in scene.parts])
    rounded = soft[seen]  # -1 is background, where nothing is met
    places = np.arange(depth.size).reshape(shape)
    for number, (part, (where, start, ray, own)) in enumerate(zip(scene.parts, met, strict=True)):
        front = seen[where] == number
        shown = front | (own < depth[where] + 4 * _ROUNDING) & rounded[where] if soft[number] else front
        near = np.flatnonzero(shown)
        point = np.stack([axis.ravel()[near] for axis in start], axis=-1) + own.ravel()[near, None] * ray
        index, front = places[where].ravel()[near], front.ravel()[near]
        solid[index[front]] = point[front]
        gap = (own.ravel()[near] - depth.ravel()[index])[:, None]
        normal[index] += np.exp(-gap / _ROUNDING) * part.normal(point)
    norm = np.sqrt(np.einsum("pi,pi->p", normal, normal))[:, None]
    normal /= np.where(norm > 0, norm, 1)
    return seen.ravel(), solid, normal, depth.ravel()


_ROUNDING = np.float32(0.05)  # how deep parts run into each other, in lengths of the trunk
_SOFT = ("coat", "muzzle", "udder", "paw", "ear")


def _colours(
    scene: _Scene, species: Species, owns: Sequence[slice], solid: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The colour of every point of the animal, by its place on the animal alone: light comes later."""
    rest = _along(_resting(species), owns, solid)
    coat, pattern, underside = (_colour(code) for code in _COATS[species][rng.integers(len(_COATS[species]))])
    waves = _Waves(rng)
    tint = rng.uniform(-0.05, 0.05, 3).astype(np.float32)
    colour = _mix(coat, pattern, _pattern(rest, species, waves, rng)) * (1 + tint)
    pale = _step(-rest[:, 2], -(0.50 if species == "cat" else 0.56), -0.34) * rng.uniform(0.2, 0.9)
    colour = _mix(colour, underside, pale * np.float32(1))
    fur = waves(rest * np.array([1, 1, 0.4], np.float32), 0.012)
    colour = colour * (1 + 0.045 * fur[:, None])

    iris = _colour(("#c9a227", "#7fa04a", "#5d93b5", "#b5702c")[rng.integers(4)])
    socks = rng.random() < 0.45
    mask = underside if rng.random() < 0.6 else coat
    for own, one in zip(owns, scene.parts, strict=True):
        place = solid[own]
        count = len(place)
        sign = 1 if one.name.startswith("L") else -1
        if one.material == "eye":
            gaze = place @ _unit(_vector(0.80, sign * (0.60 if species == "cat" else 0.75), 0.08)).astype(np.float32)
            shine = place @ _unit(_vector(0.75, sign * 0.45, 0.55)).astype(np.float32)
            look = np.broadcast_to(_colour("#1c1613"), (count, 3))
            if species == "cat":
                look = _mix(look, iris, _step(gaze, 0.42, 0.50) * (1 - _step(gaze, 0.80, 0.87)))
            else:
                look = _mix(look, _colour("#4a2f20"), _step(gaze, 0.30, 0.55) * (1 - _step(gaze, 0.72, 0.82)))
            colour[own] = _mix(look, _colour("#ffffff"), _step(shine, 0.955, 0.975))
        elif one.material == "nose":
            holes = 1.0
            if species == "cow":
                spot = np.abs(place[:, 1]) - 0.55
                holes = _step(spot**2 + (place[:, 2] - 0.1) ** 2, 0.02, 0.06)
            tone = _colour(_NOSE) if species == "cat" else _colour("#6e5150")
            colour[own] = tone * (0.35 + 0.65 * np.broadcast_to(holes, count))[:, None]
        elif one.material == "ear":
            opening = (
                _step(place[:, 0], 0.25, 0.42) * _step(place[:, 2], 0.15, 0.5) * (1 - _step(place[:, 2], 1.6, 2.1))
            )
            colour[own] = _mix(colour[own] * 0.94, _colour(_SKIN), 0.85 * opening)
        elif one.material == "muzzle":
            tone = mask if species == "cat" else 0.45 * mask + 0.55 * _colour(_SKIN)
            colour[own] = _mix(colour[own], tone, np.full(count, 0.8, np.float32))
        elif one.material == "horn":
            colour[own] = _mix(_colour(_HORN), _colour("#5b4d3c"), _step(place[:, 2], 2.0, 4.2))
        elif one.material == "hoof":
            colour[own] = _colour("#3b322c")
        elif one.material == "paw":
            toes = _step(np.abs(np.abs(place[:, 1]) - 0.33), 0.0, 0.10)
            toes = 1 - (1 - toes) * _step(place[:, 0], 0.35, 0.6)
            own_colour = _mix(colour[own], underside, np.full(count, 0.85 * socks, np.float32))
            colour[own] = own_colour * (0.62 + 0.38 * toes)[:, None]
        elif one.material == "tuft":
            colour[own] = pattern * 0.7 + coat * 0.1
        elif one.material == "udder":
            colour[own] = _colour(_SKIN)
    return colour


def _pattern(rest: np.ndarray, species: Species, waves: _Waves, rng: np.random.Generator) -> np.ndarray:
    """How much of the second colour shows, by the place on the animal at rest."""
    if species == "cow":
        kind = rng.choice(("patches", "patches", "patches", "saddle", "shaded"))
    else:
        kind = rng.choice(("stripes", "stripes", "spots", "patches", "shaded"))
    if kind == "stripes":
        bent = rest[:, 0] + 0.03 * waves(rest, 0.2) + 0.12 * np.abs(rest[:, 1])
        wave = np.sin(bent * np.float32(2 * math.pi / rng.uniform(0.11, 0.16)))
        return 0.85 * _step(wave, 0.0, 0.5) * _step(rest[:, 2], 0.22, 0.6)
    if kind == "spots":
        return 0.9 * _step(waves(rest, rng.uniform(0.07, 0.1)), 0.45, 0.65)
    if kind == "patches":
        return _step(waves(rest, rng.uniform(0.2, 0.3)), 0.05, 0.15)
    if kind == "saddle":
        return _step(rest[:, 0] + 0.05 * waves(rest, 0.2), 0.1, 0.16) * (1 - _step(rest[:, 0], 0.5, 0.56))
    return _step(rest[:, 0] + 0.6 * rest[:, 2] + 0.08 * waves(rest, 0.3), 0.1, 1.1)


def _noise(shape: tuple[int, int], rng: np.random.Generator, cells: tuple[float, float]) -> np.ndarray:
    """Smooth noise of 0 to 1 with features of a size in pixels, (along rows, along columns)."""
    height, width = shape
    coarse = rng.random((max(2, round(height / cells[0])), max(2, round(width / cells[1]))), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _layered(shape: tuple[int, int], rng: np.random.Generator, size: float) -> np.ndarray:
    """Noise with finer noise on it."""
    return (
        0.5 * _noise(shape, rng, (size, size))
        + 0.3 * _noise(shape, rng, (size / 2, size / 2))
        + 0.2 * _noise(shape, rng, (size / 5, size / 5))
    )


def _place(scene: _Scene, rng: np.random.Generator) -> np.ndarray:
    """What is behind the animal, with its shadow on the ground."""
    width, height = scene.size
    shape = (height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    feet = scene.origin[1]
    horizon = float(np.clip(feet - scene.scale * rng.uniform(0.3, 0.75), 0.18 * height, 0.75 * height))
    painted = _PLACES[rng.integers(len(_PLACES))](shape, x, y, horizon, rng)

    # The ground below a pixel, in the animal's frame, and how much of the light the animal takes from it.
    across, upward = (x - scene.origin[0]) / scene.scale, (scene.origin[1] - y) / scene.scale
    away = -upward * scene.up[2] / scene.view[2]
    forward, left = (
        across * scene.right[axis] + upward * scene.up[axis] + away * scene.view[axis] for axis in range(2)
    )
    lit = 1 - 0.50 * np.exp(-((forward / 0.60) ** 2 + (left / 0.26) ** 2))
    for part in scene.parts:
        if part.material in ("paw", "hoof"):
            off = (forward - part.centre[0]) ** 2 + (left - part.centre[1]) ** 2
            lit *= 1 - 0.45 * np.exp(-off / 0.10**2)
    return painted * lit[..., None].astype(np.float32)


def _sky(shape: tuple[int, int], y: np.ndarray, horizon: float, rng: np.random.Generator) -> np.ndarray:
    pairs = (("#6fa8dc", "#dcebf5"), ("#8fb4d9", "#f7dfc2"), ("#b9c6cf", "#e8ebec"), ("#e6b48f", "#fae6c6"))
    top, low = (_colour(code) for code in pairs[rng.integers(4)])
    sky = _mix(top, low, np.clip(y / max(horizon, 1), 0, 1))
    clouds = _step(_noise(shape, rng, (22, 80)) * 0.6 + _noise(shape, rng, (9, 30)) * 0.4, 0.5, 0.8)
    return _mix(sky, _colour("#ffffff"), 0.7 * clouds * rng.random())


def _meadow(
    shape: tuple[int, int], x: np.ndarray, y: np.ndarray, horizon: float, rng: np.random.Generator
) -> np.ndarray:
    picture = _sky(shape, y, horizon, rng)
    greens = ("#5f8f3a", "#86a84a", "#9c9a4e", "#4d7d4a", "#b5a45c")
    ground = _colour(greens[rng.integers(5)])
    for distance in (2, 1):
        hill = horizon - 14 * distance * rng.uniform(0.5, 1.6)
        hill = hill + rng.uniform(6, 16) * np.sin(x * rng.uniform(0.008, 0.022) + rng.uniform(0, 7))
        far = _mix(ground, _colour("#a9c0cf"), np.float32(0.25 + 0.25 * distance) * np.ones(shape, np.float32))
        far = far * (0.9 + 0.2 * _layered(shape, rng, 24)[..., None])
        picture = _mix(picture, far, _step(y - hill, -1, 1))
    if rng.random() < 0.6:
        crown = horizon - 4 - 30 * _noise(shape, rng, (4000, 26))
        leaves = _colour("#3c5e34") * (0.65 + 0.8 * _layered(shape, rng, 9)[..., None])
        picture = _mix(picture, leaves, _step(y - crown, -2, 2))
    near = np.clip((y - horizon) / max(shape[0] - horizon, 1), 0, 1)
    blades = _noise(shape, rng, (9, 2.2)) * 0.6 + _noise(shape, rng, (26, 40)) * 0.7
    grass = ground * (0.72 + 0.5 * blades * (0.4 + 0.6 * near))[..., None] * (1.05 - 0.2 * near)[..., None]
    return _mix(picture, grass.astype(np.float32), _step(y - horizon, -1, 1))


def _desert(
    shape: tuple[int, int], x: np.ndarray, y: np.ndarray, horizon: float, rng: np.random.Generator
) -> np.ndarray:
    picture = _sky(shape, y, horizon, rng)
    sand = _colour(("#d8b377", "#c98f5e", "#e3d2a8", "#b7a48c", "#eef2f6")[rng.integers(5)])
    dune = horizon + rng.uniform(4, 14) * np.sin(x * rng.uniform(0.006, 0.02) + rng.uniform(0, 7))
    ripples = np.sin(y * 0.35 + 5 * _noise(shape, rng, (30, 60)) * 4)
    ground = sand * (0.86 + 0.05 * ripples + 0.22 * _layered(shape, rng, 60))[..., None]
    return _mix(picture, ground.astype(np.float32), _step(y - dune, -1, 1))


def _room(shape: tuple[int, int], x: np.ndarray, y: np.ndarray, horizon: float, rng: np.random.Generator) -> np.ndarray:
    walls = ("#d8cfc0", "#a9b8b5", "#c7a58f", "#8d9bb0", "#e0d6a8", "#b78f9a")
    wall = _colour(walls[rng.integers(6)]) * (0.9 + 0.15 * _layered(shape, rng, 120)[..., None])
    if rng.random() < 0.6:
        width = rng.uniform(14, 40)
        wall = wall * (0.93 + 0.07 * _step(np.sin(x * np.float32(2 * math.pi / width)), -0.2, 0.2))[..., None]
    floor = _colour(("#8a5f3c", "#a98258", "#6d6660", "#a3554a", "#587a86")[rng.integers(5)])
    grain = _noise(shape, rng, (3, 60)) * 0.6 + _noise(shape, rng, (20, 90)) * 0.4
    planks = 1 - 0.25 * (1 - _step(np.abs(np.mod(y - horizon, rng.uniform(16, 30)) - 2), 0, 1.5))
    floor = floor * ((0.78 + 0.4 * grain) * planks)[..., None]
    skirting = wall * 0.7 + 0.25
    picture = np.where((y > horizon - 9)[..., None], skirting, wall)
    return _mix(picture.astype(np.float32), floor.astype(np.float32), _step(y - horizon, -1, 1))


def _studio(
    shape: tuple[int, int], x: np.ndarray, y: np.ndarray, horizon: float, rng: np.random.Generator
) -> np.ndarray:
    hues = rng.random((4, 3), dtype=np.float32) * 0.5 + 0.4
    picture = _mix(hues[0], hues[1], np.clip(y / shape[0], 0, 1))
    for hue in (*hues[2:], *hues):
        centre, radius = rng.random(2) * shape[::-1], rng.uniform(0.05, 0.3) * shape[1]
        blob = _step(radius - np.hypot(x - centre[0], y - centre[1]), -radius * 0.25, radius * 0.25)
        picture = _mix(picture, hue, 0.5 * blob)
    ground = picture * 0.6 + 0.35 * hues[1]
    ground = ground * (0.85 + 0.2 * _layered(shape, rng, 30)[..., None])
    return _mix(picture, ground.astype(np.float32), _step(y - horizon, -20, 20))


_Painter = Callable[[tuple[int, int], np.ndarray, np.ndarray, float, np.random.Generator], np.ndarray]
_PLACES: tuple[_Painter, ...] = (_meadow, _meadow, _desert, _room, _studio)
