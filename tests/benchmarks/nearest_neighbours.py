"""Exact search beside faiss-cpu's IndexFlatIP and torch's matrix product with topk, on the same rows.

Rows are drawn that resemble features after a ReLU: not negative, a third of them not zero, in 20,000 overlapping
clusters. Queries are rows with noise added. The oracle is faiss on the same half-precision rows. Options: rows,
channels, and index, the folder of an index that is searched instead, with layer.

Where the processor has 8-bit dot products, the way of those that have none is timed as well ("by pairs").
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import torch

from corrcore.engines.knn import DescriptorTable, lanes, quantise
from tests.benchmarks.measure import Bar, Row, Run, Work

FAISS = {1: 4.0, 32: 5.0, 961: 2.0}  # bars, by the number of queries
TORCH = {1: 3.0}


def write_rows(folder: Path, n: int, channels: int) -> None:
    """Draws descriptors and writes the three files of a layer as an index has them."""
    generator = torch.Generator().manual_seed(0)
    rank = min(64, channels)
    centres = torch.randn(20_000, rank, generator=generator)
    mixing = torch.randn(rank, channels, generator=generator) / rank**0.5
    files = [(folder / f"drawn.{suffix}").open("wb") for suffix in ("f16", "i8", "f32")]
    for first in range(0, n, 50_000):
        some = min(50_000, n - first)
        latent = centres[torch.randint(len(centres), (some,), generator=generator)]
        latent = latent + 0.7 * torch.randn(some, rank, generator=generator)
        features = torch.relu(latent @ mixing + 0.3 * torch.randn(some, channels, generator=generator) - 0.5)
        descriptors = torch.nn.functional.normalize(features, dim=1).half()
        for file, array in zip(files, (descriptors.numpy(), *quantise(descriptors)), strict=True):
            array.tofile(file)
    for file in files:
        file.close()
    (folder / "manifest.json").write_text(json.dumps({"channels": {"drawn": channels}}))


def open_table(folder: Path, layer: str) -> DescriptorTable:
    all_channels = json.loads((folder / "manifest.json").read_text())["channels"]
    layer = layer or next(iter(all_channels))
    n = (folder / f"{layer}.f32").stat().st_size // 4
    shapes = {
        "f16": (np.float16, (n, all_channels[layer])),
        "i8": (np.int8, (n, all_channels[layer])),
        "f32": (np.float32, (n,)),
    }
    return DescriptorTable(*(np.memmap(folder / f"{layer}.{x}", t, "r", shape=s) for x, (t, s) in shapes.items()))


def draw_queries(table: DescriptorTable) -> torch.Tensor:
    """961 rows in a run, as from one image, with noise; of unit length."""
    first = (len(table) - 961) // 2
    some = torch.from_numpy(table.descriptors[first : first + 961].astype(np.float32))
    noisy = torch.relu(some + 0.01 * torch.randn(some.shape, generator=torch.Generator().manual_seed(1)))
    return torch.nn.functional.normalize(noisy, dim=1)


def rows(run: Run) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(run.option("index", temporary))
        if folder == Path(temporary):
            n = run.option("rows", 200_000 if run.quick else 1_000_000)
            write_rows(folder, n, run.option("channels", 256))
        table, layer = open_table(folder, run.option("layer", "")), run.option("layer", "")
        if run.on_gpu:
            yield from on_gpu(run, table)
            return
        if not run.quick:
            yield memory(folder, layer)
        yield from beside_others(run, table)


def beside_others(run: Run, table: DescriptorTable) -> Iterator[Row]:
    import faiss  # not at the top: the process that tells its memory does without

    faiss.omp_set_num_threads(torch.get_num_threads())
    n, channels = table.descriptors.shape
    flat = faiss.IndexFlatIP(channels)
    for first in range(0, n, 50_000):
        flat.add(table.descriptors[first : first + 50_000].astype(np.float32))
    table.release()
    vectors = torch.from_numpy(faiss.rev_swig_ptr(flat.get_xb(), n * channels).reshape(n, channels))
    queries = draw_queries(table)
    tables = {"ours": table}
    if isinstance(lanes.fast_way(positive=True), lanes.Dot):
        tables["by pairs"] = DescriptorTable(table.descriptors, table.codes, table.scales, scan="pairs")
    for n_queries in (1, 32, 961):
        some = queries[:n_queries]
        for each in tables.values():
            each.search(some, 5)  # compiled, and what is kept is there
        for k in (5, 500) if run.quick else (5, 50, 500):

            def torch_search(k: int = k, some: torch.Tensor = some) -> None:
                for part in some.split(64):  # all scores at once would take 4 GB
                    (part @ vectors.T).topk(k)

            calls = {name: lambda k=k, some=some, each=each: each.search(some, k) for name, each in tables.items()}
            calls |= {"faiss": lambda k=k, some=some: flat.search(some.numpy(), k), "torch": torch_search}
            times, got = run.timed(calls, {1: 15, 32: 9, 961: 3}[n_queries], warm=n_queries < 961)
            similarities, ids = got["faiss"]
            # codes of 8 bits are the least that anything exact reads; in half precision it would be twice as much
            work = Work(n * channels, 2 * n * channels * n_queries, "int8")
            for ours in tables:
                found = got[ours]
                recall = np.mean([len(np.intersect1d(*pair)) / k for pair in zip(found.ids, ids, strict=True)])
                difference = np.abs(found.similarities - similarities).max()
                right = bool(recall >= 0.999 and difference < 1e-5)
                what = f"k-NN {n} x {channels}, queries: {n_queries}, k = {k}{', by pairs' * (ours != 'ours')}"
                for peer, bars in (("faiss", FAISS), ("torch", TORCH)):
                    bar = Bar.ratio(bars[n_queries]) if n_queries in bars and ours == "ours" else None
                    note = f"recall {recall:.5f}, largest difference {difference:.1e}" if peer == "faiss" else ""
                    yield Row(what, times[ours], peer, times[peer], bar, work, right=right, note=note)


def on_gpu(run: Run, table: DescriptorTable) -> Iterator[Row]:
    """Beside torch's products in half precision with topk, whose neighbours need not be exact."""
    there = table.to(run.device)
    n, channels = table.descriptors.shape
    vectors, queries = torch.from_numpy(np.array(table.descriptors)).to(run.device), draw_queries(table)
    expected = table.search(queries[:32], 50)
    for n_queries in (1, 32, 961):
        some = queries[:n_queries]
        halves = some.to(run.device).half()
        for k in (5, 50, 500):
            calls = {
                "ours": lambda k=k, some=some: there.search(some, k),
                "torch": lambda k=k, halves=halves: (halves @ vectors.T).topk(k),
            }
            times = run.medians(calls, 9)
            found = there.search(some[:32], 50)
            right = bool((found.ids == expected.ids[: len(found.ids)]).all())
            work = Work(2 * n * channels, 2 * n * channels * n_queries, "half")
            bar = Bar.most(0.005) if (n_queries, k) == (961, 50) and n == 1_000_000 else None
            what = f"k-NN {n} x {channels}, queries: {n_queries}, k = {k}"
            yield Row(what, times["ours"], "torch, half", times["torch"], bar, work, right=right)


