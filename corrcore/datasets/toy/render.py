"""Pictures: an animal in its colours, lit, before its background."""

from itertools import pairwise

import numpy as np
from jaxtyping import UInt8

from corrcore.datasets.toy.backgrounds import background
from corrcore.datasets.toy.body import species_of
from corrcore.datasets.toy.colours import paint, smooth_step
from corrcore.datasets.toy.scene import Scene
from corrcore.datasets.toy.solids import places_of, unit, vector

RAYS_PER_SIDE = 2  # rays per pixel, along each side
_ROUNDING = np.float32(0.05)  # how deep parts run into each other, in lengths of the trunk
_SOFT = ("coat", "muzzle", "udder", "paw", "ear")


def draw(scene: Scene, category: str, rng: np.random.Generator) -> UInt8[np.ndarray, "height width 3"]:
    """The picture of a scene: traced, coloured, lit and laid over a background."""
    species = species_of(category)
    picture = background(scene, rng)
    sun = unit(vector(*rng.uniform(-0.7, 0.7, 2), 1) @ np.stack([scene.right, -scene.view, scene.up]))
    warmth = np.array([1, rng.uniform(0.94, 1.0), rng.uniform(0.86, 1.0)], np.float32)

    width, height = scene.size
    left, top, right, bottom = (round(edge + 0.5) for edge in scene.box)
    left, top, right, bottom = max(left - 1, 0), max(top - 1, 0), min(right + 1, width), min(bottom + 1, height)
    part, solid, normal, depth = trace(scene, (left, top, right, bottom))
    # The places of one part after those of another, so that each part is a slice.
    inside = np.flatnonzero(part >= 0)
    inside = inside[np.argsort(part[inside], kind="stable")]
    ends = np.searchsorted(part[inside], np.arange(len(scene.parts) + 1))
    owns = [slice(first, last) for first, last in pairwise(ends.tolist())]
    part, solid, normal, depth = part[inside], solid[inside], normal[inside], depth[inside]

    colour = paint(scene, species, owns, solid, rng)
    height_of = places_of(scene.parts, owns, solid)[:, 2]
    facing = -(normal @ scene.view.astype(np.float32))
    light = 0.5 + 0.5 * (normal @ sun.astype(np.float32))
    sky = 0.5 + 0.5 * normal[:, 2]
    shade = 0.50 + 0.52 * light**1.5 + 0.20 * sky
    shade *= 1 - 0.30 * smooth_step(0.34 - facing, 0.0, 0.34)  # a soft outline
    shade *= 1 - 0.22 * smooth_step(depth, 0.02, 0.35)  # the far legs lie in shadow
    trunk = next(one for one in scene.parts if one.name == "belly").centre[2]
    under = smooth_step(trunk - 0.12 - height_of, 0.0, 0.08) * smooth_step(height_of, 0.12, trunk - 0.1)
    shade *= 1 - 0.16 * under  # so does what is below the belly
    for own, one in zip(owns, scene.parts, strict=True):
        if one.material in ("nose", "eye"):
            shade[own] = 0.75 + 0.35 * light[own]
    colour *= shade[:, None] * warmth

    layer = np.zeros(((bottom - top) * (right - left) * RAYS_PER_SIDE**2, 4), np.float32)
    layer[inside, :3], layer[inside, 3] = colour, 1
    layer = layer.reshape((bottom - top) * RAYS_PER_SIDE, (right - left) * RAYS_PER_SIDE, 4)
    window = picture[top:bottom, left:right]
    drawn = np.zeros((*window.shape[:2], 4), np.float32)
    for row, column in np.ndindex(RAYS_PER_SIDE, RAYS_PER_SIDE):
        drawn += layer[row::RAYS_PER_SIDE, column::RAYS_PER_SIDE] / RAYS_PER_SIDE**2
    window *= 1 - drawn[..., 3:]
    window += drawn[..., :3]
    picture += rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(0.012)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def trace(scene: Scene, window: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `Scene.meet` gives for all rays of a window of pixels, row by row, and normals.

    Normals are rounded where parts run into each other.
    """
    left, top, right, bottom = window
    rows, columns = (
        (np.arange((last - first) * RAYS_PER_SIDE, dtype=np.float32) + 0.5) / RAYS_PER_SIDE - 0.5 + first
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
