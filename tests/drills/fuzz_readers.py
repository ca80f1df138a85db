"""Fuzzes what reads strangers' files: the decoder of pictures, and the readers of data sets and of points.

    python -m tests.drills.fuzz_readers --minutes 30                    # shared out among readers and engines
    python -m tests.drills.fuzz_readers --minutes 5 --target decoder --engine hypothesis

Whatever comes in, a reader has to give what it promises, or a sentence: no other error, no warning, no picture over the
limit, within a few seconds. It prints how many files were tried by each, and what was found; what fails is kept in
`tests/drills/findings/<target>`, and tried first at the next run, and by `tests/decoding/test_findings.py`. Atheris is
used where it is installed; it looks for inputs that reach new lines of Python, beginning with those of
`tests/drills/seeds`, which it adds to. The exit code is 1 where anything was found.
"""

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure
from PIL import Image

from corrcore import decoding
from corrcore.datasets import KeypointDataset, folder, spair, voc
from corrcore.datasets.points import AnnotatedPhoto, joined, open_points, to_coco
from tests.datasets.spair_tree import Tree as SpairTree
from tests.datasets.voc_tree import Tree as VocTree
from tests.decoding.files import GREY, PICTURE, RGB, chunk, filtered, png, save

HERE = Path(__file__).parent
FINDINGS = HERE / "findings"
SLOW_S = 20.0  # on a machine that does other things besides
ODD = (
    b"",
    b"\0",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"..",
    b"/",
    b"\xff\xfe",
)
XML = (b"<", b"&#0;", b"&x;", b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"</keypoints>", b'" y="', b"<a>" * 200)
JSON = (b"{", b"[" * 2000, b'"', b"Infinity", b"true", b"[1,2]", b'{"0":[1e308,1]}', b"\\ud800", b"9" * 5000)
NAMES = (
    b"a.jpg",
    b"\xff.png",
    b"..jpg",
    b" .jpeg",
    b"x\n.webp",
    b".hidden.jpg",
    b"a" * 200 + b".tif",
    b"IMG.PNG",
    b"t.html",
)


class Found(Exception):
    """A reader did something that it must not."""


