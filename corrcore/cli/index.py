"""`corrcore index ...`: build and look after patch indexes."""

import argparse
import json
import time
from typing import Any

from corrcore import networks
from corrcore import patch_index as indexes
from corrcore.cli.limits import add_limit_options, limits_of
from corrcore.cli.opening import add_network_options, open_network
from corrcore.cli.shared import add_executor_options, cluster_of, count, numbers, progress_of, words
from corrcore.datasets import addressed, folder
from corrcore.wording import counted, size_text


def add_parsers(rooms: Any) -> None:
    """Adds the commands on indexes."""
    index = rooms.add_parser("index", help="build and look after patch indexes").add_subparsers(required=True)
    build = index.add_parser("build", help="describe a folder of photos; goes on where an earlier run stopped")
    build.add_argument(
        "photos",
        type=addressed.prepared_source,
        help="a folder of photos, or of a data set in PASCAL VOC's layout, or where there is one: s3://bucket/photos, "
        "gs://bucket/photos, zip://photos.zip, 'zip://*.jpg::s3://bucket/photos.zip'",
    )
    build.add_argument("--name", required=True, help="the index's name")
    add_network_options(build, default=networks.DEFAULT)
    build.add_argument("--layers", type=words, default=None, help="such as conv3,conv4,conv5")
    build.add_argument("--scales", type=numbers, default=(1.0,), help="such as 1,0.6: photos enter at each")
    build.add_argument("--mirror", action="store_true", help="photos enter mirrored as well")
    build.add_argument(
        "--longer-side", type=count, default=indexes.LONGER_SIDE_PX, metavar="PX", help="shrink larger photos to this"
    )
    build.add_argument("--hold-out", type=int, default=0, metavar="N", help="leave out N photos, chosen by their names")
    build.add_argument("--limit", type=count, default=None, metavar="N", help="take the first N photos only")
    add_limit_options(build)
    add_executor_options(build)
    build.set_defaults(run=_build)
    index.add_parser("list", help="the indexes there are").set_defaults(run=_list)
    commands = {}
    for name, run, text in (
        ("show", _show, "what an index holds"),
        ("verify", _verify, "read everything and compare digests"),
        ("delete", _delete, "remove an index"),
    ):
        commands[name] = index.add_parser(name, help=text)
        commands[name].add_argument("name", help="as `corrcore index list` shows it")
        commands[name].set_defaults(run=run)
    _add_compress(index)
    commands["show"].add_argument("--json", action="store_true", help="all there is, for programs")


def _add_compress(index: Any) -> None:
    text = "write compressed descriptors beside an index, for approximate searches (corrcore[pq])"
    compress = index.add_parser("compress", help=text)
    compress.add_argument("name", help="as `corrcore index list` shows it")
    compress.add_argument(
        "--lists", type=count, default=0, metavar="N", help="that patches are sorted into (default: about their root)"
    )
    compress.add_argument(
        "--bytes-per-patch", type=count, default=0, metavar="N", help="of its code (default: one per 8 channels)"
    )
    compress.add_argument("--seed", type=int, default=0, help="of the patches that codes are learnt from")
    compress.set_defaults(run=_compress)


def _build(options: argparse.Namespace) -> None:
    target = indexes.path_of(indexes.checked_name(options.name), options.root)
    listing = addressed.photos_in(options.photos, **limits_of(options))
    print(f"{len(listing):,} photos in {options.photos}")
    if listing.left_out:
        print(listing.summary())
    photos, held_out = folder.hold_out(listing.photos[: options.limit], options.hold_out)
    begun = time.monotonic()
    index = indexes.build(
        photos,
        target,
        extractor=open_network(options.network, options.weights),
        layers=options.layers,
        scales=options.scales,
        mirror=options.mirror,
        longer_side=options.longer_side,
        held_out=[photo.name for photo in held_out],
        describer=indexes.describer_on(cluster_of(options), n_threads=options.workers),
        progress=progress_of(options),
    )
    _print_index(index)
    print(f"built in {time.monotonic() - begun:.0f} s")


