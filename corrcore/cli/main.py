"""The command line: its parser, and what errors become."""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata

from corrcore.settings import Settings, prepared_path

ROOMS = {  # the modules beside this one, and what they are for
    "app": "open the app",
    "index": "build and look after patch indexes",
    "evaluate": "measure over many photos",
    "network": "the networks there are, and their weights",
    "cache": "results kept on disk",
}


def main(arguments: Sequence[str] | None = None, *, ready: Callable[[], None] = lambda: None) -> int:
    """Runs one command; errors a user can mend are one sentence and exit code 2, an interruption is 130.

    `ready` is called when all modules that the command takes are imported.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that a terminal cannot show ends no command
    try:
        parser = _parser(arguments)
        ready()
        options = parser.parse_args(arguments)
        for problem in Settings.from_environment().problems():
            print(f"corrcore: {problem}", file=sys.stderr)
        options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # by a reader that has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        from corrcore.store import explain  # which brings NumPy along, and `--help` needs none

        text = explain(error) if isinstance(error, OSError) else error
        print(f"\ncorrcore: {text}", file=sys.stderr)
        return 2
    return 0


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Only the room that is asked for is furnished: `--help` imports no torch."""
    parser = argparse.ArgumentParser(prog="corrcore", description="What does this network know about where things are?")
    parser.add_argument("--version", action="version", version=f"corrcore {metadata.version('corrcore')}")
    parser.add_argument(
        "--root", type=prepared_path, default=None, help="folder of indexes (default: in the cache folder)"
    )
    rooms = parser.add_subparsers(required=True, metavar=f"{{{','.join(ROOMS)}}}")
    options_first = argparse.ArgumentParser(prog="corrcore", add_help=False)
    options_first.add_argument("--root")
    options_first.add_argument("room", nargs="?")
    asked = options_first.parse_known_args(arguments)[0].room
    if asked in ROOMS:
        importlib.import_module(f"corrcore.cli.{asked}").add_parsers(rooms)
        return parser
    for name, purpose in ROOMS.items():
        rooms.add_parser(name, help=purpose)
    return parser
