"""A small data set in PASCAL VOC's layout, to spoil."""

from pathlib import Path

from PIL import Image

BOX = {"xmin": 11, "ymin": 6, "width": 29, "height": 19}


def point(name, x, y, visible=1):
    return f'<keypoint name="{name}" visible="{visible}" x="{x}" y="{y}" z="0.00"/>'


def annotation(image, number, category="cat", *, box=None, points=None):
    bounds = " ".join(f'{key}="{value}"' for key, value in (box or BOX).items())
    points = [point("Nose", 20, 10), point("L_Eye", 18, 8)] if points is None else points
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotation>\n'
        f"<image>{image}</image><voc_id>{number}</voc_id><category>{category}</category>"
        f"<visible_bounds {bounds}/><keypoints>{''.join(points)}</keypoints>\n</annotation>\n"
    )


class Tree:
    """A small data set of 60 x 40 px photos: two cats to train on, one to test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "JPEGImages").mkdir(parents=True)
        (root / "ImageSets" / "Main").mkdir(parents=True)
        for image in ("2008_1", "2008_2", "2009_1"):
            self.photo(image)
        self.lists(train=["2008_1", "2008_2"], val=["2009_1"])
        self.add("2008_1", 1)
        self.add("2008_2", 3)
        self.add("2009_1", 1)

    def photo(self, image, size=(60, 40)):
        Image.new("RGB", size, (10, 20, 30)).save(self.root / "JPEGImages" / f"{image}.jpg")

    def lists(self, **splits):
        for split, names in splits.items():
            (self.root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))

    def add(self, image, number, category="cat", **options):
        return self.write(f"{category}/{image}_{number}.xml", annotation(image, number, category, **options))

    def write(self, path, text):
        file = self.root / "keypoints" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file
