"""What pages on drawn animals learn before their first look, learnt beforehand: `python -m dashboard.first_looks`.

The pages themselves compute it, in a folder of results that is empty. It comes along as one small file, each result
under the key that it is kept by, so that with other code, weights or drawings none is used; it has to be made again
then, which takes a minute. ``--check`` computes it anew, changes nothing and says whether the file has the same: the
same numbers but for what processors round otherwise, `TOLERANCE`.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from corrcore import decoding, store
from corrcore.experiments.results import header_key
from corrcore.store import arrays
from corrcore.store.cache import key_in
from dashboard.services import caches

LOOKED_AT = ("alignment", "classification", "responses", "prediction")
MOST_BYTES = 1_000_000  # of a result: descriptions of all train objects, not asked for by a first look, have more
NEARNESS = "gap"  # how near a solver came to the optimum: next to nothing, and of the processor's rounding
TOLERANCE = 0.02  # of an array's largest number, for all but as large a share of its numbers


def look_at(page: str, timeout_s: float = 300) -> AppTest:
    """A page as it shows itself at first, once all of it is there."""
    path = Path(__file__).with_name("app_pages") / f"{page}.py"
    at = AppTest.from_file(str(path), default_timeout=timeout_s).run()
    while any(button.label == "Cancel" for button in at.button):
        time.sleep(0.2)
        at.run()
    return at


def learnt(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All that is kept in a folder of results: the keys it is found by, and what its files hold."""
    for file in (folder / "results").rglob("*"):
        if file.suffix != ".db" and file.is_file() and 0 < file.stat().st_size <= MOST_BYTES:
            yield key_in(file.read_bytes()), file.read_bytes()
    for file in (folder / "experiments").rglob("*.jsonl"):
        yield header_key(json.loads(file.read_bytes().partition(b"\n")[0])), file.read_bytes()
    for file in (folder / "experiments").rglob("*.safetensors"):
        yield store.key(settings=arrays.load_arrays(file)[1]["about"]["settings"]), file.read_bytes()


def compute(pages: Sequence[str]) -> dict[str, bytes]:
    """What first looks learn where nothing comes along."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CORRCORE_CACHE"] = folder
        caches.FIRST_LOOKS = store.Bundle(Path(folder) / "nothing")
        for page in pages:
            look_at(page)
        return dict(learnt(Path(folder)))


def said_by(data: bytes) -> dict[str, np.ndarray]:
    """All that a result says, by name: arrays and pictures, or an experiment's records; numbers as floats."""
    found: dict[str, np.ndarray] = {}
    if data.startswith(b"{"):
        for record in map(json.loads, data.splitlines()):
            for name, value in record.get("measured", {}).items():
                try:
                    found[f"{record['name']} {name}"] = np.array(value, float)
                except (TypeError, ValueError):  # names
                    found[f"{record['name']} {name}"] = np.array(json.dumps(value))
        return found
    for name, array in arrays.decode(data)[0].items():
        if name == NEARNESS:
            continue
        is_picture = array.dtype == np.uint8 and array.ndim == 1
        found[name] = (decoding.decode(array.tobytes()) if is_picture else array).astype(float)
    return found


def is_same(one: bytes, other: bytes) -> bool:
    """Whether two results say the same and say anything: the same names, and numbers within `TOLERANCE`."""
    first, second = said_by(one), said_by(other)
    return bool(first) and first.keys() == second.keys() and all(_close(first[name], second[name]) for name in first)


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != float or other.dtype != float or one.shape != other.shape:
        return one.dtype == other.dtype and np.array_equal(one, other)
    largest = max(np.abs(one).max(initial=0, where=np.isfinite(one)), 1e-9)
    return bool((~np.isclose(one, other, rtol=0, atol=TOLERANCE * largest, equal_nan=True)).mean() <= TOLERANCE)


def main() -> int:
    """Makes or checks the file; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dashboard.first_looks", description=__doc__)
    parser.add_argument("--check", nargs="*", metavar="PAGE", choices=LOOKED_AT, help="compare, by default all pages")
    asked, kept = parser.parse_args(), caches.FIRST_LOOKS
    found = compute(asked.check or LOOKED_AT)
    if asked.check is None:
        store.write_bundle(kept.path, found)
        sys.stdout.write(f"{kept.path}: {len(found)} results, {kept.path.stat().st_size / 1e6:.2f} MB\n")
        return 0
    other = [key for key, data in found.items() if (there := kept.get(key)) is None or not is_same(data, there)]
    sys.stdout.write(f"{len(found) - len(other)} of {len(found)} results are those that come along.\n")
    return int(bool(other) or not found)


if __name__ == "__main__":
    sys.exit(main())
