import numpy as np
import pytest
from PIL import Image, features

from corrcore.decoding import ImageError, decode
from tests.decoding.files import DEEP, GREY, RGB, save


def fuzz_seeds() -> dict[str, bytes]:
    indexed = RGB.quantize(32)
    block = Image.Exif()
    block[271], block[274] = "maker" * 9, 6
    turned = {"exif": block.tobytes()}
    animated = {"save_all": True, "append_images": [RGB.rotate(180)]}
    seeds = {
        "jpeg": save(RGB, "JPEG", **turned),
        "progressive": save(RGB, "JPEG", progressive=True),
        "cmyk": save(RGB.convert("CMYK"), "JPEG"),
        "png": save(RGB, "PNG", **turned),
        "palette": save(indexed, "PNG", transparency=bytes(range(32))),
        "apng": save(RGB, "PNG", **animated),
        "deep": save(Image.fromarray(DEEP), "PNG"),
        "gif": save(indexed, "GIF", transparency=3, save_all=True, append_images=[indexed.rotate(180)], comment=b"hi"),
        "webp": save(RGB, "WEBP", **turned),
        "webp-animated": save(RGB, "WEBP", **animated),
        "bmp": save(RGB, "BMP"),
        "bmp-palette": save(indexed, "BMP"),
        "tiff": save(RGB, "TIFF", **turned),
        "tiff-lzw": save(RGB, "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": save(RGB, "TIFF", compression="jpeg"),
        "tiff-fax": save(RGB.convert("1"), "TIFF", compression="group4"),
        "tiff-float": save(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
        "ppm": save(RGB, "PPM"),
        "pbm": save(RGB.convert("1"), "PPM"),
    }
    if features.check("avif"):
        seeds |= {"avif": save(RGB, "AVIF", **turned), "avif-animated": save(RGB, "AVIF", **animated)}
    return seeds


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    how = rng.integers(4)
    if how == 0:
        return data[: rng.integers(len(data))]
    changed = bytearray(data)
    # Anywhere, in the headers at the start, or where TIFF has its directory.
    low, high = {1: (0, len(data)), 2: (0, min(len(data), 120)), 3: (max(0, len(data) - 300), len(data))}[int(how)]
    for at in rng.integers(low, high, size=rng.integers(1, 6)):
        changed[at] = rng.integers(256) if rng.random() < 0.5 else changed[at] ^ 1 << rng.integers(8)
    return bytes(changed)


FUZZ_SEEDS = fuzz_seeds()


@pytest.mark.parametrize("seed", FUZZ_SEEDS.values(), ids=FUZZ_SEEDS)
def test_decode_gives_a_picture_or_an_image_error_for_damaged_files(seed):
    rng = np.random.default_rng(20)
    decode(seed)
    for _ in range(60):
        try:
            image = decode(mutated(seed, rng))
        except ImageError:
            continue
        assert image.ndim == 3
        assert image.flags.writeable
