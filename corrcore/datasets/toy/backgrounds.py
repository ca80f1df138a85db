"""What is behind an animal: meadows, deserts, rooms and a studio, with its shadow on the ground."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from corrcore.datasets.toy.colours import mix, rgb, smooth_step
from corrcore.datasets.toy.scene import Scene


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


def background(scene: Scene, rng: np.random.Generator) -> np.ndarray:
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
    top, low = (rgb(code) for code in pairs[rng.integers(4)])
    sky = mix(top, low, np.clip(y / max(horizon, 1), 0, 1))
    clouds = smooth_step(_noise(shape, rng, (22, 80)) * 0.6 + _noise(shape, rng, (9, 30)) * 0.4, 0.5, 0.8)
    return mix(sky, rgb("#ffffff"), 0.7 * clouds * rng.random())


def _meadow(
    shape: tuple[int, int], x: np.ndarray, y: np.ndarray, horizon: float, rng: np.random.Generator
) -> np.ndarray:
    picture = _sky(shape, y, horizon, rng)
    greens = ("#5f8f3a", "#86a84a", "#9c9a4e", "#4d7d4a", "#b5a45c")
    ground = rgb(greens[rng.integers(5)])
    for distance in (2, 1):
        hill = horizon - 14 * distance * rng.uniform(0.5, 1.6)
        hill = hill + rng.uniform(6, 16) * np.sin(x * rng.uniform(0.008, 0.022) + rng.uniform(0, 7))
        far = mix(ground, rgb("#a9c0cf"), np.float32(0.25 + 0.25 * distance) * np.ones(shape, np.float32))
        far = far * (0.9 + 0.2 * _layered(shape, rng, 24)[..., None])
        picture = mix(picture, far, smooth_step(y - hill, -1, 1))
    if rng.random() < 0.6:
        crown = horizon - 4 - 30 * _noise(shape, rng, (4000, 26))
        leaves = rgb("#3c5e34") * (0.65 + 0.8 * _layered(shape, rng, 9)[..., None])
        picture = mix(picture, leaves, smooth_step(y - crown, -2, 2))
    near = np.clip((y - horizon) / max(shape[0] - horizon, 1), 0, 1)
    blades = _noise(shape, rng, (9, 2.2)) * 0.6 + _noise(shape, rng, (26, 40)) * 0.7
    grass = ground * (0.72 + 0.5 * blades * (0.4 + 0.6 * near))[..., None] * (1.05 - 0.2 * near)[..., None]
    return mix(picture, grass.astype(np.float32), smooth_step(y - horizon, -1, 1))


def _desert(
    shape: tuple[int, int], x: np.ndarray, y: np.ndarray, horizon: float, rng: np.random.Generator
) -> np.ndarray:
    picture = _sky(shape, y, horizon, rng)
    sand = rgb(("#d8b377", "#c98f5e", "#e3d2a8", "#b7a48c", "#eef2f6")[rng.integers(5)])
    dune = horizon + rng.uniform(4, 14) * np.sin(x * rng.uniform(0.006, 0.02) + rng.uniform(0, 7))
    ripples = np.sin(y * 0.35 + 5 * _noise(shape, rng, (30, 60)) * 4)
    ground = sand * (0.86 + 0.05 * ripples + 0.22 * _layered(shape, rng, 60))[..., None]
    return mix(picture, ground.astype(np.float32), smooth_step(y - dune, -1, 1))


def _room(shape: tuple[int, int], x: np.ndarray, y: np.ndarray, horizon: float, rng: np.random.Generator) -> np.ndarray:
    walls = ("#d8cfc0", "#a9b8b5", "#c7a58f", "#8d9bb0", "#e0d6a8", "#b78f9a")
    wall = rgb(walls[rng.integers(6)]) * (0.9 + 0.15 * _layered(shape, rng, 120)[..., None])
    if rng.random() < 0.6:
        width = rng.uniform(14, 40)
        wall = wall * (0.93 + 0.07 * smooth_step(np.sin(x * np.float32(2 * math.pi / width)), -0.2, 0.2))[..., None]
    floor = rgb(("#8a5f3c", "#a98258", "#6d6660", "#a3554a", "#587a86")[rng.integers(5)])
    grain = _noise(shape, rng, (3, 60)) * 0.6 + _noise(shape, rng, (20, 90)) * 0.4
    planks = 1 - 0.25 * (1 - smooth_step(np.abs(np.mod(y - horizon, rng.uniform(16, 30)) - 2), 0, 1.5))
    floor = floor * ((0.78 + 0.4 * grain) * planks)[..., None]
    skirting = wall * 0.7 + 0.25
    picture = np.where((y > horizon - 9)[..., None], skirting, wall)
    return mix(picture.astype(np.float32), floor.astype(np.float32), smooth_step(y - horizon, -1, 1))


def _studio(
    shape: tuple[int, int], x: np.ndarray, y: np.ndarray, horizon: float, rng: np.random.Generator
) -> np.ndarray:
    hues = rng.random((4, 3), dtype=np.float32) * 0.5 + 0.4
    picture = mix(hues[0], hues[1], np.clip(y / shape[0], 0, 1))
    for hue in (*hues[2:], *hues):
        centre, radius = rng.random(2) * shape[::-1], rng.uniform(0.05, 0.3) * shape[1]
        blob = smooth_step(radius - np.hypot(x - centre[0], y - centre[1]), -radius * 0.25, radius * 0.25)
        picture = mix(picture, hue, 0.5 * blob)
    ground = picture * 0.6 + 0.35 * hues[1]
    ground = ground * (0.85 + 0.2 * _layered(shape, rng, 30)[..., None])
    return mix(picture, ground.astype(np.float32), smooth_step(y - horizon, -20, 20))


_Painter = Callable[[tuple[int, int], np.ndarray, np.ndarray, float, np.random.Generator], np.ndarray]
_PLACES: tuple[_Painter, ...] = (_meadow, _meadow, _desert, _room, _studio)
