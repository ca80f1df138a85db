"""How the parts of an animal hang together."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from corrcore.datasets.toy.body import Body, Species
from corrcore.datasets.toy.solids import Part, Vector, ball, direction, frame_along, limb, unit, vector

LEGS = ("L_F", "R_F", "L_B", "R_B")
_FORWARD, _UPWARD = vector(1, 0, 0), vector(0, 0, 1)


def anatomy(species: Species, body: Body) -> list[Part]:
    """The parts of an animal, from its trunk to its tail."""
    shoulder, hip = vector(0.40, 0, body.hip), vector(-0.40, 0, body.hip)
    nape = shoulder + vector(0.06, 0, body.chest * 0.35)
    aim = direction(math.cos(body.neck_up), math.sin(body.neck_up), 0.35 * math.sin(body.head_turn))
    head = _Head(nape + unit(aim) * (body.neck + body.head * 0.5), body)
    return [
        *_trunk(shoulder, hip, body),
        _neck(nape, head.skull, species, body),
        *(_cat_face(head) if species == "cat" else _cow_face(head)),
        *_ears(head, species),
        *_legs(shoulder, hip, species, body),
        *_tail(hip, species, body),
    ]


@dataclass(frozen=True)
class _Head:
    """The head's own frame: forward from the skull's centre, to its left, up."""

    skull: Vector
    body: Body

    @property
    def frame(self) -> Float[np.ndarray, "3 3"]:
        down, turn = self.body.head_down, self.body.head_turn
        face = direction(math.cos(down) * math.cos(turn), -math.sin(down), math.cos(down) * math.sin(turn))
        left = unit(np.cross(_UPWARD, face))
        return np.stack([face, left, np.cross(face, left)], axis=1)

    def at(self, ahead: float, left: float, above: float) -> Vector:
        """A place, in sizes of the head."""
        return self.skull + self.frame @ (vector(ahead, left, above) * self.body.head)


def _trunk(shoulder: Vector, hip: Vector, body: Body) -> list[Part]:
    first, last = hip + vector(0.13, 0, -0.01), shoulder + vector(-0.13, 0, -0.015)
    across = (body.belly, body.width * 0.98)
    return [
        ball("chest", "coat", shoulder + vector(-0.05, 0, 0.01), (0.29, body.width, body.chest)),
        limb("belly", "coat", first, last, across, _UPWARD, length=2.6, end=1.0),
        ball("rump", "coat", hip + vector(0.06, 0, 0.0), (0.27, body.width * 0.97, body.rump)),
    ]


def _neck(nape: Vector, skull: Vector, species: Species, body: Body) -> Part:
    below = direction(math.sin(body.neck_up), -math.cos(body.neck_up))
    across = (body.neck_width * (1.25 if species == "cat" else 1.4), body.neck_width)
    return limb("neck", "coat", nape, skull, across, below, length=3.0, end=0.72)


def _cat_face(head: _Head) -> list[Part]:
    size, frame = head.body.head, head.frame
    tip = head.at(0.62, 0, -0.26) + frame[:, 0] * head.body.muzzle
    nose = tip + frame @ vector(0.30, 0, 0.22) * size
    across = (size * 0.44, size * 0.56)
    return [
        ball("head", "coat", head.skull, (size * 1.0, size * 1.04, size * 0.92), frame),
        limb("muzzle", "muzzle", head.at(0.45, 0, -0.28), tip, across, frame[:, 2], length=1.2, end=0.72),
        ball("nose", "nose", nose, (size * 0.13, size * 0.17, size * 0.12), frame),
    ]


def _cow_face(head: _Head) -> list[Part]:
    size, frame = head.body.head, head.frame
    tip = head.at(0.5, 0, -0.12) + frame[:, 0] * head.body.muzzle
    nose = tip + frame @ vector(0.52, 0, 0.26) * size
    across = (size * 0.80, size * 0.80)
    return [
        ball("head", "coat", head.skull, (size * 1.25, size * 1.0, size * 1.0), frame),
        limb("face", "coat", head.at(0.35, 0, -0.02), tip, across, frame[:, 2], length=2.0, end=0.8),
        ball("muzzle", "muzzle", tip + frame[:, 0] * size * 0.12, (size * 0.62, size * 0.80, size * 0.66), frame),
        ball("nose", "nose", nose, (size * 0.26, size * 0.50, size * 0.27), frame),
    ]


def _ears(head: _Head, species: Species) -> list[Part]:
    """Eyes, ears and, of a cow, horns."""
    body, size, frame, cat = head.body, head.body.head, head.frame, species == "cat"
    eye, eye_size = ((0.74, 0.45, 0.18), 0.235) if cat else ((0.64, 0.76, 0.38), 0.24)
    parts = []
    for side, sign in (("L", 1), ("R", -1)):
        parts.append(ball(f"{side}_eye", "eye", head.at(eye[0], sign * eye[1], eye[2]), (size * eye_size,) * 3, frame))
        out = direction(-0.12, math.cos(body.ear_out), sign * math.sin(body.ear_out))
        base = head.at(-0.10, sign * (0.56 if cat else 0.78), 0.60 if cat else 0.52)
        tip = base + frame @ out * body.ear
        opening = frame @ unit(vector(1.0, sign * (0.45 if cat else 0.3), -0.1 if cat else 0.2))
        across, end = (body.ear_width * 0.55, body.ear_width), 0.25 if cat else 0.6
        parts.append(limb(f"{side}_ear", "ear", base, tip, across, opening, length=2.2, end=end))
        if not cat:
            root = head.at(-0.25, sign * 0.50, 0.75)
            tip = root + frame @ unit(vector(0.15, sign * 0.75, 0.9)) * size * 1.15
            across = (size * 0.24, size * 0.24)
            parts.append(limb(f"{side}_horn", "horn", root, tip, across, frame[:, 0], length=4.0, end=0.3))
    return parts


def _legs(shoulder: Vector, hip: Vector, species: Species, body: Body) -> list[Part]:
    """Of each leg a thigh in the trunk, an upper and a lower limb, and a paw on the ground."""
    parts = []
    for name, swing, bend in zip(LEGS, body.swing, body.bend, strict=True):
        front, sign = name[2] == "F", 1 if name[0] == "L" else -1
        joint = (shoulder if front else hip) + vector(-0.02 if front else 0.02, sign * body.width * 0.62, -0.04)
        thick = body.leg
        drop = joint[2] - body.paw * 0.75
        lean = swing + (0.10 if front else 0.16)
        knee = joint + direction(math.sin(lean), -math.cos(lean)) * drop * 0.52
        back = swing - bend - (0.02 if front else 0.22)
        ankle = knee + direction(math.sin(back), -math.cos(back)) * drop * 0.50
        radii = (0.15, body.width * 0.36, body.chest * 0.85) if front else (0.19, body.width * 0.42, body.rump * 0.98)
        thigh = joint + (knee - joint) * 0.16
        upper, lower = (thick * 1.40, thick * 1.10), (thick * 0.90, thick * 0.80)
        foot = vector(ankle[0] + body.paw * 0.45, ankle[1], max(ankle[2], body.paw * 0.7))
        sole = "paw" if species == "cat" else "hoof"
        parts += [
            ball(f"{name}_thigh", "coat", thigh, radii, frame_along(joint - knee, _FORWARD)),
            limb(f"{name}_upper", "coat", joint, knee, upper, _FORWARD, length=3.0, end=0.58),
            limb(f"{name}_lower", "coat", knee, ankle, lower, _FORWARD, length=4.0, end=0.72),
            ball(f"{name}_paw", sole, foot, (body.paw * 1.35, body.paw, body.paw * 0.80)),
        ]
    return parts


def _tail(hip: Vector, species: Species, body: Body) -> list[Part]:
    """Limbs, each bent against the one before; of a cow also the tuft at their end, and the udder."""
    cat, parts = species == "cat", []
    joint, angle = hip + vector(-0.17, 0, body.rump * 0.55), body.tail_up
    for number, end in enumerate((0.9, 0.9, 0.9, 0.9, 0.9, 0.7)):
        step = direction(-math.cos(angle), math.sin(angle)) * body.tail / 6
        thick = (0.052 if cat else 0.036) * 0.93**number
        hint = _UPWARD + _FORWARD * 0.3
        parts.append(limb(f"tail_{number}", "coat", joint, joint + step, (thick, thick), hint, length=2.5, end=end))
        joint, angle = joint + step, angle + body.tail_curl * (0.1 + 0.09 * number)
    if not cat:
        parts.append(ball("tuft", "tuft", joint, (0.05, 0.05, 0.10)))
        parts.append(ball("udder", "udder", vector(-0.22, 0, body.hip - body.belly * 0.90), (0.13, 0.10, 0.10)))
    return parts
