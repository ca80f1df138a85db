"""`corrcore network field ...`: the effective receptive fields of a network's layers, measured over photos."""

import argparse
import io
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from corrcore import images, networks, patch_index
from corrcore.cli.opening import open_network
from corrcore.cli.shared import add_executor_options, count, for_each, print_table, words
from corrcore.concurrency import Progress
from corrcore.datasets import addressed
from corrcore.experiments.context import open_results
from corrcore.networks import ModuleNetwork
from corrcore.patch_index import PatchIndex, Photo, photos_of, spread
from corrcore.settings import prepared_path
from corrcore.store import write_atomically
from corrcore.tasks import effective_field as fields
from corrcore.tasks.effective_field import EffectiveField, effective_field, even_radius, keep_field, kept_field
from corrcore.wording import counted

N_PHOTOS = 16
SUFFIXES = (".png", ".npz")
ZOOM, GAP = 2, 12


def add_field_parser(rooms: Any) -> None:
    """Adds the command to those on networks."""
    command = rooms.add_parser("field", help="effective receptive fields of layers, measured over photos")
    command.add_argument("name", help=f"such as {networks.DEFAULT}, timm:NAME, or package.module:function")
    command.add_argument("--weights", type=prepared_path, default=None, metavar="FILE", help="its weights")
    command.add_argument("--layer", type=words, default=None, help="such as conv3,conv5 (default: a few, by role)")
    of = command.add_mutually_exclusive_group(required=True)
    of.add_argument("--photos", type=addressed.prepared_source, help="a folder of photos, or an address as for `index`")
    of.add_argument("--index", metavar="NAME", help="the photos of an index, as it has them")
    command.add_argument(
        "--limit", type=count, default=N_PHOTOS, metavar="N", help=f"photos at most, spread (default: {N_PHOTOS})"
    )
    command.add_argument(
        "--cells", type=count, default=fields.N_CELLS, metavar="N", help=f"per photo (default: {fields.N_CELLS})"
    )
    command.add_argument(
        "--window", type=count, default=None, metavar="PX", help="side of what is measured (default: the field)"
    )
    command.add_argument(
        "--longer-side",
        type=count,
        default=fields.LONGER_SIDE_PX,
        metavar="PX",
        help=f"shrink larger photos to this (default: {fields.LONGER_SIDE_PX})",
    )
    command.add_argument(
        "--units", choices=["signs", "sum"], default="signs", help="how a cell's units are added (default: signs)"
    )
    command.add_argument("--out", type=prepared_path, default=None, metavar="FILE", help="a .png or .npz to write")
    add_executor_options(command, threads=False)
    command.set_defaults(run=network_field)


def network_field(options: argparse.Namespace) -> None:
    """Measures layers one after another, prints a table, and writes their maps."""
    if options.out is not None and options.out.suffix not in SUFFIXES:
        msg = f"--out must end in {' or '.join(SUFFIXES)}; got {options.out.name}."
        raise ValueError(msg)
    network = open_network(options.name, options.weights)
    if not isinstance(network, ModuleNetwork):
        msg = f"{options.name} has no gradients by pixels; name a network that is a torch module."
        raise ValueError(msg)  # noqa: TRY004 - a sentence to whoever named it
    layers = options.layer or network.roles.reconstruction
    for layer in layers:
        network.receptive_field(layer)  # which knows the names of all
    photos = _photos(options)
    how: dict[str, Any] = {
        "n_cells": options.cells,
        "window_px": options.window,
        "longer_side": options.longer_side,
        "units": options.units,
    }
    measured: dict[str, tuple[EffectiveField, float]] = {}
    with open_results() as results:
        for layer in layers:
            if (kept := kept_field(network, layer, photos, **how, results=results)) is not None:
                measured[layer] = kept, 0.0

        def then(layer: str, each: tuple[EffectiveField, float]) -> None:
            measured[layer] = each
            keep_field(each[0], network, photos, **how, results=results)

        missing = {layer: layer for layer in layers if layer not in measured}
        for_each(options, (network, photos, how), _measure, missing, then)
    found = [measured[layer][0] for layer in layers]
    print_table([field_row(*measured[layer]) for layer in layers])
    for name, reason in found[0].left_out.items():
        print(f"  left out: {name}: {reason}")
    if options.out is not None:
        write_atomically(options.out, _arrays(found) if options.out.suffix == ".npz" else _picture(found))
        print(f"written to {options.out}")


def _measure(
    given: tuple[ModuleNetwork, Sequence[Photo], dict[str, Any]], layer: str, progress: Progress | None
) -> tuple[EffectiveField, float]:
    """A layer's field, and the seconds it took."""
    network, photos, how = given
    begun = time.monotonic()
    field = effective_field(network, layer, photos, **how, progress=progress)
    return field, time.monotonic() - begun


def _photos(options: argparse.Namespace) -> Sequence[Photo]:
    """Those that are asked for, spread over all there are."""
    there: Sequence[Photo]
    if options.index is not None:
        there = photos_of(PatchIndex(patch_index.path_of(options.index, options.root)))
    else:
        there = addressed.photos_in(options.photos).photos
    chosen = spread(there, options.limit)
    print(f"{counted(len(chosen), 'photo')} of {len(there):,} in {options.index or options.photos}")
    return chosen


def field_row(field: EffectiveField, seconds: float) -> dict[str, str]:
    """A layer's numbers with their units."""
    window = field.receptive_field
    even = "" if window.size is None else f" ({even_radius(window.size):.0f} px if even)"
    return {
        "layer": field.layer,
        "theoretical": window.size_text,
        "stride": f"{window.stride} px",
        "half within": f"{field.radius_px:.1f} px{even}",
        "95 % within": f"{field.radius_of(fields.TWO_SIGMA):.0f} px",
        "by Luo et al.": f"{field.luo_radius_px:.0f} px",
        "middle": " ".join(f"{off:+.1f}" for off in field.mass_px) + " px",
        "in the patch": f"{100 * field.share_in_patch:.0f} %",
        f"beyond {field.side_px} px": "" if field.beyond < 5e-4 else f"{100 * field.beyond:.0f} %",
        "cells": str(field.n_cells),
        "time": f"{seconds:.1f} s",
    }


def _arrays(found: list[EffectiveField]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **fields.as_arrays(found))
    return file.getvalue()


def _picture(found: list[EffectiveField]) -> bytes:
    """The maps side by side in grey, at one scale of values and pixels, with the discs that hold half of them.

    Values are multiples of what each pixel would have if all counted alike, and the same ones white in all.
    """
    brightest = max(float(np.percentile(field.relative, 99.5)) for field in found)
    side = ZOOM * max(field.side_px for field in found)
    canvas = Image.new("RGB", (len(found) * (side + GAP) + GAP, side + 3 * GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for number, field in enumerate(found):
        grey = np.rint(255 * np.clip(field.relative / brightest, 0, 1)).astype(np.uint8)
        panel = Image.fromarray(grey.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1))
        x, y = GAP + number * (side + GAP) + (side - panel.width) // 2, 2 * GAP + (side - panel.height) // 2
        canvas.paste(panel.convert("RGB"), (x, y))
        middle, radius = ZOOM * (field.centre_px + 0.5), ZOOM * field.radius_px
        box = (x + middle - radius, y + middle - radius, x + middle + radius, y + middle + radius)
        draw.ellipse(box, outline="#ffd500", width=2)
        draw.text((x, GAP // 2), field.layer, "black")
    return images.encode(np.asarray(canvas), format="PNG")
