"""An animal before a camera: which point of it is seen at a place of the picture, and where a point of it is seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from corrcore.datasets.records import BoxXYXY
from corrcore.datasets.toy.solids import Part, Vector

_SAME_DEPTH = 1e-6


@dataclass(frozen=True, eq=False)
class Scene:
    """An animal before a camera without perspective. (x, y) = origin + scale * (right . point, -up . point)."""

    parts: Sequence[Part]
    right: Vector
    up: Vector
    view: Vector
    scale: float
    origin: tuple[float, float]
    size: tuple[int, int]

    @property
    def names(self) -> list[str]:
        """The parts' names, in their order."""
        return [part.name for part in self.parts]

    def extent(self, part: Part) -> BoxXYXY:
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

    def rays(self, part: Part, x: np.ndarray, y: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
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
