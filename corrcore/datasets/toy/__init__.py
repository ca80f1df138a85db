"""Drawn animals with exact dense correspondence, for machines without annotated photos.

An animal is a set of solid parts before a camera without perspective. Its modules, from the ground up: `solids`,
`body`, `anatomy`, `keypoints`, `scene`, `camera`, `colours`, `backgrounds`, `render`, and `dataset`, the door.
"""

from corrcore.datasets.toy.dataset import CATEGORIES, TITLE, Drawing, correspondence, load

__all__ = ["CATEGORIES", "TITLE", "Drawing", "correspondence", "load"]
