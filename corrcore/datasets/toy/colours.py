"""The colours of an animal, by the place on it. All are 0 to 1 and named by what they are on."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import ndimage

from corrcore.datasets.toy.anatomy import anatomy
from corrcore.datasets.toy.body import MEAN, Species
from corrcore.datasets.toy.scene import Scene
from corrcore.datasets.toy.solids import Part, places_of, unit, vector

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


def rgb(code: str) -> np.ndarray:
    """A colour by its code, such as ``#a45f25``, as 0 to 1."""
    return np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)], np.float32) / 255


def mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """From the first colour at share 0 to the second at 1."""
    return first + (second - first) * share[..., None]


def smooth_step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below, 1 above, and smooth between."""
    share = np.clip((values - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


class Waves:
    """Smooth noise in space: periodic in `_CELLS` features, with mean 0 and variance 1, another at every call."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draws the values that every call reads at another offset."""
        noise = ndimage.gaussian_filter(rng.normal(size=(_CELLS * 2,) * 3), 1.6, mode="wrap", output=np.float32)
        self.rng, self.values = rng, (noise - noise.mean()) / noise.std()

    def __call__(self, points: np.ndarray, length: float) -> np.ndarray:
        """A value per point; features are about `length` long."""
        offset = self.rng.uniform(0, 2 * _CELLS, (3, 1)).astype(np.float32)
        places = points.T * np.float32(2 / length) + offset
        return ndimage.map_coordinates(self.values, places, order=1, mode="grid-wrap", prefilter=False)


_CELLS = 16


@cache
def _resting(species: Species) -> list[Part]:
    """The average animal at rest. Coats are patterned where its points lie, so that patterns run on between parts."""
    return anatomy(species, MEAN[species])


def paint(
    scene: Scene, species: Species, owns: Sequence[slice], solid: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The colour of every point of the animal, by its place on the animal alone: light comes later."""
    rest = places_of(_resting(species), owns, solid)
    coat, pattern, underside = (rgb(code) for code in _COATS[species][rng.integers(len(_COATS[species]))])
    waves = Waves(rng)
    tint = rng.uniform(-0.05, 0.05, 3).astype(np.float32)
    colour = mix(coat, pattern, _pattern(rest, species, waves, rng)) * (1 + tint)
    pale = smooth_step(-rest[:, 2], -(0.50 if species == "cat" else 0.56), -0.34) * rng.uniform(0.2, 0.9)
    colour = mix(colour, underside, pale * np.float32(1))
    fur = waves(rest * np.array([1, 1, 0.4], np.float32), 0.012)
    colour = colour * (1 + 0.045 * fur[:, None])

    iris = rgb(("#c9a227", "#7fa04a", "#5d93b5", "#b5702c")[rng.integers(4)])
    socks = rng.random() < 0.45
    mask = underside if rng.random() < 0.6 else coat
    for own, one in zip(owns, scene.parts, strict=True):
        place = solid[own]
        count = len(place)
        sign = 1 if one.name.startswith("L") else -1
        if one.material == "eye":
            colour[own] = _eye(place, sign, species, iris)
        elif one.material == "nose":
            holes = 1.0
            if species == "cow":
                spot = np.abs(place[:, 1]) - 0.55
                holes = smooth_step(spot**2 + (place[:, 2] - 0.1) ** 2, 0.02, 0.06)
            tone = rgb(_NOSE) if species == "cat" else rgb("#6e5150")
            colour[own] = tone * (0.35 + 0.65 * np.broadcast_to(holes, count))[:, None]
        elif one.material == "ear":
            opening = (
                smooth_step(place[:, 0], 0.25, 0.42)
                * smooth_step(place[:, 2], 0.15, 0.5)
                * (1 - smooth_step(place[:, 2], 1.6, 2.1))
            )
            colour[own] = mix(colour[own] * 0.94, rgb(_SKIN), 0.85 * opening)
        elif one.material == "muzzle":
            tone = mask if species == "cat" else 0.45 * mask + 0.55 * rgb(_SKIN)
            colour[own] = mix(colour[own], tone, np.full(count, 0.8, np.float32))
        elif one.material == "horn":
            colour[own] = mix(rgb(_HORN), rgb("#5b4d3c"), smooth_step(place[:, 2], 2.0, 4.2))
        elif one.material == "hoof":
            colour[own] = rgb("#3b322c")
        elif one.material == "paw":
            toes = smooth_step(np.abs(np.abs(place[:, 1]) - 0.33), 0.0, 0.10)
            toes = 1 - (1 - toes) * smooth_step(place[:, 0], 0.35, 0.6)
            own_colour = mix(colour[own], underside, np.full(count, 0.85 * socks, np.float32))
            colour[own] = own_colour * (0.62 + 0.38 * toes)[:, None]
        elif one.material == "tuft":
            colour[own] = pattern * 0.7 + coat * 0.1
        elif one.material == "udder":
            colour[own] = rgb(_SKIN)
    return colour


def _eye(place: np.ndarray, sign: int, species: Species, iris: np.ndarray) -> np.ndarray:
    """The colours of an eye, which looks to its side and shines."""
    gaze = place @ unit(vector(0.80, sign * (0.60 if species == "cat" else 0.75), 0.08)).astype(np.float32)
    shine = place @ unit(vector(0.75, sign * 0.45, 0.55)).astype(np.float32)
    look = np.broadcast_to(rgb("#1c1613"), (len(place), 3))
    if species == "cat":
        look = mix(look, iris, smooth_step(gaze, 0.42, 0.50) * (1 - smooth_step(gaze, 0.80, 0.87)))
    else:
        look = mix(look, rgb("#4a2f20"), smooth_step(gaze, 0.30, 0.55) * (1 - smooth_step(gaze, 0.72, 0.82)))
    return mix(look, rgb("#ffffff"), smooth_step(shine, 0.955, 0.975))


def _pattern(rest: np.ndarray, species: Species, waves: Waves, rng: np.random.Generator) -> np.ndarray:
    """How much of the second colour shows, by the place on the animal at rest."""
    if species == "cow":
        kind = rng.choice(("patches", "patches", "patches", "saddle", "shaded"))
    else:
        kind = rng.choice(("stripes", "stripes", "spots", "patches", "shaded"))
    if kind == "stripes":
        bent = rest[:, 0] + 0.03 * waves(rest, 0.2) + 0.12 * np.abs(rest[:, 1])
        wave = np.sin(bent * np.float32(2 * math.pi / rng.uniform(0.11, 0.16)))
        return 0.85 * smooth_step(wave, 0.0, 0.5) * smooth_step(rest[:, 2], 0.22, 0.6)
    if kind == "spots":
        return 0.9 * smooth_step(waves(rest, rng.uniform(0.07, 0.1)), 0.45, 0.65)
    if kind == "patches":
        return smooth_step(waves(rest, rng.uniform(0.2, 0.3)), 0.05, 0.15)
    if kind == "saddle":
        return smooth_step(rest[:, 0] + 0.05 * waves(rest, 0.2), 0.1, 0.16) * (1 - smooth_step(rest[:, 0], 0.5, 0.56))
    return smooth_step(rest[:, 0] + 0.6 * rest[:, 2] + 0.08 * waves(rest, 0.3), 0.1, 1.1)
