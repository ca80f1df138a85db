"""Photographs to start with: those that lie inside the installed scikit-image and scikit-learn.

Nothing is downloaded and neither package is imported, only looked up. Of their pictures these are the colour
photographs of things and places; the others are grey, drawn, or seen through a microscope, telescope or ophthalmoscope.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from corrcore import decoding


@dataclass(frozen=True)
class Sample:
    """A photograph and where it comes from.

    `name` is short and fit for an address, `title` for people. Samples with the same `scene` show the same thing: one
    must not be searched for the other's patches.
    """

    name: str
    title: str
    scene: str
    source: str
    licence: str
    package: str
    file: str

    @property
    def path(self) -> Path:
        """Where the file lies. Raises `FileNotFoundError` where its package, or the file in it, is missing."""
        package = importlib.util.find_spec(self.package)
        folders = package.submodule_search_locations if package else None
        for folder in folders or ():
            path = Path(folder, self.file)
            if path.is_file():
                return path
        wheel = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[self.package]
        msg = f"The sample '{self.name}' is {self.file} in {wheel}, and is not there; install {wheel} from its wheel."
        raise FileNotFoundError(msg)

    def load(self) -> UInt8[np.ndarray, "height width 3"]:
        """Decode the photograph. Raises `FileNotFoundError` as `path` does."""
        return decoding.decode(self.path)


def samples() -> dict[str, Sample]:
    """All samples by name, in the order of a gallery. Records only: files are looked for when they are loaded."""
    return {sample.name: sample for sample in _SAMPLES}


def one_of_each_scene() -> dict[str, Sample]:
    """The samples without second views of one scene, which would be rebuilt from each other."""
    scenes: dict[str, Sample] = {}
    for sample in _SAMPLES:
        scenes.setdefault(sample.scene, sample)
    return {sample.name: sample for sample in scenes.values()}


_SAMPLES = (
    Sample(
        name="chelsea",
        title="Chelsea the cat",
        scene="chelsea",
        source="Stéfan van der Walt, through scikit-image",
        licence="CC0",
        package="skimage",
        file="data/chelsea.png",
    ),
    Sample(
        name="astronaut",
        title="Eileen Collins, astronaut",
        scene="astronaut",
        source="NASA Great Images, https://flic.kr/p/r9qvLn, through scikit-image",
        licence="Public domain (NASA)",
        package="skimage",
        file="data/astronaut.png",
    ),
    Sample(
        name="motorcycle-left",
        title="Motorcycle, left view",
        scene="motorcycle",
        source="Middlebury 2014 stereo benchmark (Scharstein et al., GCPR 2014), through scikit-image",
        licence="None stated; cite D. Scharstein et al., GCPR 2014",
        package="skimage",
        file="data/motorcycle_left.png",
    ),
    Sample(
        name="motorcycle-right",
        title="Motorcycle, right view",
        scene="motorcycle",
        source="Middlebury 2014 stereo benchmark (Scharstein et al., GCPR 2014), through scikit-image",
        licence="None stated; cite D. Scharstein et al., GCPR 2014",
        package="skimage",
        file="data/motorcycle_right.png",
    ),
    Sample(
        name="coffee",
        title="Cup of coffee",
        scene="coffee",
        source="Rachel Michetti, Pikolo Espresso Bar, through scikit-image",
        licence="CC0",
        package="skimage",
        file="data/coffee.png",
    ),
    Sample(
        name="china",
        title="Pavilion above a lake",
        scene="china",
        source="danielbuechele, https://www.flickr.com/photos/danielbuechele/6061409035/, through scikit-learn",
        licence="CC BY 2.0, https://creativecommons.org/licenses/by/2.0/",
        package="sklearn",
        file="datasets/images/china.jpg",
    ),
    Sample(
        name="flower",
        title="Dahlia",
        scene="flower",
        # Its README credits china.jpg's author for this one too, but links to this account.
        source="vultilion, https://www.flickr.com/photos/vultilion/6056698931/, through scikit-learn",
        licence="CC BY 2.0, https://creativecommons.org/licenses/by/2.0/",
        package="sklearn",
        file="datasets/images/flower.jpg",
    ),
    Sample(
        name="rocket",
        title="Falcon 9 on its launch pad",
        scene="rocket",
        source="SpaceX, https://www.flickr.com/photos/spacexphotos/16511594820/, through scikit-image",
        licence="Public domain (SpaceX)",
        package="skimage",
        file="data/rocket.jpg",
    ),
)