def _list(options: argparse.Namespace) -> None:
    listings = indexes.survey(options.root)
    for listing in listings:
        if listing.index is None:
            print(_one_line(f"{listing.name}: {listing.state}: {listing.note}"))
        else:
            _print_index(listing.index)
    if not listings:
        root = options.root or indexes.default_root()
        print(f"there are no indexes in {root}; `corrcore index build PHOTOS --name NAME` builds one.")


def _show(options: argparse.Namespace) -> None:
    listing = indexes.look_up(options.name, options.root)
    if listing.state is indexes.State.UNREADABLE:
        raise OSError(listing.note)
    index = listing.index
    if options.json:
        about = {"name": listing.name, "state": listing.state, "note": listing.note}
        print(json.dumps(about | (index.manifest.to_json() if index else {}), indent=1))
        return
    if index is None:
        print(_one_line(f"{listing.name}: {listing.state}: {listing.note}"))
        return
    settings = index.manifest.settings
    _print_index(index)
    larger = "in their own size" if settings.longer_side is None else f"shrunk to {settings.longer_side} px if larger"
    scales = ", ".join(f"{scale:g}" for scale in settings.scales)
    print(f"  photos enter {larger}, at scales {scales}{', mirrored as well' if settings.mirror else ''}")
    print(f"  described by {settings.extractor}, weights {settings.extractor_digest[:8]}; content {index.digest[:8]}")
    for layer in index.layers:
        field = index.receptive_field(layer)
        print(
            f"  {layer}: receptive field {field.size_text}, stride {field.stride} px, "
            f"{index.manifest.channels[layer]} channels, {counted(index.n_patches(layer), 'patch')}"
        )

    _print_compressed(index)
    _print_uncompressed(index)


def _compress(options: argparse.Namespace) -> None:
    listing = indexes.look_up(options.name, options.root)
    if listing.index is None:
        raise OSError(listing.note)
    asked = indexes.Compression(options.lists, options.bytes_per_patch, options.seed)
    listing.index.compress(asked, progress=progress_of(options))
    _print_compressed(listing.index)


def _print_compressed(index: indexes.PatchIndex) -> None:
    """Only searches that ask for it use them: whoever reads this must not take exact results for approximate ones."""
    for layer, made in index.compressed().items():
        lists, patches = made.compression.n_lists, index.n_patches(layer)
        print(
            f"  {layer} compressed: {size_text(made.n_bytes)} in {counted(lists, 'list')}, "
            f"{made.n_bytes / patches:.0f} bytes per patch; searched approximately where --approximate or "
            "CORRCORE_APPROXIMATE asks for it"
        )


def _print_uncompressed(index: indexes.PatchIndex) -> None:
    """What is left to do where only some layers are compressed."""
    if index.uncompressed and set(index.layers) != set(index.uncompressed):
        print(f"  {', '.join(index.uncompressed)}: not compressed yet, so the index is searched exactly")


def _print_index(index: indexes.PatchIndex) -> None:
    patches = ", ".join(f"{layer} {index.n_patches(layer):,}" for layer in index.layers)
    photos, pictures = counted(len(index.photos), "photo"), counted(index.n_pictures, "picture")
    print(_one_line(f"{index.name}: {photos}, {pictures}; patches: {patches}"))
    print(
        _one_line(
            f"  {size_text(index.n_bytes)} in {index.folder}; {index.extractor}; {len(index.held_out):,} held out"
        )
    )
    for name, reason in index.skipped.items():
        print(_one_line(f"  left out: {name}: {reason}"))


def _one_line(text: str) -> str:
    """Text with names of files in it, which may hold line ends and what moves a terminal's cursor."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _verify(options: argparse.Namespace) -> None:
    listing = indexes.look_up(options.name, options.root)
    if listing.index is None:
        raise OSError(listing.note)
    listing.index.verify(progress=progress_of(options))
    print(f"{options.name} is whole.")
    _print_uncompressed(listing.index)


def _delete(options: argparse.Namespace) -> None:
    indexes.delete(indexes.path_of(options.name, options.root))
    print(f"deleted {options.name}.")
