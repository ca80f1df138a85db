"""`corrcore ...` on the command line."""

from corrcore.cli.main import main

__all__ = ["main"]
