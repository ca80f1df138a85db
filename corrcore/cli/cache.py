"""`corrcore cache ...`: results kept on disk."""

import argparse
import shutil
from typing import Any

from corrcore import experiments, store
from corrcore import patch_index as indexes
from corrcore.settings import Settings


def add_parsers(rooms: Any) -> None:
    """Adds the commands on the cache."""
    kept = rooms.add_parser("cache", help="results kept on disk").add_subparsers(required=True)
    kept.add_parser("show", help="where they are and how large").set_defaults(run=_show)
    kept.add_parser("clear", help="forget them all").set_defaults(run=_clear)


def _show(options: argparse.Namespace) -> None:
    with _cache() as results:
        state = results.statistics()
        print(
            f"{_counted(state.entries, 'result')}, {_size(state.bytes)} of at most {_size(results.max_bytes)}, "
            f"in {results.folder.parent}; {state.status}"
        )
    root = options.root or indexes.default_root()
    print(f"indexes: {', '.join(indexes.list_indexes(root)) or 'none'} in {root}")


def _clear(_: argparse.Namespace) -> None:
    with _cache() as results:
        before = results.statistics()
        results.clear()
        after = results.statistics()
        if after.entries:
            msg = f"{_counted(after.entries, 'result')} could not be removed: {after.status}."
            raise OSError(msg)
    if experiments.default_store().exists():
        shutil.rmtree(experiments.default_store())
    print(
        f"{_counted(before.entries, 'result')}, {_size(before.bytes)}, and the tables of experiments are forgotten; "
        "indexes stay."
    )


def _cache() -> store.Cache:
    return store.Cache(Settings.from_environment().cache)


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _size(n_bytes: float) -> str:
    """Bytes in units of a thousand: 1.3 GB."""
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = next((n for n in range(4) if n_bytes < 999.5 * 1000**n), 4)
    value = n_bytes / 1000**power
    number = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")
    return f"{number} {units[power]}"
