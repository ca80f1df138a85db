"""`corrcore index ...`: build and look after patch indexes."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from corrcore import networks
from corrcore import patch_index as indexes
from corrcore.cli.shared import ProgressBar, count, numbers, words
from corrcore.datasets import folder


def add_parsers(rooms: Any) -> None:
    """Adds the commands on indexes."""
    index = rooms.add_parser("index", help="build and look after patch indexes").add_subparsers(required=True)
    build = index.add_parser("build", help="describe a folder of photos; goes on where an earlier run stopped")
    build.add_argument("photos", type=Path, help="a folder of photos, or of a data set in PASCAL VOC's layout")
    build.add_argument("--name", required=True, help="the index's name")
    build.add_argument("--network", default="alexnet", choices=list(networks.names()))
    build.add_argument("--layers", type=words, default=None, help="such as conv3,conv4,conv5")
    build.add_argument("--scales", type=numbers, default=(1.0,), help="such as 1,0.6: photos enter at each")
    build.add_argument("--mirror", action="store_true", help="photos enter mirrored as well")
    build.add_argument(
        "--longer-side", type=int, default=indexes.LONGER_SIDE_PX, metavar="PX", help="shrink larger photos to this"
    )
    build.add_argument("--hold-out", type=int, default=0, metavar="N", help="leave out N photos, chosen by their names")
    build.add_argument("--limit", type=count, default=None, metavar="N", help="take the first N photos only")
    build.set_defaults(run=_build)
    index.add_parser("list", help="the indexes there are").set_defaults(run=_list)
    for name, run, text in (
        ("show", _show, "what an index holds"),
        ("verify", _verify, "read everything and compare digests"),
        ("delete", _delete, "remove an index"),
    ):
        command = index.add_parser(name, help=text)
        command.add_argument("name")
        command.set_defaults(run=run)


def _root(options: argparse.Namespace) -> Path:
    return options.root or indexes.default_root()


def _open(options: argparse.Namespace, name: str) -> indexes.PatchIndex:
    return indexes.PatchIndex(_root(options) / indexes.checked_name(name))


def _build(options: argparse.Namespace) -> None:
    photos, held_out = folder.hold_out(folder.photos(options.photos)[: options.limit], options.hold_out)
    begun = time.monotonic()
    index = indexes.build(
        photos,
        _root(options) / indexes.checked_name(options.name),
        extractor=networks.open(options.network),
        layers=options.layers,
        scales=options.scales,
        mirror=options.mirror,
        longer_side=options.longer_side,
        held_out=[photo.name for photo in held_out],
        progress=ProgressBar(),
    )
    _describe(index)
    print(f"built in {time.monotonic() - begun:.0f} s")


def _list(options: argparse.Namespace) -> None:
    for name in indexes.list_indexes(_root(options)):
        _describe(_open(options, name))
    for name in indexes.list_unfinished(_root(options)):
        print(f"{name}: not finished; the command that began it goes on, `corrcore index delete {name}` forgets it")


def _show(options: argparse.Namespace) -> None:
    index = _open(options, options.name)
    _describe(index)
    print(json.dumps(index.manifest | {"held_out": len(index.held_out)}, indent=1))


def _describe(index: indexes.PatchIndex) -> None:
    patches = ", ".join(f"{layer} {index.n_patches(layer):,}" for layer in index.layers)
    print(f"{index.name}: {len(index.photos):,} photos, {len(index.widths):,} pictures; patches: {patches}")
    print(f"  {index.n_bytes / 1e9:.2f} GB in {index.folder}; {index.backbone}; {len(index.held_out)} held out")
    for name, reason in index.skipped.items():
        print(f"  left out: {name}: {reason}")


def _verify(options: argparse.Namespace) -> None:
    _open(options, options.name).verify(progress=ProgressBar())
    print(f"{options.name} is whole.")


def _delete(options: argparse.Namespace) -> None:
    indexes.delete(_root(options) / indexes.checked_name(options.name))
    print(f"deleted {options.name}.")
