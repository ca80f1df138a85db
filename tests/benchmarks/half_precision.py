"""How close descriptors in half precision are to those in single precision.

    python tests/benchmarks/half_precision.py [NAME ...]

The least cosine of any cell, of the first layer, the one for transfer and the last, on samples of 224 px.
"""

import argparse

import torch

from corrcore import images, networks
from corrcore.datasets.samples import samples

N_PHOTOS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["alexnet"])
    names = parser.parse_args().names
    photos = [images.resize_to(each.load(), height=224, width=224) for each in list(samples().values())[:N_PHOTOS]]
    for name in names:
        single = networks.open(name)
        layers = list(dict.fromkeys([single.layers[0], single.roles.transfer, single.layers[-1]]))
        expected = [single.extract(photo, layers) for photo in photos]
        for dtype in (torch.float16, torch.bfloat16):
            half = networks.open(name, dtype=dtype)
            found = [half.extract(photo, layers) for photo in photos]
            least = min(
                float(torch.cosine_similarity(one[layer].flat().float(), other[layer].flat().float(), dim=-1).min())
                for one, other in zip(found, expected, strict=True)
                for layer in layers
            )
            print(f"{name}, {dtype}: least cosine {least:.5f}")


if __name__ == "__main__":
    main()
