"""How close descriptors in half precision are to those in single precision.

The least cosine of any cell, of the first layer, the one for transfer and the last, on samples of 224 px. Option:
networks, their names with commas between.
"""

from collections.abc import Iterator

import torch

from corrcore import images, networks
from corrcore.datasets.samples import samples
from tests.benchmarks.measure import Bar, Row, Run

N_PHOTOS = 4
BARS = {torch.float16: 0.999, torch.bfloat16: 0.99}


def rows(run: Run) -> Iterator[Row]:
    photos = [images.resize_to(each.load(), height=224, width=224) for each in list(samples().values())[:N_PHOTOS]]
    for name in run.option("networks", "alexnet").split(","):
        single = networks.open(name, device=run.device)
        layers = list(dict.fromkeys([single.layers[0], single.roles.transfer, single.layers[-1]]))
        expected = [single.extract(photo, layers) for photo in photos]
        for dtype, bar in BARS.items():
            half = networks.open(name, dtype=dtype, device=run.device)
            found = [half.extract(photo, layers) for photo in photos]
            least = min(
                float(torch.cosine_similarity(one[layer].flat().float(), other[layer].flat().float(), dim=-1).min())
                for one, other in zip(found, expected, strict=True)
                for layer in layers
            )
            yield Row(f"{name}, {dtype}, least cosine to single precision", least, bar=Bar.least(bar), unit="")
