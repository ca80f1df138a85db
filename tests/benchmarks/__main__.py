"""Every benchmark as one command; see `tests.benchmarks`."""

import argparse
import json
import os
import sys
from pathlib import Path

from tests.benchmarks import machine, report
from tests.benchmarks.subjects import LONG, SUBJECTS
from tests.steps import end_by_signal

QUICK, FULL = 200, 1200  # seconds that a subject may take


def main() -> int:
    """Measures all that are named, in turn; the exit code is 1 where one failed to be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SUBJECTS)}; all if none is given")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds: five minutes at most")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all that is measured is written, too")
    parser.add_argument(
        "--instructions", choices=machine.INSTRUCTIONS, help="let libraries use no newer instructions than these"
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE",
        help="a size or an input of a subject, such as rows=400000: its module tells",
    )  # fmt: skip
    asked = parser.parse_args()
    end_by_signal()
    if unknown := [name for name in asked.names if name not in SUBJECTS]:
        parser.error(f"NAME must be of {', '.join(SUBJECTS)}; got {', '.join(unknown)}.")
    if odd := [each for each in asked.option if "=" not in each]:
        parser.error(f"--option must be NAME=VALUE; got {odd[0]}.")
    os.environ |= machine.INSTRUCTIONS.get(asked.instructions, {})  # subjects are processes that inherit them
    names = asked.names or [name for name in SUBJECTS if not (asked.quick and name in LONG)]
    arguments = [*(["--quick"] if asked.quick else []), *(f"--option={each}" for each in asked.option)]
    done = []
    try:
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            found = report.measure(name, *arguments, seconds=QUICK if asked.quick else FULL)
            print(f"{name}: {len(found.rows)} rows in {found.seconds:.0f} s {found.fault}", file=sys.stderr, flush=True)
            done.append(found)
            if asked.json:
                asked.json.write_text(json.dumps(report.as_json(done), indent=1))
    finally:  # what there is, if it is ended
        print(report.table(done), flush=True)
    return int(any(found.fault for found in done))


if __name__ == "__main__":
    sys.exit(main())
