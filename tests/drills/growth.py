"""How time, memory and disk grow with the pictures of an index, and what breaks first on the way to 10⁸.

    python -m tests.drills.growth --photos /data/VOC2011 --folder /tmp/growth [--minutes 4]

Pictures are copies of 400 of a folder's photos at scales that make thumbnails of them, 40 to 70 by 32 to 46 px, no two
alike, each a photo of its own, in one layer of AlexNet; files are decoded before. Indexes of 1,000, 10,000, 20,000 and
100,000 are built, opened and searched, each in a process of its own. Builds are timed by the processors, all threads
together, so that other work on the machine hardly counts; on a quiet one they take about that divided by the threads.
Of searches the quickest of many counts. Every quantity is modelled as a line through the first two sizes; the other two
check what it says of them. Searches of so few patches cost the same until there are 100,000 pictures: their lines go
through 10,000 and 100,000 and are checked between. The command stops after so many minutes, and goes on from there the
next time; measurements are kept in the folder, and indexes are deleted once the largest was measured.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from corrcore import images, networks
from corrcore.cli.shared import ProgressBar
from corrcore.datasets import folder
from corrcore.patch_index import PatchIndex, build
from corrcore.wording import size_text
from tests.drills.server import report

SIZES = (1_000, 10_000, 20_000, 100_000)
N_PHOTOS, HEIGHTS_PX, WIDTHS_PX = 400, range(32, 47), range(40, 71)
FAR = 10**8
LAYER, QUERIES, SEARCHES = "conv4", 961, 50
WITHIN = 0.25  # of what was measured, that a prediction may be off
ROWS = 1 << 31  # that a table may have


@dataclass(frozen=True)
class Copy:
    """The copy of a photo of this number: no other of the photo has its size."""

    title: str
    pixels: np.ndarray
    number: int

    @property
    def name(self) -> str:
        return f"{self.number:09} {self.title}"

    @property
    def stamp(self) -> str:
        return self.name

    def load(self) -> np.ndarray:
        copy, photo = divmod(self.number, N_PHOTOS)
        high, wide = divmod((37 * copy + 101 * photo) % (len(HEIGHTS_PX) * len(WIDTHS_PX)), len(WIDTHS_PX))
        return images.resize_to(self.pixels, height=HEIGHTS_PX[high], width=WIDTHS_PX[wide])


@dataclass(frozen=True)
class Quantity:
    """Something measured: its title, unit, how many of the unit one is, and the sizes that its line is fitted to."""

    title: str
    unit: str
    scale: float = 1.0
    fitted: tuple[int, int] = (1_000, 10_000)

    @property
    def checked(self) -> list[int]:
        """The other sizes, between or beyond."""
        return [n for n in SIZES if n > self.fitted[0] and n not in self.fitted]


QUANTITIES: Mapping[str, Quantity] = {
    "build_s": Quantity("build, of processors", "s"),
    "build_bytes": Quantity("build, own memory", "MB", 1e-6),
    "disk_bytes": Quantity("disk", "MB", 1e-6),
    "open_s": Quantity("open, of a processor", "s"),
    "open_bytes": Quantity("opened, own memory", "MB", 1e-6),
    "copies_s": Quantity("copies of a photo looked for", "ms", 1e3),
    "one_s": Quantity("1 query, k = 5", "ms", 1e3, (10_000, 100_000)),
    "many_s": Quantity(f"{QUERIES} queries, k = 5", "s", 1.0, (10_000, 100_000)),
}


@dataclass(frozen=True)
class Line:
    """A quantity of so many pictures: ``start + slope * pictures``."""

    start: float
    slope: float

    @classmethod
    def through(cls, first: tuple[int, float], second: tuple[int, float]) -> "Line":
        slope = (second[1] - first[1]) / (second[0] - first[0])
        return cls(first[1] - slope * first[0], slope)

    def __call__(self, pictures: float) -> float:
        return self.start + self.slope * pictures

    def reaches(self, value: float) -> float:
        """At how many pictures it is so much."""
        return (value - self.start) / self.slope


def own_bytes() -> int:
    """Memory of this process besides mapped files."""
    info = psutil.Process().memory_info()
    return info.rss - info.shared


def least_s(call: Callable[[], object], times: int) -> float:
    """The least of so many calls, after one that is not counted: other work on the machine only adds to it."""
    call()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def measure_build(photos: Path, target: Path, n: int, minutes: float) -> dict[str, float]:
    """Builds for so many minutes; ``finished`` says whether to the end. Opening it is not counted."""
    files = folder.photos(photos).photos[:N_PHOTOS]
    pixels = [images.resize(photo.load(), longer_side=2 * WIDTHS_PX[-1]) for photo in files]
    copies = [Copy(files[number % N_PHOTOS].name, pixels[number % N_PHOTOS], number) for number in range(n)]
    alexnet = networks.open("alexnet", device="cpu")
    alexnet.extract(copies[0].load(), (LAYER,))  # what is compiled and loaded at the first photo is no growth
    before = most = own_bytes()
    begun, spent = time.monotonic(), time.process_time()
    told = ProgressBar()

    def progress(done: float, text: str) -> None:
        nonlocal most
        most = max(most, own_bytes())
        told(done, text)
        if time.monotonic() - begun > 60 * minutes:
            raise KeyboardInterrupt

    try:
        build(copies, target, extractor=alexnet, layers=(LAYER,), progress=progress)
        finished = True
    except KeyboardInterrupt:
        finished = False
    taken = {"build_s": time.process_time() - spent, "elapsed_s": time.monotonic() - begun}
    return {"finished": finished, "build_bytes": most - before} | taken


def measure_use(target: Path) -> dict[str, float]:
    """Opens an index and searches it."""
    before, begun = own_bytes(), time.process_time()
    index = PatchIndex(target, device="cpu")
    found: dict[str, float] = {"open_s": time.process_time() - begun, "open_bytes": own_bytes() - before}
    ids = np.linspace(0, index.n_patches(LAYER) - 1, QUERIES).astype(int)
    noise = 0.02 * torch.randn(QUERIES, index.manifest.channels[LAYER], generator=torch.Generator().manual_seed(0))
    queries = torch.relu(index.descriptors(LAYER, ids) + noise)
    photo = index.photo(0)
    found["copies_s"] = least_s(lambda: index.photos_like(photo), SEARCHES)
    found["one_s"] = least_s(lambda: index.search(LAYER, queries[:1], 5), SEARCHES)
    found["many_s"] = least_s(lambda: index.search(LAYER, queries, 5), 10)
    found["patches"] = index.n_patches(LAYER)
    return found | {"disk_bytes": index.n_bytes} | bytes_by_file(target)


def bytes_by_file(target: Path) -> dict[str, float]:
    return {f"disk {path.name}": path.stat().st_size for path in target.iterdir()}


def measured(where: Path, n: int, photos: Path, minutes: float) -> dict[str, float]:
    """All there is of an index of `n` pictures: what was kept, and what has yet to be measured, in new processes."""
    kept = where / f"{n}.json"
    found: dict[str, float] = json.loads(kept.read_text()) if kept.exists() else {}

    def ask(what: str) -> dict[str, float]:
        command = [sys.executable, "-m", "tests.drills.growth", "--photos", str(photos), "--folder", str(where)]
        command += ["--minutes", str(minutes), "--pictures", str(n), "--measure", what]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    if not found.get("finished") and minutes > 0:
        piece = ask("build")
        found |= {name: found.get(name, 0.0) + piece[name] for name in ("build_s", "elapsed_s")}
        found |= {"finished": piece["finished"], "build_bytes": max(found.get("build_bytes", 0), piece["build_bytes"])}
        kept.write_text(json.dumps(found))
    if found.get("finished") and "one_s" not in found:
        found |= ask("use")
        kept.write_text(json.dumps(found))
    return found


def print_tables(results: Mapping[int, Mapping[str, float]], lines: Mapping[str, Line]) -> None:
    """What was measured, a column per size, what the model says of `FAR` pictures, and what a picture adds."""
    sizes = sorted(results)
    print(f"{'':30}" + "".join(f"{n:>12,}" for n in sizes) + f"{FAR:>16,} (model)  per 1,000")
    for name, quantity in QUANTITIES.items():
        values = "".join(f"{results[n][name] * quantity.scale:12,.2f}" for n in sizes)
        far, each = lines[name](FAR) * quantity.scale, 1e3 * lines[name].slope * quantity.scale
        print(f"{quantity.title + ', ' + quantity.unit:30}{values}{far:16,.0f}          {each:.3g}")
    last = results[sizes[-1]]
    parts = {name.removeprefix("disk "): size for name, size in last.items() if name.startswith("disk ")}
    print(f"patches per picture {last['patches'] / sizes[-1]:.1f}; bytes per picture: ", end="")
    print(", ".join(f"{name} {size / sizes[-1]:,.0f}" for name, size in sorted(parts.items()) if size))


def checks(results: Mapping[int, Mapping[str, float]], lines: Mapping[str, Line]) -> list[tuple[str, str, str, bool]]:
    """What lines say of sizes that they were not fitted to, as shares of what was measured there."""
    rows = []
    for name, quantity in QUANTITIES.items():
        for n in quantity.checked:
            share = lines[name](n) / results[n][name]
            held = abs(share - 1) <= WITHIN
            rows.append((f"{quantity.title}, {n:,}: predicted / measured", f"{share:.2f}", f"1 ± {WITHIN}", held))
    return rows


def print_breaks(lines: Mapping[str, Line], last: Mapping[str, float]) -> None:
    """What an index meets on its way to `FAR` pictures on this machine, in the order in which it does."""
    memory, disk = psutil.virtual_memory().total, psutil.disk_usage("/").total
    codes = sum(last[f"disk {LAYER}.{suffix}"] for suffix in ("i8", "f32")) / SIZES[-1]
    breaks: Sequence[tuple[float, str, str]] = (
        (lines["open_s"].reaches(60), "a minute to open it", "keep it open, as the app does"),
        (lines["open_bytes"].reaches(memory / 2), "half of the memory for an open catalogue", "several indexes"),
        (lines["build_bytes"].reaches(memory / 2), "half of the memory for a build's journal", "several indexes"),
        (lines["build_s"].reaches(86400 * torch.get_num_threads()), "a day to build", "a cluster: --executor ray"),
        (lines["disk_bytes"].reaches(disk), f"the whole disk, {size_text(disk)}", "fewer layers, scales or pixels"),
        (lines["one_s"].reaches(1), "a second per query", "compressed descriptors, or a cluster's actors"),
        (memory / codes, "codes that no longer stay in memory", "compressed descriptors, or a cluster's actors"),
        (ROWS * SIZES[-1] / last["patches"], "2³¹ patches in a table", "several indexes"),
    )
    print(f"on this machine ({torch.get_num_threads()} threads, {size_text(memory)} of memory) an index meets:")
    for n, what, remedy in sorted(breaks):
        print(f"  at {n:14,.0f} pictures  {what:42} remedy: {remedy}")


def main(arguments: list[str] | None = None) -> int:
    """Runs the drill; the exit status, 75 where the same command has yet to go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for indexes (5 GB) and what was measured")
    parser.add_argument("--minutes", type=float, default=1e9, help="after which it stops, to go on later")
    parser.add_argument("--pictures", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=("build", "use"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    target = options.folder / str(options.pictures)
    if options.measure == "build":
        print(json.dumps(measure_build(options.photos, target, options.pictures, options.minutes)))
        return 0
    if options.measure == "use":
        print(json.dumps(measure_use(target)))
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    begun, results = time.monotonic(), {}
    for n in SIZES:
        left = options.minutes - (time.monotonic() - begun) / 60
        results[n] = measured(options.folder, n, options.photos, left)
        if "one_s" not in results[n]:
            print(f"{n:,} pictures are not yet built and searched; the same command goes on.")
            return 75
    for n in results:
        shutil.rmtree(options.folder / str(n), ignore_errors=True)
    lines = {
        name: Line.through(*((n, results[n][name]) for n in quantity.fitted)) for name, quantity in QUANTITIES.items()
    }
    print_tables(results, lines)
    print_breaks(lines, results[SIZES[-1]])
    return report(checks(results, lines))


if __name__ == "__main__":
    sys.exit(main())
