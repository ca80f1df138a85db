"""Keypoints: the part each lies on, and the place on its solid. Named as those of PASCAL VOC's animals."""

import math
from collections.abc import Sequence

from corrcore.datasets.toy.anatomy import LEGS
from corrcore.datasets.toy.body import Species
from corrcore.datasets.toy.solids import Vector, unit, vector


def _on_limb(height: float, toward: Sequence[float], *, length: float, end: float) -> Vector:
    """A point of a limb's surface, by the height of the ball that touches it there."""
    sin = (1 - end) / length
    around = unit(vector(*toward, 0)) * math.sqrt(1 - sin * sin)
    return vector(0, 0, height) + (1 - height * sin) * (around + vector(0, 0, sin))


def keypoint_places(species: Species) -> dict[str, tuple[str, Vector]]:
    """The part and the place on its solid, chosen to be seen from many sides."""
    ear_end = 0.25 if species == "cat" else 0.6
    points = {}
    for side, sign in (("L", 1), ("R", -1)):
        points[f"{side}_Eye"] = (f"{side}_eye", unit(vector(0.75, sign * 0.65, 0.12)))
    points["Nose"] = ("nose", unit(vector(0.85, 0, 0.5)))
    for side in ("L", "R"):
        points[f"{side}_EarBase"] = (f"{side}_ear", _on_limb(0.75, (1, 0), length=2.2, end=ear_end))
    points["Throat"] = ("neck", _on_limb(1.3, (1, 0), length=3.0, end=0.72))
    points["Withers"] = ("chest", unit(vector(-0.25, 0, 0.97)))
    points["TailBase"] = ("rump", unit(vector(-0.42, 0, 0.91)))
    for leg in LEGS:
        sign = 1 if leg[0] == "L" else -1
        points[f"{leg}_Elbow"] = (f"{leg}_lower", _on_limb(0.15, (1, -0.15 * sign), length=4.0, end=0.72))
    for leg in LEGS:
        points[f"{leg}_Paw"] = (f"{leg}_paw", unit(vector(0.75, 0, 0.66)))
    return points
