"""Fields of experiments that are options on the command line and controls on pages."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any


def option(default: Any, help: str, *, choices: Sequence[str] | None = None) -> Any:  # noqa: A002 - as argparse has it
    """A dataclass field with its default, a few words that explain it, and what it may be."""
    return field(default=default, metadata={"help": help, "choices": None if choices is None else tuple(choices)})


def required(help: str) -> Any:  # noqa: A002
    """A field that has to be given."""
    return field(metadata={"help": help, "choices": None})
