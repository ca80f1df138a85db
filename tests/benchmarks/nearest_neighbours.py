"""Times exact search against faiss-cpu's IndexFlatIP and torch's matrix product with topk, on the same rows.

    python tests/benchmarks/nearest_neighbours.py [--rows 1000000] [--channels 256]
    python tests/benchmarks/nearest_neighbours.py --index FOLDER [--layer conv4]

Without an index, rows are drawn that resemble features after a ReLU: not negative, a third of them not zero, in 20,000
overlapping clusters. Queries are rows with noise added. Times are medians over runs in turn; on a busy machine only
their ratios mean something. The oracle is faiss on the same half-precision rows.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch

from corrcore.engines.knn import DescriptorTable, quantise

RUNS = {1: 15, 32: 9, 961: 3}
KS = (5, 50, 500)


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
        rows = torch.nn.functional.normalize(features, dim=1).half()
        for file, array in zip(files, (rows.numpy(), *quantise(rows)), strict=True):
            array.tofile(file)
    for file in files:
        file.close()
    (folder / "manifest.json").write_text(json.dumps({"channels": {"drawn": channels}}))


def open_table(folder: Path, layer: str | None) -> DescriptorTable:
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
    """961 rows in a run, as from one image, with noise."""
    first = (len(table) - 961) // 2
    rows = torch.from_numpy(table.descriptors[first : first + 961].astype(np.float32))
    return torch.relu(rows + 0.01 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(1)))


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def report_memory(folder: Path, layer: str | None) -> None:
    """Printed by a process of its own: what a search takes, everything that Python has imported included."""
    torch.set_num_threads(int(os.environ["THREADS"]))
    table = open_table(folder, layer)
    queries = draw_queries(table)
    process = psutil.Process()
    before = process.memory_info().rss
    first_call = seconds(lambda: (table.search(queries[:1], 5), table.search(queries[:32], 5)))
    table.search(queries, 500)
    after = process.memory_info().rss
    status = Path("/proc/self/status")
    peak = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 if status.exists() else after
    table.release()
    released = process.memory_info().rss
    print(
        f"resident memory in a fresh process, MB: {before / 1e6:.0f} before, {peak / 1e6:.0f} at most, "
        f"{after / 1e6:.0f} "
        f"after, {released / 1e6:.0f} after release(); first two searches {first_call:.1f} s with their compilation"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--index", type=Path, help="folder of an index, searched instead of drawn rows")
    parser.add_argument("--layer", help="of the index; its first if left out")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_only:
        report_memory(options.index, options.layer)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.index or Path(temporary)
        if options.index is None:
            write_rows(folder, options.rows, options.channels)
        compare(folder, options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    import faiss  # not at the top: the process that reports its memory does without

    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    table = open_table(folder, options.layer)
    n, channels = table.descriptors.shape
    model = Path("/proc/cpuinfo")
    names = [line.split(": ")[1] for line in model.read_text().splitlines() if line.startswith("model name")]
    print(f"{names[0] if names else platform.processor()}, {options.threads} threads, load {os.getloadavg()[0]:.1f}")
    print(f"{n} rows x {channels} channels, torch {torch.__version__}, faiss {faiss.__version__}")
    arguments = [sys.executable, __file__, "--memory-only", "--index", str(folder)]
    arguments += ["--layer", options.layer] if options.layer else []
    subprocess.run(arguments, check=True, env={**os.environ, "THREADS": str(options.threads)})

    flat = faiss.IndexFlatIP(channels)
    for first in range(0, n, 50_000):
        flat.add(table.descriptors[first : first + 50_000].astype(np.float32))
    table.release()
    rows = torch.from_numpy(faiss.rev_swig_ptr(flat.get_xb(), n * channels).reshape(n, channels))
    queries = draw_queries(table)
    queries = torch.nn.functional.normalize(queries, dim=1)
    table.search(queries[:1], 5)
    table.search(queries[:32], 5)

    print("queries    k      ours     faiss     torch   faiss/ours  torch/ours   recall   largest difference")
    for n_queries, n_runs in RUNS.items():
        some = queries[:n_queries]

        def torch_search(k: int, some: torch.Tensor = some) -> None:
            for part in some.split(64):  # all scores at once would take 4 GB
                (part @ rows.T).topk(k)

        for k in KS:
            calls = {
                "ours": lambda k=k, some=some: table.search(some, k),
                "faiss": lambda k=k, some=some: flat.search(some.numpy(), k),
                "torch": lambda k=k: torch_search(k),
            }
            times = {name: [] for name in calls}
            for _ in range(n_runs):
                for name, call in calls.items():
                    times[name].append(seconds(call))
            ours, its, baseline = (np.median(times[name]) for name in calls)
            found = table.search(some, k)
            similarities, ids = flat.search(some.numpy(), k)
            recall = np.mean([len(np.intersect1d(*pair)) / k for pair in zip(found.ids, ids, strict=True)])
            difference = np.abs(found.similarities - similarities).max()
            print(
                f"{n_queries:7d} {k:4d} {ours * 1e3:6.0f} ms {its * 1e3:6.0f} ms {baseline * 1e3:6.0f} ms"
                f" {its / ours:12.1f} {baseline / ours:11.1f} {recall:8.5f} {difference:20.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
