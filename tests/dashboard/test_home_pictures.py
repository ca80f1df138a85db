"""Home's pictures are what the code makes today, not what it made once."""

import numpy as np
import pytest
from PIL import Image

from corrcore import networks, patch_index
from corrcore.datasets.samples import samples
from corrcore.tasks import averaging, reconstruction
from dashboard import figures
from dashboard.navigation import PICTURES

AT = (173, 115)  # an eye


def kept(name: str) -> np.ndarray:
    with Image.open(PICTURES / name) as picture:
        return np.asarray(picture.convert("RGB")).astype(float)


@pytest.mark.parametrize("layer", ["conv3", "conv5"])
def test_the_first_pictures_are_the_codes(cache_folder, layer):
    backbone, image = networks.load("alexnet"), samples()["chelsea"].load()
    index = patch_index.samples(backbone)
    same = (index.photos.index("chelsea"),)
    grid = backbone.extract(image, [layer])[layer]
    found = reconstruction.retrieve(image, layer, backbone=backbone, index=index, k=5, exclude=same)
    rebuilt = figures.crop(reconstruction.rebuild(found, index, k=5), grid.cells.covered)
    assert np.abs(kept(f"rebuilt_{layer}.jpg") - rebuilt).mean() < 4  # JPEG's loss; other patches differ by 30 and more
    descriptor = grid.descriptors[grid.cells.nearest(*AT)].float().cpu()
    [average] = averaging.average(descriptor, layer, index=index, ks=(50,), exclude=same).averages
    drawn = averaging.expand_contrast(average.mean, average.count)
    assert np.abs(kept(f"average_{layer}.png") - drawn).mean() < 1
