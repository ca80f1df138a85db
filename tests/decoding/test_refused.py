import struct
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from corrcore.decoding import ImageError, decode
from tests.decoding.files import (
    BAD_EXIF,
    GREY,
    HEIGHT,
    PICTURE,
    RGB,
    WIDTH,
    assert_pixels,
    bomb,
    chunk,
    filtered,
    gif,
    gif_frame,
    png,
    save,
    tiff,
    tiff_of,
)


def test_decode_takes_exactly_the_pixels_allowed():
    data = save(RGB, "PNG")
    assert decode(data, max_pixels=HEIGHT * WIDTH).shape == PICTURE.shape
    with pytest.raises(ImageError, match=r"40 x 33 pixels \(0\.0 megapixels\), more than"):
        decode(data, max_pixels=HEIGHT * WIDTH - 1)


@pytest.mark.parametrize("max_pixels", [0, 89_478_486])
def test_decode_refuses_a_limit_it_could_not_keep(max_pixels):
    with pytest.raises(ValueError, match="max_pixels must be between 1 and 89,478,485; got") as caught:
        decode(save(RGB, "PNG"), max_pixels=max_pixels)
    assert not isinstance(caught.value, ImageError)


def corrupt(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def progressive_of_many_scans() -> bytes:
    data = save(RGB, "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * 60 + data[-2:]


def jpeg_declaring(width: int, height: int) -> bytes:
    data = save(RGB, "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def run_length_bmp() -> bytes:
    body = b"\1\1\0\0" * 300
    header = struct.pack("<IiiHHIIiiII", 40, 60_000, 300, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 1024) + header + bytes(1024) + body


def iso_file(major: bytes, *compatible: bytes) -> bytes:
    """The beginning of a file such as HEIF, AVIF or MP4."""
    brands = major + bytes(4) + b"".join(compatible)
    return struct.pack(">L", 8 + len(brands)) + b"ftyp" + brands + bytes(64)


def huge_png(width: int, height: int) -> bytes:
    return png(width, height, b"")


# Fifty thousand strips in turn at the upper and lower half: each is decoded, the whole 25,000 times over.
REPEATED_STRIPS = tiff_of(PICTURE[:32], t273=(4, [8] * 50_000), t278=(4, [16]), t279=(4, [16 * 3 * WIDTH] * 50_000))
BIG_TILES = tiff(
    {
        256: (4, [60]),
        257: (4, [60]),
        258: (3, [8]),
        259: (3, [8]),
        262: (3, [1]),
        277: (3, [1]),
        322: (4, [40_000]),
        323: (4, [40_000]),
        324: (4, [8]),
        325: (4, [8]),
    },
    b"whatever",
)

FORMATS = r"is in none of the formats read here \(JPEG, PNG, WebP, GIF, BMP, TIFF, PBM/PGM/PPM(, AVIF)?\); save it as"
REFUSED = {
    "empty": (b"", r"is empty \(0 bytes\); choose"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", FORMATS),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>', FORMATS),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", FORMATS),
    "psd": (b"8BPS\0\1" + bytes(40), FORMATS),
    "fits": (b"SIMPLE  =                    T".ljust(2880), FORMATS),
    "pdf": (b"%PDF-1.7\n", FORMATS),
    "icon": (save(RGB, "ICO"), FORMATS),
    "plain-ppm": (b"P3 1 1 255 9 9 9\n", FORMATS),
    "truncated-png": (save(RGB, "PNG")[:300], "cannot be decoded as PNG"),
    "truncated-jpeg": (save(RGB, "JPEG")[:-300], "cannot be decoded as JPEG"),
    "truncated-gif": (save(RGB, "GIF")[:200], r"cannot be decoded as GIF \(it ends too early\)"),
    "truncated-ppm": (save(RGB, "PPM")[:-1], "cannot be decoded as PBM/PGM/PPM"),
    "truncated-tiff": (tiff_of(PICTURE)[:-30], r"cannot be decoded as TIFF \(it ends too early\)"),
    "only-a-signature": (b"\xff\xd8\xff", "cannot be decoded as JPEG"),
    "bad-header-crc": (corrupt(save(RGB, "PNG"), 30), "cannot be decoded as PNG"),
    "0x0": (huge_png(0, 0), "cannot be decoded as PNG|holds no picture"),
    "0x0-ppm": (b"P6 0 0 255\n", "is 0 x 0 pixels, so it holds no picture"),
    "2^31-wide": (huge_png(2**31, 1), r"is 2,147,483,648 x 1 pixels \(2,147\.5 megapixels\), more than the 25\.0"),
    "50000^2": (huge_png(50_000, 50_000), r"50,000 x 50,000 pixels \(2,500\.0 megapixels\), more than the 25\.0 megap"),
    "100-Mpx": (huge_png(10_000, 10_000), r"is 10,000 x 10,000 pixels \(100\.0 megapixels\), more than the 25\.0"),
    "100-Mpx-jpeg": (jpeg_declaring(10_000, 10_000), "is 10,000 x 10,000 pixels"),
    "169-Mpx-one-bit": (save(Image.new("1", (13_000, 13_000)), "PNG"), r"13,000 x 13,000 pixels \(169\.0 megapixels\)"),
    "100-Mpx-gif": (gif(gif_frame(), width=10_000, height=10_000), "is 10,000 x 10,000 pixels"),
    "gif-of-a-far-frame": (gif(gif_frame(left=9_999, top=9_999)), "is 10,001 x 10,000 pixels"),
    "gif-of-a-farther-frame": (gif(gif_frame(left=65_000, top=65_000)), "is 65,002 x 65,001 pixels"),
    "100-Mpx-tiff": (tiff_of(GREY, t256=(4, [10_000]), t257=(4, [10_000])), "is 10,000 x 10,000 pixels"),
    "100-Mpx-ppm": (b"P6 10000 10000 255\n", "is 10,000 x 10,000 pixels"),
    "huge-webp": (
        b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff",
        r"is 16,777,216 x 16,777,216 pixels \(281,474,976\.7 megapixels\), more than the 25\.0",
    ),
    "long-side": (huge_png(65_536, 2), "is 65,536 x 2 pixels, with a side longer than the 65,535 accepted"),
    "ppm-of-a-giant-header": (b"P6\n#" + b"x" * 10_000_000 + b"\n1 1 255\n\0\0\0", r"\(its header makes no sense\)"),
    "ppm-of-giant-numbers": (b"P6 " + b"9" * 5_000_000 + b" 1 255\n", r"\(its header makes no sense\)"),
    "ppm-without-white": (b"P5 1 1 0\n\0", r"\(maximum 0 is not between 1 and 65535\)"),
    "jpeg-of-many-scans": (progressive_of_many_scans(), r"\(more than 50 scans\)"),
    "jpeg-of-many-segments": (b"\xff\xd8" + b"\xff\xe1\0\2" * 200_000, r"\(more than 131,072 segments\)"),
    "jpeg-of-junk": (b"\xff\xd8\xff" + b"\xff\0" * 3_000_000, "cannot be decoded as JPEG"),
    "png-of-many-chunks": (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"") * 200_000, r"\(more than 131,072 chunks\)"),
    "gif-of-many-blocks": (gif(b"!\xfe" + b"\1x" * 200_000), r"\(more than 131,072 blocks\)"),
    "gif-of-nothing": (gif(), r"\(no picture in it\)"),
    "run-length-bmp": (run_length_bmp(), r"\(run-length coded BMP is not read\)"),
    "tiff-of-repeated-strips": (REPEATED_STRIPS, r"\(its strips overlap\)"),
    "tiff-of-big-tiles": (BIG_TILES, r"\(tiles of 40000 x 40000 pixels\)"),
    "tiff-of-many-values": (tiff_of(GREY, t273=(4, [8] * 200_000)), r"\(tag 273 holds 200000 values\)"),
    "tiff-of-two-widths": (tiff_of(GREY, t256=(4, [40, 40])), r"\(tag 256 holds 2 values\)"),
    "tiff-of-no-size": (tiff({258: (3, [8])}, b""), "is 0 x 0 pixels, so it holds no picture"),
    "tiff-lzma": (tiff_of(GREY, t259=(3, [34925])), r"\(compression 34925 is not read\)"),
    "float-rgb-tiff": (tiff_of(PICTURE.astype(np.float32), sample_format=3), "cannot be decoded as TIFF"),
}
HEIF = r"is a HEIF picture \(HEIC\), which is not read here; export it as JPEG or PNG\."
REFUSED |= {
    "heic": (iso_file(b"heic", b"mif1", b"heic"), HEIF),
    "heic-of-10-bits": (iso_file(b"heix", b"mif1"), HEIF),
    "heif-with-hevc": (iso_file(b"mif1", b"mif1", b"heic", b"miaf"), HEIF),
    "heif-of-no-codec": (iso_file(b"mif1", b"miaf"), HEIF),
    "heif-sequence": (iso_file(b"msf1", b"hevc"), HEIF),
    "mp4": (iso_file(b"isom", b"mp41"), FORMATS),
    "dng": (
        tiff_of(PICTURE, t50706=(4, [0x0401])),
        r"\(a camera's raw file, which is not read\)",
    ),
    "nef": (tiff_of(PICTURE, t254=(4, [1]), t330=(4, [8, 8])), r"\(a camera's raw file"),
    "cr2": (b"II*\0\x10\0\0\0CR\2\0" + tiff_of(PICTURE)[12:16] + bytes(2), r"\(a camera's raw file"),
}
if features.check("avif"):
    REFUSED["avif-of-many-boxes"] = (
        b"\0\0\0\x10ftypavif\0\0\0\0" + b"\0\0\0\x08free" * 200_000,
        r"\(more than 131,072 boxes\)",
    )
    REFUSED["truncated-avif"] = (save(RGB, "AVIF")[:400], "cannot be decoded as AVIF")


@pytest.mark.parametrize(("data", "pattern"), REFUSED.values(), ids=REFUSED)
def test_decode_refuses_with_one_sentence(data, pattern):
    with pytest.raises(ImageError, match=pattern) as caught:
        decode(data, name="holiday.png")
    message = str(caught.value)
    assert message.startswith("'holiday.png' ")
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 300


def test_decode_gives_a_picture_or_a_sentence_for_a_bad_pixel_crc():
    data = save(RGB, "PNG")
    data = corrupt(data, data.index(b"IDAT") + 4 + int.from_bytes(data[data.index(b"IDAT") - 4 :][:4]))
    try:
        assert_pixels(decode(data), PICTURE)
    except ImageError as error:
        assert "cannot be decoded as PNG" in str(error)  # noqa: PT017


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_decode_needs_little_memory_to_refuse(tmp_path):
    """Metadata bombs and giant headers, in a process that may grow by 64 MiB only."""
    bombs = {name: data for name, (data, _) in REFUSED.items()}
    swollen = bomb(200 << 20)
    bombs["text"] = png(WIDTH, HEIGHT, filtered(PICTURE), *[chunk(b"zTXt", b"Comment\0\0" + swollen)] * 5)
    bombs["profile"] = png(WIDTH, HEIGHT, filtered(PICTURE), chunk(b"iCCP", b"profile\0\0" + swollen))
    for name, data in bombs.items():
        (tmp_path / name.replace("^", "")).write_bytes(data)
    code = """
        import pathlib, resource, sys
        from corrcore.decoding import ImageError, decode
        size = int(next(s for s in open("/proc/self/status") if s.startswith("VmSize")).split()[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20),) * 2)
        for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
            try:
                print(path.name, decode(path).shape)
            except ImageError as error:
                cause = error.__cause__
                while cause is not None:
                    assert not isinstance(cause, MemoryError), path.name
                    cause = cause.__cause__
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["profile (33, 40, 3)", "text (33, 40, 3)"]


def test_decode_leaves_global_settings_alone_in_many_threads():
    def settings() -> tuple:
        return (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters), warnings.showwarning)

    before, seen = settings(), []
    files = [data for data, _ in list(REFUSED.values())[:20]]
    files += [save(RGB, "JPEG", exif=b"Exif\0\0" + block) for block in BAD_EXIF.values()]
    files += [
        tiff_of(PICTURE, t271=(3, list(range(99)))),
        png(WIDTH, HEIGHT, filtered(PICTURE), chunk(b"acTL", bytes(8))),
    ]

    def work(data: bytes) -> str | tuple[int, ...]:
        seen.append(settings())
        try:
            return decode(data).shape
        except ImageError as error:
            return str(error)

    alone = [work(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, files * 3)) == alone * 3
    assert all(state == before for state in [*seen, settings()])


def test_decode_reads_avif_that_calls_itself_heif():
    if not features.check("avif"):
        pytest.skip("Pillow lacks AVIF")
    data = save(RGB, "AVIF", quality=95)
    assert data[8:12] == b"avif"
    assert b"avif" in data[16:40]
    assert_pixels(decode(data[:8] + b"mif1" + data[12:]), PICTURE, tolerance=20)