def picture_seeds() -> list[bytes]:
    """A small file of each kind that is read, and a few with rarer parts."""
    small = RGB.resize((9, 7))
    kinds = [save(small, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")]
    with contextlib.suppress(KeyError, OSError, ValueError):
        kinds.append(save(small, "AVIF"))
    kinds += [save(small.convert(mode), "PNG") for mode in ("1", "P", "LA", "RGBA", "I;16") if mode != "I;16"]
    kinds += [save(Image.fromarray(PICTURE[:8, :8, 0].astype(np.uint16) * 257), "PNG")]
    kinds += [
        save(small.convert(mode), "TIFF", compression=how)
        for mode in ("RGB", "L", "CMYK")
        for how in ("raw", "tiff_lzw")
    ]
    kinds += [save(Image.fromarray(np.float32(GREY[:8, :8])), "TIFF"), save(small.convert("CMYK"), "JPEG")]
    kinds += [save(small, "JPEG", progressive=True), save(small, "GIF", save_all=True, append_images=[small] * 2)]
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds += [save(small, kind, exif=exif.tobytes()) for kind in ("JPEG", "WEBP", "PNG")]
    kinds += [png(4, 4, filtered(PICTURE[:4, :4]), chunk(b"sBIT", b"\5\5\5"), chunk(b"tEXt", b"a\0b"))]
    return kinds


def decoder(data: bytes) -> None:
    """A file is a picture within the limits, or a sentence."""
    for read in (decoding.decode, decoding.read_size):
        try:
            found = read(data, name="x.png")
        except decoding.ImageError as error:
            check_sentence(error)
            continue
        if isinstance(found, np.ndarray):
            if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3 or not found.flags.c_contiguous:
                raise Found(f"{found.dtype} {found.shape}")
            if found.shape[0] * found.shape[1] > decoding.MAX_PIXELS or min(found.shape) < 1:
                raise Found(f"{found.shape}")


class Spoilt:
    """A small data set of which each try changes some files, and has them as they were afterwards."""

    def __init__(self, root: Path, parts: tuple[bytes, ...]) -> None:
        self.root, self._parts = root, parts
        self.files = {path: path.read_bytes() for path in sorted(root.parent.rglob("*")) if path.is_file()}

    def spoil(self, data: bytes) -> list[Path]:
        """Changes files as some bytes say: which, where, and what comes there."""
        paths, left = list(self.files), list(data)
        changed = []

        def number(below: int) -> int:
            high, low = (left.pop() if left else 0 for _ in range(2))
            return (256 * high + low) % max(below, 1)

        for _ in range(1 + number(3)):
            path = paths[number(len(paths))]
            content = bytearray(self.files[path])
            for _ in range(1 + number(4)):
                at, length = number(len(content) + 1), number(24)
                new = (*ODD, *self._parts)[number(len(ODD) + len(self._parts))]
                content[at : at + length] = new if number(4) else bytes(left[: number(16)])
            path.write_bytes(content if number(9) else b"")
            changed.append(path)
        return changed

    def mend(self, changed: list[Path]) -> None:
        for path in changed:
            path.write_bytes(self.files[path])


def of_tree(spoilt: Spoilt, load: Callable[[Path], KeypointDataset]) -> Callable[[bytes], None]:
    """A target that loads a spoilt data set."""

    def target(data: bytes) -> None:
        changed = spoilt.spoil(data)
        try:
            check_dataset(load(spoilt.root))
        except (OSError, ValueError) as error:
            check_sentence(error)
        finally:
            spoilt.mend(changed)

    return target


def check_dataset(found: KeypointDataset) -> None:
    for instances in found.splits.values():
        for one in instances:
            left, top, right, bottom = one.box
            if not (np.isfinite(one.box).all() and left < right and top < bottom):
                raise Found(f"{one.name} has the box {one.box}")
            if not np.isfinite(one.keypoints[one.visible]).all():
                raise Found(f"a visible keypoint of {one.name} is nowhere")
            with contextlib.suppress(decoding.ImageError, OSError):
                one.photo.load()
    for reason in found.left_out.values():
        check_text(reason)


def folder_of_photos(root: Path) -> Callable[[bytes], None]:
    """A target that makes a folder of files with odd names and contents, lists it and loads what there is."""
    pictures = picture_seeds()

    def target(data: bytes) -> None:
        with tempfile.TemporaryDirectory(dir=root) as made:
            for number, start in enumerate(range(0, min(len(data), 40), 8)):
                part = data[start : start + 8]
                name = NAMES[part[0] % len(NAMES)] if part[0] % 3 else bytes(c for c in part if c not in b"/\0") or b"x"
                content = bytearray(pictures[part[-1] % len(pictures)])
                content[part[0] % len(content) :][: len(part)] = part
                with contextlib.suppress(OSError):
                    path = os.path.join(os.fsencode(made), *([b"sub"] if part[0] % 5 == 0 else []), name)
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    if number == 3:
                        os.symlink(b"/etc/passwd", path)
                    else:
                        Path(os.fsdecode(path)).write_bytes(content)
            try:
                listing = folder.photos(made)
            except (OSError, ValueError) as error:
                check_sentence(error)
                return
            for photo in listing.photos:
                check_text(photo.name)
                with contextlib.suppress(decoding.ImageError):
                    photo.load()
            check_text(listing.summary())

    return target


def files_of_points(root: Path) -> Callable[[bytes], None]:
    """A target that reads spoilt files of points, and what it read when that is written."""
    (root / "points.csv").write_text('name,x,y\nnose,10,20.5\n"left, eye",3e1,-.25\n')
    image = {"id": 3, "file_name": "sub/a.jpg", "width": 60, "height": 40}
    one = {"id": 1, "image_id": 3, "category_id": 1, "keypoints": [10, 20.5, 2, 0, 0, 0, 30, 40, 1]}
    category = {"id": 1, "name": "cat", "keypoints": ["nose", "left eye", "tail"], "skeleton": []}
    plain = {"images": [image], "annotations": [one, {**one, "id": 2}], "categories": [category]}
    (root / "points.json").write_text(json.dumps(plain))
    spoilt = Spoilt(root / "points.json", (*JSON, b'"nose"', b"nose", b"\n", b'"', b",,", b"1e400", b"_1"))

    def target(data: bytes) -> None:
        changed = spoilt.spoil(data)
        try:
            for path in changed:
                read_points(path)
        finally:
            spoilt.mend(changed)

    def read_points(path: Path) -> None:
        for only_named in (False, True):
            try:
                points = open_points(path, only_named=only_named)("a.jpg")
            except ValueError as error:
                check_sentence(error)
                continue
            if not (len(points) and np.isfinite(points.places).all()):
                raise Found(f"places that are none: {points.places}")
            for name in points.names:
                check_text(name)
            for suffix, text in (
                (".csv", points.to_csv()),
                (".json", to_coco([AnnotatedPhoto("a.jpg", (60, 40), {"sift20": joined([points])})])),
            ):
                again = root.parent / "again" / f"points{suffix}"
                again.parent.mkdir(exist_ok=True)
                again.write_text(text)
                if open_points(again)("a.jpg").names != points.names:
                    raise Found(f"names that are not read again: {points.names}")

    return target


def check_sentence(error: Exception) -> None:
    if not str(error).strip():
        raise Found(f"{type(error).__name__} without a sentence") from error
    check_text(str(error))


def check_text(text: str) -> None:
    """A text that can be shown and written down: of one line, without what is no character."""
    if "\n" in text or "\0" in text or len(text) > 3000:
        raise Found(f"a text that cannot be shown: {text[:200]!r}")
    text.encode()


def targets(root: Path) -> dict[str, Callable[[bytes], None]]:
    """What is fuzzed, by name; their files are below `root`."""
    of_voc, of_spair = VocTree(root / "voc" / "VOC2011"), SpairTree(root / "spair" / "SPair-71k")
    for name in ("folder", "points/files"):
        (root / name).mkdir(parents=True)
    return {
        "decoder": decoder,
        "voc": of_tree(Spoilt(of_voc.root, XML), voc.load),
        "spair": of_tree(Spoilt(of_spair.root, JSON), spair.load),
        "folder": folder_of_photos(root / "folder"),
        "points": files_of_points(root / "points" / "files"),
    }


def tried(name: str, target: Callable[[bytes], None], data: bytes, findings: Path = FINDINGS) -> str:
    """What a target does wrong with some bytes, which are kept then; empty if nothing."""
    begun = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            target(data)
        if time.monotonic() - begun > SLOW_S:
            raise Found(f"took {time.monotonic() - begun:.0f} s")
    except Exception as error:  # all of it is what we look for
        kept = findings / name / hashlib.sha256(data).hexdigest()[:16]
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(data)
        return f"{name}: {type(error).__name__}: {str(error)[:300]} ({kept})"
    return ""


@st.composite
def spoilt_pictures(draw: st.DrawFn, pictures: list[bytes]) -> bytes:
    """A file of a known kind with some of its bytes changed, cut, doubled or put in by another's."""
    content = bytearray(draw(st.sampled_from(pictures)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 12))
        new = draw(st.one_of(st.sampled_from(ODD), st.binary(max_size=8), st.just(bytes(content[at : at + 40]) * 2)))
        content[at : at + length] = new
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 5)) == 0 else content)


