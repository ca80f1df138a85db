"""`corrcore cache ...`: results kept on disk."""

import argparse
import shutil
from typing import Any

from corrcore import experiments, store
from corrcore import patch_index as indexes


def add_parsers(rooms: Any) -> None:
    """Adds the commands on the cache."""
    kept = rooms.add_parser("cache", help="results kept on disk").add_subparsers(required=True)
    kept.add_parser("show", help="where they are and how large").set_defaults(run=_show)
    kept.add_parser("clear", help="forget them all").set_defaults(run=_clear)


def _show(options: argparse.Namespace) -> None:
    root = options.root or indexes.default_root()
    with store.Cache() as kept:
        print(kept.statistics())
    print(f"indexes: {', '.join(indexes.list_indexes(root)) or 'none'} in {root}")


def _clear(_: argparse.Namespace) -> None:
    with store.Cache() as kept:
        kept.clear()
    shutil.rmtree(experiments.default_store(), ignore_errors=True)
    print("all results are forgotten; indexes stay.")
