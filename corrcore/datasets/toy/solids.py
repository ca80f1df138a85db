"""Solids, and where a ray meets them.

A part of an animal is the affine image of a ball or a tapering limb that is the same for all animals of its category.
A ray meets it in closed form, and the place where it does, in the solid's own coordinates, names a point of the animal.

An animal stands in a frame of its own: x forward, y to its left, z up, the ground at 0, its trunk about 1 long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

Vector = Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Part:
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
        """From the animal's frame to the solid's."""
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


def vector(*values: float) -> Vector:
    """Coordinates as an array."""
    return np.array(values, float)


def unit(vector: np.ndarray) -> np.ndarray:
    """A vector of the same direction, 1 long."""
    return vector / np.linalg.norm(vector)


def frame_along(along: Vector, hint: Vector) -> Float[np.ndarray, "3 3"]:
    """Unit axes as columns: z along a direction, x as near as can be to a hint."""
    z = unit(along)
    x = unit(hint - (hint @ z) * z)
    return np.stack([x, np.cross(z, x), z], axis=1)


def ball(name: str, material: str, centre: Vector, radii: Sequence[float], frame: np.ndarray | None = None) -> Part:
    """A ball stretched to `radii` along the axes of `frame`."""
    return Part(name, material, centre, (np.eye(3) if frame is None else frame) * np.array(radii))


def limb(
    name: str,
    material: str,
    first: Vector,
    last: Vector,
    radii: tuple[float, float],
    hint: Vector,
    *,
    length: float = 4.0,
    end: float = 0.7,
) -> Part:
    """A limb between two joints; `radii` towards the hint and across."""
    stretch = float(np.linalg.norm(last - first)) / length
    frame = frame_along(last - first, hint) * np.array([*radii, stretch])
    return Part(name, material, first, frame, length, end)


def direction(forward: float, up: float, side: float = 0.0) -> Vector:
    """A direction, its height before its side."""
    return vector(forward, side, up)


def places_of(parts: Sequence[Part], owns: Sequence[slice], solid: np.ndarray) -> np.ndarray:
    """Where points of solids lie once they are parts of an animal."""
    places = np.empty_like(solid)
    for own, part in zip(owns, parts, strict=True):
        places[own] = solid[own] @ part.axes.T.astype(np.float32) + part.centre.astype(np.float32)
    return places
