"""`corrcore network position ...`: how much of a match is place and not thing, by each layer of a network."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from corrcore import extractors, networks, patch_index
from corrcore.cli.opening import open_network
from corrcore.cli.shared import count, print_table, progress_of, words
from corrcore.datasets import addressed, samples
from corrcore.experiments.context import open_results
from corrcore.features import Feature, group_by_extractor
from corrcore.patch_index import PatchIndex, Photo, photos_of, spread
from corrcore.settings import prepared_path
from corrcore.tasks.position import SIDE_PX, Position, measure_position
from corrcore.tasks.position_records import position_record, position_row
from corrcore.wording import counted

N_PHOTOS = 16


def add_position_parser(rooms: Any) -> None:
    """Adds the command to those on networks."""
    about = (
        "The positional share is how much of the variance of descriptors within photos goes with the place alone, 0 to "
        "100 %. Shifted, padded and mirrored are matches of photos with moved copies of themselves: how many cells "
        "find the same content, and how many the same place. Found again are cells of smooth noise, at the same place "
        "of other noise."
    )
    command = rooms.add_parser("position", help="how much of a match is place, and not thing", description=about)
    command.add_argument("name", help=f"such as {networks.DEFAULT}, timm:NAME, or package.module:function")
    command.add_argument("--weights", type=prepared_path, default=None, metavar="FILE", help="its weights")
    command.add_argument(
        "--layer", type=words, default=None, help="such as conv3,conv5, or sift20 (default: a few, by role)"
    )
    of = command.add_mutually_exclusive_group()
    of.add_argument(
        "--photos",
        type=addressed.prepared_source,
        help="a folder of photos, or an address as for `index` (default: the sample photos)",
    )
    of.add_argument("--index", metavar="NAME", help="the photos of an index, as it has them")
    command.add_argument(
        "--limit", type=count, default=N_PHOTOS, metavar="N", help=f"photos at most, spread (default: {N_PHOTOS})"
    )
    command.add_argument(
        "--side",
        type=count,
        default=SIDE_PX,
        metavar="PX",
        help=f"of the square windows into photos (default: {SIDE_PX}, as photos are matched)",
    )
    command.add_argument("--json", action="store_true", help="a line of JSON per layer, for programs")
    command.set_defaults(run=network_position)


def network_position(options: argparse.Namespace) -> None:
    """Measures all layers together, and prints a line of each."""
    network = open_network(options.name, options.weights)
    features = extractors.parse(options.layer or network.roles.reconstruction, network)
    notes = sys.stderr if options.json else sys.stdout
    photos, of = _photos(options)
    print(f"{counted(len(photos), 'photo')} of {of}", file=notes)
    found: dict[Feature, Position] = {}
    with open_results() as results:
        for group in group_by_extractor(features).values():
            measured = measure_position(
                extractors.extractor_of(group[0], network),
                [feature.layer for feature in group],
                photos,
                side_px=options.side,
                results=results,
                progress=progress_of(options),
            )
            found |= {feature: measured[feature.layer] for feature in group}
    rows = {feature: found[feature] for feature in features}
    if options.json:
        print("\n".join(json.dumps(position_record(*each), allow_nan=False) for each in rows.items()))
    else:
        print_table([position_row(feature.key, each) for feature, each in rows.items()])
    for name, reason in next(iter(rows.values())).left_out.items():
        print(f"  left out: {name}: {reason}", file=notes)


def _photos(options: argparse.Namespace) -> tuple[Sequence[Photo], str]:
    """Those that are asked for, spread over all there are, and what they are of."""
    there: Sequence[Photo]
    if options.index is not None:
        there, name = photos_of(PatchIndex(patch_index.path_of(options.index, options.root))), options.index
    elif options.photos is not None:
        there, name = addressed.photos_in(options.photos).photos, str(options.photos)
    else:
        there, name = list(samples.one_of_each_scene().values()), "the sample photos"
    return spread(there, options.limit), f"{len(there):,} in {name}"
