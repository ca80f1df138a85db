"""What compressed descriptors cost and find, among a million patches of photos: recall, memory, bytes and time.

    python -m tests.drills.compressed --photos /data/VOC2011 --folder /tmp/compressed

An index of conv4 is built of the photos at two scales but for sixty, unless it is there (2 GB), and compressed. Queries
are cells of the photos that were left out. Recall is the share of the exact search's k nearest that are found;
similarities are checked to be the exact ones, bit for bit. Each search's memory is that of a process of its own.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from corrcore import images, networks
from corrcore.cli.shared import ProgressBar
from corrcore.datasets import folder
from corrcore.engines.knn import Neighbours
from corrcore.patch_index import LONGER_SIDE_PX, PatchIndex, Probing, build
from corrcore.wording import size_text
from tests.drills.growth import least_s, own_bytes
from tests.drills.server import report

NAME, LAYER, SCALES, HELD_OUT, QUERIES = "million", "conv4", (1.0, 0.7), 60, 961
PROBED = (Probing(16), Probing(), Probing(64, 2000), Probing(256, 2000))
BARS = {1: 0.98, 5: 0.97, 50: 0.93}  # of the usual probing


def opened(photos: Path, target: Path) -> PatchIndex:
    """The index, built unless it is there."""
    if target.exists():
        return PatchIndex(target, device="cpu")
    listed, held_out = folder.hold_out(folder.photos(photos).photos, HELD_OUT)
    return build(
        listed,
        target,
        extractor=networks.open("alexnet", device="cpu"),
        layers=(LAYER,),
        scales=SCALES,
        held_out=[photo.name for photo in held_out],
        progress=ProgressBar(),
    )


def held_out_cells(photos: Path, index: PatchIndex) -> torch.Tensor:
    """As many cells of each photo that was left out, at random."""
    alexnet, rng = networks.open("alexnet", device="cpu"), np.random.default_rng(0)
    each, found = -(-QUERIES // len(index.held_out)), []
    for photo in folder.photos(photos).photos:
        if photo.name in index.held_out:
            cells = alexnet.extract(images.shrink(photo.load(), longer_side=LONGER_SIDE_PX), (LAYER,))[LAYER].flat()
            found.append(cells[rng.permutation(len(cells))[:each]])
    return torch.cat(found)[:QUERIES].float()


def recall(found: Neighbours, exact: Neighbours, k: int) -> float:
    pairs = zip(found.ids[:, :k], exact.ids[:, :k], strict=True)
    return float(np.mean([len(np.intersect1d(*pair)) / k for pair in pairs]))


def same_similarities(found: Neighbours, exact: Neighbours) -> bool:
    """Whether rows that both have found have the same similarities."""
    for ours, theirs, ids, others in zip(found.similarities, exact.similarities, found.ids, exact.ids, strict=True):
        _, here, there = np.intersect1d(ids, others, return_indices=True)
        if not np.array_equal(ours[here], theirs[there]):
            return False
    return True


def memory(target: Path, queries: Path, probing: Probing | None) -> tuple[float, float]:
    """Own bytes, and bytes of mapped files, that searches take in a new process at the end of them."""
    asked = [target, queries, *((probing.n_lists, probing.n_candidates) if probing else ())]
    command = [sys.executable, "-m", "tests.drills.compressed", "--memory", *map(str, asked)]
    return tuple(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def measure_memory(target: str, file: str, *probing: str) -> None:
    queries = torch.from_numpy(np.load(file))
    index = PatchIndex(target, device="cpu", probing=Probing(*map(int, probing)) if probing else None)
    before, mapped = own_bytes(), psutil.Process().memory_info().shared
    for some in (queries[:1], queries):
        index.search(LAYER, some, 50)
    print(json.dumps([own_bytes() - before, psutil.Process().memory_info().shared - mapped]))


def main(arguments: list[str] | None = None) -> int:
    """Runs the drill; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--memory", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.memory:
        measure_memory(*options.memory)
        return 0
    target = options.folder / NAME
    index = opened(options.photos, target)
    begun = time.perf_counter()
    index.compress(progress=ProgressBar())
    taken, made = time.perf_counter() - begun, index.compressed()[LAYER]
    n, channels = index.n_patches(LAYER), index.manifest.channels[LAYER]
    print(f"{n:,} patches x {channels}, {torch.get_num_threads()} threads; {made.compression}")
    print(f"compressed in {taken:.0f} s: {size_text(made.n_bytes)}, {made.n_bytes / n:.1f} bytes per patch", end="")
    print(f"; rows {2 * channels}, codes {channels + 4} bytes per patch")
    queries = held_out_cells(options.photos, index)
    file = options.folder / "queries.npy"
    np.save(file, queries.numpy())
    exact = index.search(LAYER, queries, 500)
    print(f"{'lists, candidates':20}{'recall@1':>10}{'@5':>8}{'@50':>8}{'@500':>8}", end="")
    print(f"{'1 query, ms':>14}{f'{QUERIES}, s':>10}{'k = 500':>9}{'own MB':>9}{'mapped MB':>11}")
    rows = []
    for probing in (None, *PROBED):
        searched = index if probing is None else PatchIndex(target, device="cpu", probing=probing)
        recalls = []
        for k in (1, 5, 50, 500):
            found = searched.search(LAYER, queries, k)
            recalls.append(recall(found, exact, k))
            if not same_similarities(found, exact):
                print(f"similarities differ at k = {k}")
                return 1
            if probing == Probing() and k in BARS:
                rows.append((f"recall@{k}, as usual", f"{recalls[-1]:.4f}", f">= {BARS[k]}", recalls[-1] >= BARS[k]))
        one = least_s(lambda searched=searched: searched.search(LAYER, queries[:1], 5), 15)
        many = [least_s(lambda k=k, of=searched: of.search(LAYER, queries, k), 2) for k in (50, 500)]
        own, mapped = memory(target, file, probing)
        title = "exact" if probing is None else f"{probing.n_lists}, {probing.n_candidates}"
        print(f"{title:20}{recalls[0]:10.3f}" + "".join(f"{value:8.3f}" for value in recalls[1:]), end="")
        print(f"{one * 1e3:14.1f}{many[0]:10.2f}{many[1]:9.2f}{own / 1e6:9.0f}{mapped / 1e6:11.0f}", flush=True)
    file.unlink()
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())
