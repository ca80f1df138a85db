"""The command line: its parser, and what errors become."""

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata

from corrcore.settings import prepared_path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; errors a user can mend are one sentence and exit code 2, an interruption is 130."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = _parser(arguments).parse_args(arguments)
        options.run(options)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"\ncorrcore: {error}", file=sys.stderr)
        return 2
    return 0


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Only the room that is asked for is furnished: `--help` imports no torch."""
    parser = argparse.ArgumentParser(prog="corrcore", description="What does this network know about where things are?")
    parser.add_argument("--version", action="version", version=f"corrcore {metadata.version('corrcore')}")
    parser.add_argument(
        "--root", type=prepared_path, default=None, help="folder of indexes (default: in the cache folder)"
    )
    rooms = parser.add_subparsers(required=True, metavar="{index,evaluate,cache}")
    options_first = argparse.ArgumentParser(prog="corrcore", add_help=False)
    options_first.add_argument("--root")
    options_first.add_argument("room", nargs="?")
    asked = options_first.parse_known_args(arguments)[0].room
    if asked == "index":
        from corrcore.cli import index as room
    elif asked == "evaluate":
        from corrcore.cli import evaluate as room
    elif asked == "cache":
        from corrcore.cli import cache as room
    else:
        rooms.add_parser("index", help="build and look after patch indexes")
        rooms.add_parser("evaluate", help="measure over many photos")
        rooms.add_parser("cache", help="results kept on disk")
        return parser
    room.add_parsers(rooms)
    return parser
