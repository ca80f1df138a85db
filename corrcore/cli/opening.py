"""Networks as commands name them: by name, with weights of one's own, or made by a function of one's own."""

import argparse
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from corrcore import networks
from corrcore.features import Extractor
from corrcore.settings import prepared_path


def add_network_options(command: argparse.ArgumentParser, *, default: Any, help_text: str = "") -> None:
    """Adds ``--network`` and ``--weights``."""
    about = (
        "a name that `corrcore network list` shows, a library's such as timm:NAME, or package.module:function; with "
        "@7 after it, a vision transformer's cells are 7 px apart, by overlapping patches"
    )
    usual = f" (default: {default})" if default else ""
    command.add_argument("--network", default=default, help=f"{help_text + ': ' if help_text else ''}{about}{usual}")
    command.add_argument(
        "--weights",
        type=prepared_path,
        default=None,
        metavar="FILE",
        help="its weights (default: those on this machine)",
    )


def open_network(text: str, weights: Path | None = None) -> Extractor:
    """A network by name, or what a function of a module makes: ``package.module:function``.

    The function takes nothing and gives a torch module or an extractor; its module may lie in the current folder.
    Raises as `networks.open` does.
    """
    module, colon, function = text.partition(":")
    if not colon or text in networks.names() or module in networks.families():
        return networks.open(text, weights=weights)
    made = _function(text, module, function)()
    if isinstance(made, nn.Module):
        return networks.from_module(made, name=text, weights=weights)
    if not isinstance(made, Extractor):
        msg = f"{text} must return a torch module or an extractor; got {type(made).__name__}."
        raise ValueError(msg)  # noqa: TRY004 - a user's choice, not a program's
    if weights is not None:
        msg = f"--weights go with a name or a torch module, but {text} returns an extractor, which has its own."
        raise ValueError(msg)
    return made


def _function(text: str, module: str, function: str) -> Callable[[], object]:
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function, None)
    except (ImportError, ValueError, TypeError) as error:
        msg = (
            f"network must be a name that `corrcore network list` shows, a library's such as torchvision:NAME, or "
            f"package.module:function; {text} is none of them ({error})."
        )
        raise ValueError(msg) from error
    finally:
        sys.path.remove(os.getcwd())
    if not callable(found):
        msg = f"network {text} must name a function; the module {module} has none of that name."
        raise ValueError(msg)  # noqa: TRY004 - as above
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError) as error:  # ValueError where nothing is known of what it takes
        msg = f"network {text} must name a function that takes nothing ({error})."
        raise ValueError(msg) from error
    return found
