"""`corrcore evaluate KIND`: options, runs and summaries follow from the experiments' dataclasses."""

import argparse
import sys
import time
import types
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from corrcore import experiments
from corrcore.cli.opening import add_network_options, open_network
from corrcore.cli.shared import (
    add_executor_options,
    cluster_of,
    count,
    number,
    numbers,
    print_table,
    progress_of,
    words,
)
from corrcore.experiments import Context, Experiment, ResultStore
from corrcore.experiments.executors import executor_on
from corrcore.settings import prepared_path
from corrcore.workers import keeping_workers

_COMMON = {  # fields that many experiments have
    "dataset": "a registered data set such as toy, a folder with keypoints, or a name under CORRCORE_DATA",
    "category": "such as cat,cow (default: all)",
    "network": "the network whose layers are asked",
    "features": "layers and SIFT by its radius, such as conv4,sift20 (default: by role)",
    "limit": "objects of each split at most, for a quick look (default: all)",
}
_NAMES = {"dataset": "data", "category": "categories"}


def add_parsers(rooms: Any) -> None:
    """Adds a command per registered experiment."""
    commands = rooms.add_parser("evaluate", help="measure over many photos").add_subparsers(required=True)
    for kind in experiments.kinds():
        about = (kind.__doc__ or "").split("\n\n")[0].strip()
        command = commands.add_parser(kind.kind, help=kind.title, description=about)
        add_field_options(command, kind)
        if kind.describes:
            add_network_options(command, default=None, help_text="the index's network, where its name does not open it")
        command.add_argument(
            "--out", type=prepared_path, default=None, help="folder of results (default: the one the app's pages read)"
        )
        add_executor_options(command)
        command.set_defaults(run=evaluate, kind=kind)


def add_field_options(command: argparse.ArgumentParser, kind: type[Any]) -> None:
    """Adds an option per field of a dataclass, and ``--weights`` to a network's."""
    for each in fields(kind):
        if each.name == "network":
            add_network_options(command, default=each.default, help_text=_COMMON["network"])
        else:
            _add_option(command, each, get_type_hints(kind)[each.name])


def _add_option(command: argparse.ArgumentParser, each: Field, hint: Any) -> None:
    name = _option(each)
    needed = each.default is MISSING and each.default_factory is MISSING and each.name != "category"
    help_text = each.metadata.get("help") or _COMMON.get(each.name, "")
    if hint is bool:
        command.add_argument(name, dest=each.name, action="store_true", help=help_text)
        return
    default = None if each.default is MISSING else each.default
    if default not in (None, (), "") and "default" not in help_text:
        help_text += f" (default: {default})"
    options: dict[str, Any] = {"type": words if each.name == "category" else _reader(each.name, hint)}
    if choices := each.metadata.get("choices") or (get_args(hint) if _is_literal(hint) else None):
        options = {"choices": list(choices)}
    command.add_argument(name, dest=each.name, required=needed, default=default, help=help_text, **options)


def command_of(experiment: Experiment[Any, Any, Any, Any]) -> list[str]:
    """The arguments with which the command line measures an experiment, such as ``["evaluate", "transfer", ...]``.

    Raises ValueError for what no option can say, such as a name with commas in a list of names.
    """
    return ["evaluate", experiment.kind, *field_arguments(experiment)]


def field_arguments(asked: Any) -> list[str]:
    """A dataclass as options of `add_field_options`; what is as usual is left out. Raises as `command_of` does."""
    found = []
    for each in fields(asked):
        value, name = getattr(asked, each.name), _option(each)
        if value == each.default:
            continue
        if value is True:
            found.append(name)
            continue
        if value is None:
            msg = f"{name} must be something; got None."
            raise ValueError(msg)
        several = (value,) if each.name == "category" else value
        text = ",".join(map(str, several)) if isinstance(several, tuple) else str(value)
        if isinstance(several, tuple) and words(text) != tuple(map(str, several)):
            msg = f"{name} takes names without commas, and without spaces around them; got {', '.join(several)}."
            raise ValueError(msg)
        found.append(f"{name}={text}")
    return found


def _option(each: Field) -> str:
    return f"--{_NAMES.get(each.name, each.name).replace('_', '-')}"


def _is_literal(hint: Any) -> bool:
    return bool(get_args(hint)) and all(isinstance(each, str) for each in get_args(hint))


def _reader(name: str, hint: Any) -> Any:
    """What reads an option's text."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
    if hint is int:
        return int if name == "seed" else count
    if hint is float:
        return number
    if get_origin(hint) is tuple:
        return numbers if get_args(hint)[0] is float else words
    return str


def open_named(name: str, weights: Path | None, context: Context) -> str:
    """Opens the network of a command where its experiments look for it; its name there."""
    network = open_network(name, weights)
    context.opened_networks[network.name] = network
    return network.name


def evaluate(options: argparse.Namespace, *, context: Context | None = None) -> None:
    """Runs what a command asks for, a category after another, and prints summaries; `context` has what is open
    already.
    """
    kind: type[Experiment[Any, Any, Any, Any]] = options.kind
    given = {each.name: getattr(options, each.name) for each in fields(kind)}
    context = context or Context(indexes=options.root)
    if "network" in given and (options.weights or given["network"] not in context.opened_networks):
        given["network"] = open_named(given["network"], options.weights, context)
    elif kind.describes and (options.network or options.weights):
        made_by = context.index(given["index"]).extractor
        context.opened_networks[made_by] = open_network(options.network or made_by, options.weights)
    store, executor = ResultStore(options.out), executor_on(cluster_of(options), n_threads=options.workers or 1)
    print(f"results in {store.folder}")
    categories: Sequence[str | None] = [None]
    if "category" in given:
        categories = given["category"] or context.dataset(given["dataset"]).categories
    summaries = []
    with keeping_workers():
        for category in categories:
            begun = time.monotonic()
            experiment = kind(**(given if category is None else {**given, "category": category}))
            progress = progress_of(options)
            result = experiments.run(experiment, context=context, store=store, executor=executor, progress=progress)
            summaries.append(result.summary)
            of = "" if len(result.records) == result.asked else f", {len(result.records)} of {result.asked} measured"
            print(f"{category or kind.title}{of}")
            print_table(experiment.summary_rows(result.summary))
            for note in experiment.note_lines(result.notes):
                print(f"  {note}")
            print(f"  {time.monotonic() - begun:.0f} s", file=sys.stderr)
    if len(summaries) > 1 and (means := kind.mean_rows(summaries)):
        print("mean over categories")
        print_table(means)
