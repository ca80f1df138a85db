"""What pages on drawn animals learn before their first look, learnt beforehand: `python -m dashboard.first_looks`.

The pages themselves compute it, in a folder of results that is empty. It comes along as one small file, each result
under the key that it is kept by, so that with other code, weights or drawings none is used; it has to be made again
then, which takes a minute.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from streamlit.testing.v1 import AppTest

from corrcore import store
from corrcore.experiments.results import header_key
from corrcore.store.arrays import load_arrays
from corrcore.store.cache import key_in
from dashboard.services.caches import FIRST_LOOKS

LOOKED_AT = ("alignment", "classification", "responses", "prediction")
MOST_BYTES = 1_000_000  # of a result: descriptions of all train objects, not asked for by a first look, have more


def look_at(page: str, timeout_s: float = 300) -> AppTest:
    """A page as it shows itself at first, once all of it is there."""
    at = AppTest.from_file(str(Path(__file__).with_name("app_pages") / f"{page}.py"), default_timeout=timeout_s).run()
    while any(button.label == "Cancel" for button in at.button):
        time.sleep(0.2)
        at.run()
    return at


def learnt(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All that is kept in a folder of results: what files hold, and the keys it is found by."""
    for file in (folder / "results").rglob("*"):
        if file.suffix != ".db" and file.is_file() and 0 < file.stat().st_size <= MOST_BYTES:
            try:
                yield key_in(file.read_bytes()), file.read_bytes()
            except ValueError:
                continue  # locks
    for file in (folder / "experiments").rglob("*.jsonl"):
        yield header_key(json.loads(file.read_bytes().partition(b"\n")[0])), file.read_bytes()
    for file in (folder / "experiments").rglob("*.safetensors"):
        yield store.key(settings=load_arrays(file)[1]["about"]["settings"]), file.read_bytes()


def make() -> dict[str, bytes]:
    """What first looks learn where nothing comes along."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CORRCORE_CACHE"] = folder
        for page in LOOKED_AT:
            look_at(page)
        return dict(learnt(Path(folder)))


def main() -> None:
    before = FIRST_LOOKS.path.read_bytes() if FIRST_LOOKS.path.exists() else None
    FIRST_LOOKS.path.unlink(missing_ok=True)
    try:
        store.write_bundle(FIRST_LOOKS.path, make())
    except BaseException:
        if before is not None:
            FIRST_LOOKS.path.write_bytes(before)
        raise
    size = FIRST_LOOKS.path.stat().st_size
    sys.stdout.write(f"{FIRST_LOOKS.path}: {len(FIRST_LOOKS.keys())} results, {size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
