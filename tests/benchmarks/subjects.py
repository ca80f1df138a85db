"""The subjects by name, and one of them measured: ``python -m tests.benchmarks.subjects NAME --to FILE``.

That is the process of its own in which `tests.benchmarks` and `tests.gpu` measure each. It appends a line of JSON to
the file for the machine's limits, and one for every row as soon as it is there.
"""

import argparse
import dataclasses
import importlib
import json
from pathlib import Path

import torch

from tests.benchmarks import machine
from tests.benchmarks.measure import Run
from tests.gpu.pretended import pretended

SUBJECTS = {  # name -> module here
    "knn": "nearest_neighbours",
    "mrf": "mrf",
    "svm": "svm",
    "features": "features",
    "sift": "dense_sift",
    "maps": "responses",
    "app": "app",
    "index": "build_index",
    "half": "half_precision",
    "finer": "finer_grids",
}
ON_GPU = ("knn", "mrf", "svm", "features", "sift", "maps", "half")
DRY = ("knn", "svm", "features", "sift", "maps", "half")  # of those, what needs no kernel of ours
# options of a dry run
SMALL = {"rows": "4000", "channels": "16", "samples": "400", "features": "30", "batch": "2", "stride": "8"}
LONG = ("app", "finer")  # left out when quick, unless named


def main() -> None:
    """Measures one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SUBJECTS)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--dry", action="store_true", help="once, at small sizes, on a pretended CUDA device")
    asked = parser.parse_args()
    if asked.dry:
        with pretended() as device:
            measure(asked.name, asked.to, Run(quick=True, dry=True, device=device, options=SMALL))
        return
    options = dict(each.split("=", 1) for each in asked.option)
    measure(asked.name, asked.to, Run(asked.quick, device=asked.device, options=options))


def measure(name: str, to: Path, run: Run) -> None:
    """Appends to the file what is measured."""
    subject = importlib.import_module(f"tests.benchmarks.{SUBJECTS[name]}")
    limits = {} if run.dry else machine.limits(run)
    with to.open("a") as lines:
        print(json.dumps({"machine": machine.description(), "limits": limits}), file=lines, flush=True)
        for row in subject.rows(run):
            print(json.dumps({"row": dataclasses.asdict(row)}), file=lines, flush=True)
            print(f"{row.what}: {row.ours:.4g} {row.unit}", flush=True)


if __name__ == "__main__":
    main()