def memory(folder: Path, layer: str) -> Row:
    """What a search takes, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.nearest_neighbours", str(folder), layer]
    environment = {**os.environ, "THREADS": str(torch.get_num_threads())}
    told = json.loads(subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE).stdout)
    return Row(
        "k-NN in a fresh process, resident memory at most", told["peak"] / 1e6, unit="MB",
        note=f"{told['before'] / 1e6:.0f} MB before, {told['after'] / 1e6:.0f} after, {told['released'] / 1e6:.0f} "
        f"after release(); first two searches {told['first_call']:.1f} s with their compilation",
    )  # fmt: skip


def tell_memory() -> None:
    """Printed by that process; everything that Python has imported is included."""
    torch.set_num_threads(int(os.environ["THREADS"]))
    table = open_table(Path(sys.argv[1]), sys.argv[2])
    queries = draw_queries(table)
    process = psutil.Process()
    told = {"before": process.memory_info().rss}
    begun = time.perf_counter()
    table.search(queries[:1], 5)
    table.search(queries[:32], 5)
    told["first_call"] = time.perf_counter() - begun
    table.search(queries, 500)
    told["after"] = process.memory_info().rss
    status = Path("/proc/self/status")
    told["peak"] = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 if status.exists() else told["after"]
    table.release()
    told["released"] = process.memory_info().rss
    print(json.dumps(told))


if __name__ == "__main__":
    tell_memory()
