"""The command line: its parser, and what errors become."""

import _thread
import argparse
import importlib
import io
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

from corrcore.settings import Settings, prepared_path

_NEGATIVE = re.compile(r"-(\d|\.\d)[\d.,e+-]*$", re.ASCII | re.IGNORECASE)
_GRACE_S = 5.0  # an interrupted command has to end by itself
ROOMS = {  # the modules beside this one, and what they are for
    "app": "open the app",
    "index": "build and look after patch indexes",
    "match": "find points of one photo in another",
    "evaluate": "measure over many photos",
    "train": "learn what pages show, ahead",
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
    options = argparse.Namespace(progress="bar")
    try:
        parser = _parser(arguments)
        ready()
        parser.parse_args(arguments, options)
        if options.until_stdin_closes:
            _stop_when_stdin_closes()
        for problem in Settings.from_environment().problems(options.root):
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

        _say(explain(error) if isinstance(error, OSError) else str(error), options)
        return 2
    except MemoryError:
        _say("there is not enough memory for it; take fewer or smaller photos.", options)
        return 2
    return 0


class _Parser(argparse.ArgumentParser):
    """Takes -5,3 for a value, as argparse takes -5; its parsers of commands are of its kind."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._negative_number_matcher = _NEGATIVE


def _say(text: str, options: argparse.Namespace) -> None:
    """What went wrong, for people or for programs."""
    print(json.dumps({"error": text}) if options.progress == "json" else f"\ncorrcore: {text}", file=sys.stderr)


def _stop_when_stdin_closes() -> None:
    """Interrupts the command when whoever began it is gone, however that ended.

    What is begun in a shell's background ignores interruptions, and so would all that it begins.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        _thread.interrupt_main()
        time.sleep(_GRACE_S)
        os._exit(130)

    threading.Thread(target=watch, name="corrcore-stdin", daemon=True).start()


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Only the room that is asked for is furnished: `--help` imports no torch."""
    parser = _Parser(prog="corrcore", description="What does this network know about where things are?")
    parser.add_argument("--version", action="version", version=f"corrcore {metadata.version('corrcore')}")
    parser.add_argument(
        "--root", type=prepared_path, default=None, help="folder of indexes (default: in the cache folder)"
    )
    parser.add_argument(
        "--progress",
        choices=["bar", "json"],
        default="bar",
        help="how far it is, for people or, line by line on standard error, for programs (default: bar)",
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="stop when standard input ends, as for Ctrl-C"
    )
    rooms = parser.add_subparsers(required=True, metavar=f"{{{','.join(ROOMS)}}}")
    options_first = argparse.ArgumentParser(prog="corrcore", add_help=False)
    options_first.add_argument("--root")
    options_first.add_argument("--progress")
    options_first.add_argument("--until-stdin-closes", action="store_true")
    options_first.add_argument("room", nargs="?")
    asked = options_first.parse_known_args(arguments)[0].room
    if asked in ROOMS:
        importlib.import_module(f"corrcore.cli.{asked}").add_parsers(rooms)
        return parser
    for name, purpose in ROOMS.items():
        rooms.add_parser(name, help=purpose)
    return parser