def by_hypothesis(
    name: str, target: Callable[[bytes], None], until: float, findings: Path = FINDINGS
) -> tuple[int, list[str]]:
    """Tries files until a time; how many, and what was found."""
    inputs = spoilt_pictures(picture_seeds()) if name == "decoder" else st.binary(min_size=4, max_size=400)
    n, found = 0, list[str]()

    def one(data: bytes) -> None:
        nonlocal n
        n += 1
        if time.monotonic() < until and (wrong := tried(name, target, data, findings)):
            raise Found(wrong)

    number = time.time_ns()
    while time.monotonic() < until and len(found) < 20:
        number += 1
        run = settings(
            max_examples=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )(given(inputs)(one))
        try:
            seed(number)(run)()
        except Found as error:
            found.append(str(error))
        except FlakyFailure as error:  # the time ended before it was tried again
            found += map(str, error.exceptions)
    return n, found


def by_atheris(name: str, seconds: int) -> tuple[int, list[str]]:
    """The same in a process of its own, which ends at what it finds first."""
    seeds = HERE / "seeds" / name
    seeds.mkdir(parents=True, exist_ok=True)
    if name == "decoder":
        for data in picture_seeds():
            (seeds / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    command = [sys.executable, "-m", "tests.drills.fuzz_readers", "--atheris", name, f"--seconds={seconds}"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parents[1], timeout=seconds + 300)
    lines = (ended.stdout + ended.stderr).splitlines()
    runs = [int(line.split()[1]) for line in lines if line.startswith("Done ")]
    wrong = [line.removeprefix("FOUND ") for line in lines if line.startswith("FOUND ")]
    if ended.returncode and not wrong:
        wrong = [f"{name}: atheris ended with {ended.returncode}: {' / '.join(lines[-5:])[:500]}"]
    return sum(runs), wrong


def in_atheris(name: str, seconds: int) -> None:
    """Never comes back: atheris ends the process."""
    import atheris

    with tempfile.TemporaryDirectory() as root:
        target = targets(Path(root))[name]
        for module in ("corrcore.decoding", "corrcore.datasets"):
            for loaded in [each for each in sys.modules if each.startswith(module)]:
                for value in vars(sys.modules[loaded]).values():
                    if callable(value) and getattr(value, "__module__", "") == loaded and hasattr(value, "__code__"):
                        atheris.instrument_func(value)

        def one(data: bytes) -> None:
            if wrong := tried(name, target, data):
                print("FOUND", wrong, flush=True)
                os._exit(1)

        options = [f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=2048", str(HERE / "seeds" / name)]
        atheris.Setup([sys.argv[0], *options], one)
        atheris.Fuzz()


def main() -> int:
    """Fuzzes what is asked for; 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.0, help="all together (4)")
    parser.add_argument("--target", choices=("decoder", "voc", "spair", "folder", "points"), action="append")
    parser.add_argument("--engine", choices=("hypothesis", "atheris"), action="append")
    parser.add_argument("--atheris", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.atheris:
        in_atheris(asked.atheris, asked.seconds)
    engines = asked.engine or ["hypothesis", *(["atheris"] if find_spec("atheris") else [])]
    found: list[str] = []
    with tempfile.TemporaryDirectory() as root:
        there = targets(Path(root))
        names = asked.target or list(there)
        seconds = 60 * asked.minutes / (len(names) * len(engines))
        for name in names:
            for kept in sorted((FINDINGS / name).glob("*")):
                found += [wrong] if (wrong := tried(name, there[name], kept.read_bytes())) else []
            for engine in engines:
                if engine == "hypothesis":
                    n, wrong = by_hypothesis(name, there[name], time.monotonic() + seconds)
                else:
                    n, wrong = by_atheris(name, max(int(seconds), 1))
                print(f"{name}, {engine}: {n:,} files in {seconds:.0f} s, {len(wrong)} found", flush=True)
                found += wrong
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
