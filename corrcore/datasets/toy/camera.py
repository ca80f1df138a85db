"""An animal at random before a camera at random."""

import math

import numpy as np

from corrcore.datasets.toy.anatomy import anatomy
from corrcore.datasets.toy.body import random_body, species_of
from corrcore.datasets.toy.scene import Scene
from corrcore.datasets.toy.solids import direction, unit, vector


def random_scene(category: str, rng: np.random.Generator) -> Scene:
    """An animal of a category, seen from somewhere, in a picture of some size."""
    parts = anatomy(species_of(category), random_body(species_of(category), rng))
    # From the side, from three quarters, or nearly from the front; of the left or the right flank.
    low, high = ((4, 24), (24, 52), (52, 80))[rng.choice(3, p=(0.5, 0.35, 0.15))]
    turn, rise = math.radians(rng.uniform(low, high)), math.radians(rng.uniform(9, 19))
    facing = rng.choice((-1, 1))
    # The camera stands where `back` points to; at turn 0 it sees the flank, at 90 degrees the face.
    level = direction(math.sin(turn), 0, facing * math.cos(turn))
    back = level * math.cos(rise) + vector(0, 0, math.sin(rise))
    right = unit(np.cross(vector(0, 0, 1), back))
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
    return Scene(parts, right, up, -back, scale, (float(origin[0]), float(origin[1])), (int(width), int(height)))
