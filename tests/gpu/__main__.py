"""See `tests.gpu`."""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tests.benchmarks import report
from tests.benchmarks.subjects import DRY, ON_GPU
from tests.gpu.pretended import REAL
from tests.steps import ROOT, end_by_signal, python

SECONDS = 470  # of everything
A_FILE, A_SUBJECT = 150, 110  # seconds at most
AT_ONCE = 4  # files of tests, which compile for the processor most of their time
WITHOUT = (  # what checks the device's code without one, beside the tests that are marked
    ("tests/engines/test_mrf.py", "tritons_messages or batch or together or ends_before"),
    ("tests/descriptors/test_sift.py", "what_a_gpu_computes"),
    ("tests/engines/test_knn.py", "resident"),
    ("tests/gpu/test_kernels.py", ""),
)


@dataclass
class Tested:
    """What one file's tests came to."""

    name: str
    passed: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    fault: str = ""

    @property
    def line(self) -> str:
        """For people."""
        told = f"{self.passed} passed, {self.skipped} skipped, {len(self.failed)} failed in {self.seconds:.0f} s"
        told += f"  {self.fault}" if self.fault and not self.failed else ""
        return "\n".join([f"{self.name}: {told}", *(f"    FAILED {name}: {why}" for name, why in self.failed.items())])


def marked() -> list[str]:
    """The files that have tests marked `gpu`."""
    here = Path(__file__).name
    paths = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if path.name != here)
    return [str(path.relative_to(ROOT)) for path in paths if "pytest.mark.gpu" in path.read_text(encoding="utf-8")]


def outcome_of(path: str, *chosen: str, seconds: float) -> Tested:
    """Runs some of a file's tests; warnings of other versions of libraries are no faults here."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.xml"
        options = ["-q", "-n0", "-p", "no:cacheprovider", "-W", "default", f"--junitxml={told}"]
        outcome = python("-m", "pytest", path, "-o", "addopts=", *chosen, *options, seconds=seconds)
        found = Tested(f"{path} {' '.join(chosen[1::2])}".strip(), seconds=outcome.seconds, fault=outcome.fault)
        if not told.exists():
            return found
        for case in ElementTree.parse(told).iter("testcase"):
            kinds = {each.tag: each for each in case}
            wrong = kinds.get("failure", kinds.get("error"))
            if wrong is not None:
                found.failed[case.get("name", "")] = (wrong.get("message", "").strip() or wrong.tag).splitlines()[0][
                    :200
                ]
            elif "skipped" in kinds:
                found.skipped += 1
            else:
                found.passed += 1
        return found


def main() -> int:
    """The exit code is 1 where anything failed or a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all that is found is written, too")
    asked = parser.parse_args()
    end_by_signal()
    begun = time.monotonic()

    def left(most: float) -> float:
        return max(min(most, SECONDS - (time.monotonic() - begun)), 5)

    if not REAL:
        print(
            "There is no CUDA device here, so nothing is measured: tests run on a pretended one, kernels in Triton's "
            "interpreter and through its compiler, and benchmarks once, at small sizes."
        )
    steps = [(path, "-m", "gpu") for path in marked()]
    steps += [] if REAL else [(path, *(("-k", which) if which else ())) for path, which in WITHOUT]
    with ThreadPoolExecutor(AT_ONCE if REAL else 1) as pool:
        tests = []
        for one in pool.map(lambda step: outcome_of(*step, seconds=left(A_FILE)), steps):
            print(one.line, flush=True)
            tests.append(one)
    measured = []
    for name in ON_GPU if REAL else DRY:
        one = report.measure(name, *(["--device=cuda"] if REAL else ["--dry"]), seconds=left(A_SUBJECT))
        print(f"{name}: {len(one.rows)} rows in {one.seconds:.0f} s  {one.fault}", flush=True)
        measured.append(one)
    if REAL:
        print(f"\n{report.table(measured)}\n\n{report.rooflines(measured)}")
    if asked.json:
        told = {"gpu": REAL, "tests": [asdict(one) for one in tests], "benchmarks": report.as_json(measured)}
        asked.json.write_text(json.dumps(told, indent=1))
    failed = [one.name for one in tests if one.failed or one.fault] + [one.name for one in measured if one.fault]
    missed = [row.what for one in measured for row in one.rows if row.met is False] if REAL else []
    print(f"\n{sum(one.passed for one in tests)} tests passed in {time.monotonic() - begun:.0f} s.")
    for title, names in (("Failed", failed), ("Below their bars", missed)):
        if names:
            print(f"{title}: {'; '.join(names)}")
    return int(bool(failed or missed))


if __name__ == "__main__":
    sys.exit(main())
