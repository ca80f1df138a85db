"""Which photos a command takes by their size: limits are for files from strangers, and can be raised."""

import argparse
from typing import TypedDict

from corrcore.cli.shared import number
from corrcore.decoding import MAX_BYTES, MAX_PIXELS


class Limits(TypedDict):
    """What readers of photos take as their limits."""

    max_pixels: int
    max_bytes: int


def add_limit_options(command: argparse.ArgumentParser) -> None:
    """Adds ``--max-megapixels`` and ``--max-megabytes``."""
    for name, usual, what in (("megapixels", MAX_PIXELS / 1e6, "photos"), ("megabytes", MAX_BYTES / 2**20, "files")):
        about = f"take {what} up to this size (default: {usual:g})"
        command.add_argument(f"--max-{name}", type=number, default=usual, metavar="N", help=about)


def limits_of(options: argparse.Namespace) -> Limits:
    """The limits a command asks for."""
    return {
        "max_pixels": round(options.max_megapixels * 1e6),
        "max_bytes": round(options.max_megabytes * 2**20),
    }
