"""The measures of an animal: the average of its kind, and one at random."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Species = Literal["cat", "cow"]


@dataclass(frozen=True)
class Body:
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


MEAN = {
    "cat": Body(
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
    "cow": Body(
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


def species_of(category: str) -> Species:
    """The kind of animal of a category."""
    return "cat" if category == "toy cat" else "cow"


def random_body(species: Species, rng: np.random.Generator) -> Body:
    """An animal of a kind, its pose included."""
    mean = MEAN[species]

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
    return Body(
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
