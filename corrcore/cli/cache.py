"""`corrcore cache ...`: results kept on disk."""

import argparse
import shutil
from typing import Any

from corrcore import experiments
from corrcore import patch_index as indexes
from corrcore.experiments.context import open_results
from corrcore.wording import counted, size_text


def add_parsers(rooms: Any) -> None:
    """Adds the commands on the cache."""
    kept = rooms.add_parser("cache", help="results kept on disk").add_subparsers(required=True)
    kept.add_parser("show", help="where they are and how large").set_defaults(run=_show)
    kept.add_parser("clear", help="forget them all").set_defaults(run=_clear)


def _show(options: argparse.Namespace) -> None:
    with open_results() as results:
        state = results.statistics()
        print(
            f"{counted(state.entries, 'result')}, {size_text(state.bytes)} of at most {size_text(results.max_bytes)}, "
            f"in {results.folder.parent}; {state.status}"
        )
    root = options.root or indexes.default_root()
    try:
        print(f"indexes: {', '.join(indexes.list_indexes(root)) or 'none'} in {root}")
    except OSError as error:  # which is no reason not to say what the cache holds
        print(f"indexes: {error}")


def _clear(_: argparse.Namespace) -> None:
    with open_results() as results:
        before = results.statistics()
        results.clear()
        after = results.statistics()
        if after.entries:
            msg = f"{counted(after.entries, 'result')} could not be removed: {after.status}."
            raise OSError(msg)
    if experiments.default_store().exists():
        shutil.rmtree(experiments.default_store())
    print(
        f"{counted(before.entries, 'result')}, {size_text(before.bytes)}, and the tables of experiments are forgotten; "
        "indexes stay."
    )
