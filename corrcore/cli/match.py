"""`corrcore match SOURCE TARGET --points ...`: where points of one photo lie in another, and what speaks for it."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from corrcore import extractors, networks
from corrcore.cli import match_files
from corrcore.cli.limits import add_limit_options, limits_of
from corrcore.cli.match_pairs import MatchedPair
from corrcore.cli.match_request import is_photo_to_folder, point_or_file, request_of
from corrcore.cli.opening import add_network_options, open_network
from corrcore.cli.shared import check_file, count, number, print_table, progress_of, share, words
from corrcore.datasets.folder import printable_name
from corrcore.features import Feature
from corrcore.settings import prepared_path
from corrcore.show.match_picture import MatchView
from corrcore.store import write_atomically
from corrcore.tasks.alignment import CROP_SPEC
from corrcore.tasks.matching import LONGER_SIDE_PX, MatchOptions, Method
from corrcore.tasks.points_transfer import usual_features
from corrcore.wording import counted

PICTURE_SUFFIXES = (".png",)


def add_parsers(rooms: Any) -> None:
    """Adds the command."""
    about = (
        "Finds points of a photo in another one by each feature, and says what speaks for each place: its cosine "
        "similarity, by how much that is above the best place elsewhere (margin), how far from the point the place "
        "leads back (cycle error), whether both cells choose each other (mutual), and, where that has been learnt "
        "(corrcore train confidence), how probably it is right (confidence)."
    )
    command = rooms.add_parser("match", help="find points of one photo in another", description=about)
    command.add_argument(
        "photos",
        nargs="+",
        type=prepared_path,
        metavar="PHOTO",
        help="the source and the target, or a folder of targets; or one folder, whose subfolders that hold exactly two "
        "photos are pairs, the first by name being the source, with points.json or points.csv beside them",
    )
    command.add_argument(
        "--points",
        type=point_or_file,
        action="append",
        default=[],
        metavar="X,Y|FILE",
        help="pixels of the source, as often as there are points; or COCO keypoints (.json), or lines of name,x,y "
        "(.csv); in a folder of pairs for those without points of their own",
    )
    add_network_options(command, default=networks.DEFAULT)
    command.add_argument(
        "--features",
        type=words,
        default=None,
        help="layers and SIFT by its radius, such as conv4,vgg16:conv4_3,sift20 (default: the network's layer for "
        "transfer, and sift20)",
    )
    _add_options(command)
    add_limit_options(command)
    _add_outputs(command)
    command.set_defaults(run=match)


def _add_outputs(command: argparse.ArgumentParser) -> None:
    """What is told, and which files are written."""
    command.add_argument("--json", action="store_true", help="a line of JSON per point and feature, for programs")
    command.add_argument(
        "--out",
        type=prepared_path,
        default=None,
        metavar="FILE",
        help=f"a file to write: {', '.join(match_files.SUFFIXES)} (lines, COCO keypoints of the targets, arrays); the "
        "keypoints of a folder of targets are of one feature",
    )
    command.add_argument(
        "--at-least",
        type=share,
        default=None,
        metavar="P",
        help="for keypoints (.json): places of a lower confidence than this, 0 to 1, or of none are hidden (v = 0)",
    )
    command.add_argument(
        "--picture",
        type=prepared_path,
        default=None,
        metavar="FILE|FOLDER",
        help="a .png to write: both photos with their points, a row per feature; of several pairs one each, which a "
        "folder may be given for",
    )


def _add_options(command: argparse.ArgumentParser) -> None:
    """An option for each field of `MatchOptions` that two whole photos have a use for."""
    usual = MatchOptions()
    command.add_argument(
        "--method",
        choices=get_args(Method),
        default=usual.method,
        help=f"the cell most like each point, or alignment of all cells by a random field (default: {usual.method})",
    )
    command.add_argument(
        "--refine", action="store_true", help="for nn: between cells, by the parabola around the best one"
    )
    command.add_argument(
        "--longer-side",
        type=count,
        default=usual.longer_side,
        metavar="PX",
        help=f"of photos when described (default: {LONGER_SIDE_PX}; for mrf what makes {CROP_SPEC.n_cells} cells)",
    )
    for name, about in (
        ("smoothness", "for mrf: cost of uneven displacements"),
        ("position", "for mrf: cost of a square cell away from the same place"),
    ):
        default = getattr(usual, name)
        command.add_argument(f"--{name}", type=number, default=default, help=f"{about} (default: {default})")
    command.add_argument(
        "--without-position",
        type=count,
        default=usual.without_position,
        metavar="N",
        help="directions that tell of the place alone to take out of descriptors, such as 8 (default: 0, none)",
    )
    command.add_argument(
        "--iterations", type=count, default=usual.iterations, help=f"for mrf: at most (default: {usual.iterations})"
    )


def match(options: argparse.Namespace) -> None:
    """Matches a pair after another, prints what is found, and writes it."""
    check_file("--out", options.out, match_files.SUFFIXES)
    if options.at_least is not None and (options.out is None or options.out.suffix.lower() != ".json"):
        msg = "--at-least hides points of COCO keypoints; give --out a .json file."
        raise ValueError(msg)
    if options.picture is not None and not options.picture.suffix:
        options.picture.mkdir(parents=True, exist_ok=True)
    if options.picture is not None and not options.picture.is_dir():
        check_file("--picture", options.picture, PICTURE_SUFFIXES)
    how = MatchOptions(
        options.method,
        longer_side=options.longer_side,
        refine=options.refine,
        smoothness=options.smoothness,
        position=options.position,
        iterations=options.iterations,
        without_position=options.without_position,
    )
    notes = sys.stderr if options.json else sys.stdout  # where lines of JSON go nothing else does

    def leave_out(name: str, reason: str) -> None:
        print(f"left out: {name}: {reason}", file=notes)

    request = request_of(options.photos, options.points, limits_of(options), leave_out)
    network = open_network(options.network, options.weights)
    features = extractors.parse(options.features or usual_features(network), network)
    features = tuple(dict.fromkeys(features))
    category = _category(options, features)
    found, records, pictures = [], [], []
    for each in request.matched(features, network, how, leave_out=leave_out, progress=progress_of(options)):
        found.append(each)
        own = list(match_files.records_of(each, how.method))
        records += own
        if options.json:
            print("\n".join(json.dumps(record, allow_nan=False) for record in own), flush=True)
        if options.picture is not None:
            pictures.append(_picture_path(options.picture, each.label, several=len(request) > 1))
            write_atomically(pictures[-1], _view(each).to_png())
    if not found:
        msg = f"none of {counted(len(request), 'pair')} could be matched; what is left out says why."
        raise ValueError(msg)
    if not options.json:
        print_table(match_files.table_rows(records))
    if options.out is not None:
        suffix = options.out.suffix.lower()
        content = match_files.content(suffix, found, how.method, category=category, at_least=options.at_least)
        write_atomically(options.out, content)
        for feature in match_files.without_confidence(found) if options.at_least is not None else ():
            print(
                f"no confidence is known of {feature} matched so; all its points are hidden in {options.out.name}. "
                "corrcore train confidence learns one.",
                file=notes,
            )
        pictures.insert(0, options.out)
    for path in pictures:
        print(f"written to {path}", file=notes)


def _category(options: argparse.Namespace, features: Sequence[Feature]) -> str:
    """What COCO's keypoints of a folder's photos are of: empty for pairs.

    Raises ValueError for several features, as each photo of a data set has one annotation per object.
    """
    if not is_photo_to_folder(options.photos):
        return ""
    if options.out is not None and options.out.suffix.lower() == ".json" and len(features) != 1:
        listed = ", ".join(map(str, features))
        msg = (
            f"keypoints of a folder's photos ({options.out.name}) are those of one feature; got {listed}, so give one "
            "by --features, or write .csv, which has a line for each."
        )
        raise ValueError(msg)
    return f"points of {printable_name(options.photos[0].name)}"


def _view(found: MatchedPair) -> MatchView:
    source, target, names = found.pair.source, found.pair.target, found.pair.points.names
    return MatchView((source.load(), target.load()), (source.name, target.name), names, found.matches)


def _picture_path(path: Path, label: str, *, several: bool) -> Path:
    """Where a pair's picture goes: into a folder under the pair's label, else of several pairs one each beside it."""
    if path.is_dir():
        return path / f"{label}.png"
    return path.with_name(f"{path.stem}-{label}{path.suffix}") if several else path
