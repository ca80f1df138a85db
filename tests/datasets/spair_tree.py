"""A small data set in SPair-71k's layout, to spoil."""

import json
from pathlib import Path

from PIL import Image

SIZE = (60, 40)
KPS = {"0": [10, 12], "1": None, "2": [30, 20], "10": [5, 6]}


def annotation(category="cow", **changes):
    """An annotation's content; a change to None takes a field away."""
    plain = {
        "image_width": SIZE[0],
        "image_height": SIZE[1],
        "category": category,
        "bndbox": [3, 5, 50, 40],
        "kps": KPS,
        **changes,
    }
    return {name: value for name, value in plain.items() if value is not None}


class Tree:
    """Two cows to train on, one pair each to validate and to test, and a pair of cats to test; 60 x 40 px photos.

    Photos lie in VOC2011 beside it unless `own`.
    """

    def __init__(self, root: Path, *, own: bool = False) -> None:
        self.root, self.own = root, own
        self.voc = root.parent / "VOC2011" / "JPEGImages"
        (root / "Layout" / "large").mkdir(parents=True)
        self.lists(
            trn=["000003-2007_1-2008_2:cow", "000007-2008_2-2007_1:cow"],
            val=["000001-2009_1-2009_2:cow"],
            test=["000012-2010_9-2010_10:cow", "000015-2010_10-2010_9:cow", "000002-2011_1-2011_2:cat"],
        )
        for image in ("2007_1", "2008_2", "2009_1", "2009_2", "2010_9", "2010_10"):
            self.add(image)
        for image in ("2011_1", "2011_2"):
            self.add(image, "cat")

    def lists(self, **splits):
        for split, lines in splits.items():
            (self.root / "Layout" / "large" / f"{split}.txt").write_text("".join(f"{line}\n" for line in lines))

    def add(self, image, category="cow", **changes):
        self.photo(image, category)
        return self.write(image, json.dumps(annotation(category, **changes)), category)

    def photo(self, image, category="cow", size=SIZE):
        folder = self.root / "JPEGImages" / category if self.own else self.voc
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (10, 20, 30)).save(folder / f"{image}.jpg")
        return folder / f"{image}.jpg"

    def write(self, image, text, category="cow"):
        file = self.root / "ImageAnnotation" / category / f"{image}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file
