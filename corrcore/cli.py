"""`corrcore ...` on the command line."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from corrcore import datasets, experiments, networks, store
from corrcore import patch_index as indexes
from corrcore.datasets import folder
from corrcore.datasets.records import KeypointDataset
from corrcore.networks import Backbone
from corrcore.tasks import alignment, responses


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; errors a user can mend are one sentence and exit code 2, an interruption is 130."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"\ncorrcore: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="corrcore", description="What does this network know about where things are?")
    parser.add_argument("--root", type=Path, default=None, help="folder of indexes (default: in the cache folder)")
    rooms = parser.add_subparsers(required=True, metavar="{index,evaluate,cache}")

    index = rooms.add_parser("index", help="build and look after patch indexes").add_subparsers(required=True)
    build = index.add_parser("build", help="describe a folder of photos; goes on where an earlier run stopped")
    build.add_argument("photos", type=Path, help="a folder of photos, or of a data set in PASCAL VOC's layout")
    build.add_argument("--name", required=True, help="the index's name")
    build.add_argument("--backbone", default="alexnet", choices=list(networks.ARCHITECTURES))
    build.add_argument("--layers", type=_words, default=None, help="such as conv3,conv4,conv5")
    build.add_argument("--scales", type=_numbers, default=(1.0,), help="such as 1,0.6: photos enter at each")
    build.add_argument("--mirror", action="store_true", help="photos enter mirrored as well")
    build.add_argument(
        "--longer-side", type=int, default=indexes.LONGER_SIDE_PX, metavar="PX", help="shrink larger photos to this"
    )
    build.add_argument("--hold-out", type=int, default=0, metavar="N", help="leave out N photos, chosen by their names")
    build.add_argument("--limit", type=_count, default=None, metavar="N", help="take the first N photos only")
    build.add_argument(
        "--max-megapixels", type=float, default=folder.MAX_PIXELS / 1e6, metavar="N", help="take photos up to this size"
    )
    build.add_argument(
        "--max-megabytes", type=float, default=folder.MAX_BYTES / 2**20, metavar="N", help="take files up to this size"
    )
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

    evaluate = rooms.add_parser("evaluate", help="measure over many photos").add_subparsers(required=True)
    localise = evaluate.add_parser("localisation", help="do retrieved patches sit in the right place?")
    localise.add_argument("photos", type=Path, help="the folder of photos; those the index holds out are measured")
    localise.add_argument("--all", action="store_true", help="measure every photo of the folder")
    radius = evaluate.add_parser("radius", help="how far from the centre do similar descriptors agree?")
    radius.add_argument("--k", type=int, default=50, help="neighbours a seed")
    for command, run in ((localise, _localise), (radius, _radius)):
        command.add_argument("--index", required=True, help="an index's name")
        command.add_argument("--limit", type=_count, default=50, help="photos or seeds at most (default 50)")
        command.add_argument("--layers", type=_words, default=None, help="such as conv3,conv5 (default: all)")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--out", type=Path, default=None, help="JSON file of results; kept up to date, resumed")
        command.set_defaults(run=run)

    moved = evaluate.add_parser("transfer", help="do keypoints of neighbours fall on the right places? (Table 2)")
    moved.add_argument("--data", required=True, help="a folder in PASCAL VOC's layout with keypoints, or toy")
    moved.add_argument("--categories", type=_words, default=None, help="such as cat,cow (default: all)")
    moved.add_argument("--backbone", default="alexnet", choices=list(networks.ARCHITECTURES))
    moved.add_argument("--layers", type=_words, default=("conv4", "sift20"), help="such as conv4,sift20 (the default)")
    moved.add_argument("--smoothness", type=float, default=None, help="of all (default: chosen on the train split)")
    moved.add_argument("--position", type=float, default=0.0, help="cost of a square cell away from the box's place")
    moved.add_argument("--order", choices=get_args(alignment.Order), default="deformation", help="who votes first")
    moved.add_argument("--limit", type=_count, default=None, help="objects of each category at most (default: all)")
    moved.add_argument("--out", type=Path, default=None, help="folder of results, a JSON file a category; resumed")
    moved.set_defaults(run=_transfer)

    named = evaluate.add_parser("classification", help="is a keypoint told by the descriptor there? (Table 3)")
    named.add_argument("--data", required=True, help="a folder in PASCAL VOC's layout with keypoints, or toy")
    named.add_argument("--categories", type=_words, default=None, help="such as cat,cow (default: all)")
    named.add_argument("--backbone", default="alexnet", choices=list(networks.ARCHITECTURES))
    named.add_argument("--layers", type=_words, default=experiments.NAMING, help="such as conv4,sift20")
    named.add_argument(
        "--protocol",
        default="box",
        choices=list(experiments.PROTOCOLS),
        help="how objects are seen: in a box of 500 px or small one of 250, or in the photo as it is; raw descriptors, three by "
        "three cells together, or sideless: left and right not told apart; exact: layers at the keypoint's own pixel, not the nearest "
        "cell",
    )
    named.add_argument("--limit", type=_count, default=None, help="objects of each split at most (default: all)")
    named.add_argument("--out", type=Path, default=None, help="folder of results, a JSON file a category; resumed")
    named.set_defaults(run=_classification)

    found = evaluate.add_parser("prediction", help="where in its box does an object have each keypoint? (Table 4)")
    found.add_argument("--data", required=True, help="a folder in PASCAL VOC's layout with keypoints, or toy")
    found.add_argument("--categories", type=_words, default=None, help="such as cat,cow (default: all)")
    found.add_argument("--backbone", default="alexnet", choices=list(networks.ARCHITECTURES))
    found.add_argument(
        "--layers", type=_words, default=experiments.DETECTING, help="such as conv5,sift16 (SIFT with bins of 8 px)"
    )
    found.add_argument("--fine", action="store_true", help="also the best pixel around the best cell: slow")
    found.add_argument("--limit", type=_count, default=None, help="objects of each split at most (default: all)")
    found.add_argument("--out", type=Path, default=None, help="folder of results, a JSON file a category; resumed")
    found.set_defaults(run=_prediction)

    placed = evaluate.add_parser(
        "responses", help="where is a keypoint's classifier highest, pixel by pixel? (Figure 5)"
    )
    placed.add_argument("--data", required=True, help="a folder in PASCAL VOC's layout with keypoints, or toy")
    placed.add_argument("--category", required=True)
    placed.add_argument("--keypoints", type=_words, required=True, help="such as L_Eye,Nose")
    placed.add_argument("--backbone", default="alexnet", choices=list(networks.ARCHITECTURES))
    placed.add_argument("--layers", type=_words, default=experiments.RESPONDING, help="such as conv4,sift20")
    single = [name for name, protocol in experiments.PROTOCOLS.items() if protocol.cells == 1]
    placed.add_argument("--protocol", default="box", choices=single, help="how objects are seen, as for classification")
    placed.add_argument(
        "--side",
        type=_count,
        default=responses.SIDE_PX,
        help="of the square around the keypoint, px (default: %(default)s)",
    )
    placed.add_argument("--cost", type=float, default=None, help="default: chosen on the train split")
    placed.add_argument("--limit", type=_count, default=None, help="val objects at most (default: all)")
    placed.add_argument("--out", type=Path, default=None, help="JSON file of results; kept up to date, resumed")
    placed.set_defaults(run=_responses)

    kept = rooms.add_parser("cache", help="results kept on disk").add_subparsers(required=True)
    kept.add_parser("show", help="where they are and how large").set_defaults(run=_show_cache)
    kept.add_parser("clear", help="forget them all").set_defaults(run=_clear_cache)
    return parser


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in _words(text))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"must be a whole number from 1; got {text}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


class _Bar:
    """Progress on one line of a terminal, on a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._shown = 0.0

    def __call__(self, done: float, text: str) -> None:
        now, live = time.monotonic(), sys.stderr.isatty()
        if done < 1 and now - self._shown < (0.1 if live else 10):
            return
        self._shown = now
        print(f"{done:6.1%}  {text}", end="\r" if live and done < 1 else "\n", file=sys.stderr, flush=True)


def _root(options: argparse.Namespace) -> Path:
    return options.root or indexes.default_root()


def _open(options: argparse.Namespace, name: str) -> indexes.PatchIndex:
    return indexes.PatchIndex(_root(options) / indexes.checked_name(name))


def _build(options: argparse.Namespace) -> None:
    listing = folder.photos(
        options.photos,
        max_pixels=round(options.max_megapixels * 1e6),
        max_bytes=round(options.max_megabytes * 2**20),
    )
    print(f"{len(listing):,} photos in {options.photos}")
    if listing.left_out:
        print(listing.summary())
    photos, held_out = folder.hold_out(listing.photos[: options.limit], options.hold_out)
    begun = time.monotonic()
    index = indexes.build(
        photos,
        _root(options) / indexes.checked_name(options.name),
        backbone=networks.load(options.backbone),
        layers=options.layers,
        scales=options.scales,
        mirror=options.mirror,
        longer_side=options.longer_side,
        held_out=[photo.name for photo in held_out],
        progress=_Bar(),
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
    _open(options, options.name).verify(progress=_Bar())
    print(f"{options.name} is whole.")


def _delete(options: argparse.Namespace) -> None:
    indexes.delete(_root(options) / indexes.checked_name(options.name))
    print(f"deleted {options.name}.")


def _localise(options: argparse.Namespace) -> None:
    index = _open(options, options.index)
    photos = folder.photos(options.photos).photos
    if not options.all:
        photos = tuple(photo for photo in photos if photo.name in set(index.held_out))
        if not photos:
            msg = f"{options.photos} has none of the photos that {index.name} holds out; add --all to measure them all."
            raise ValueError(msg)
    result = experiments.localisation(
        photos[: options.limit],
        backbone=networks.load(index.backbone),
        index=index,
        layers=options.layers,
        seed=options.seed,
        out=options.out,
        progress=_Bar(),
    )
    _print_summary(result["summary"])


def _radius(options: argparse.Namespace) -> None:
    index = _open(options, options.index)
    result = experiments.agreement_radius(
        options.limit,
        index=index,
        layers=options.layers,
        k=options.k,
        seed=options.seed,
        out=options.out,
        progress=_Bar(),
    )
    _print_summary(result["summary"])


def _annotated(options: argparse.Namespace) -> tuple[KeypointDataset, Backbone, Path]:
    """The data set and the network asked for, and the folder for what is measured with them."""
    dataset = datasets.open_dataset(options.data)
    out = options.out or experiments.default_folder(dataset, options.backbone)
    out.mkdir(parents=True, exist_ok=True)
    print(f"results in {out}")
    return dataset, networks.load(options.backbone), out


def _transfer(options: argparse.Namespace) -> None:
    dataset, backbone, out = _annotated(options)
    given = None if options.smoothness is None else {name: float(options.smoothness) for name in options.layers}
    for category in options.categories or dataset.categories:
        begun = time.monotonic()
        result = experiments.transfer(
            dataset,
            category,
            backbone=backbone,
            features=options.layers,
            smoothness=given,
            position=options.position,
            order=options.order,
            limit=options.limit,
            out=out / f"transfer {category}.json",
            progress=_Bar(),
        )
        _print_pck(
            category, result, {row: f"smoothness {chosen}" for row, chosen in result["settings"]["smoothness"].items()}
        )
        print(f"  {time.monotonic() - begun:.0f} s", file=sys.stderr)


def _print_pck(category: str, result: dict[str, Any], notes: Mapping[str, str]) -> None:
    large = f"large (at least {experiments.LARGE_PX} px, {experiments.WELL_SHOWN} keypoints shown)"
    for name, title in (("all", "all"), ("large", large)):
        if name not in result["summary"]:
            continue
        part = result["summary"][name]
        print(f"{category}, {title}: {part['objects']} objects, PCK at alpha {', '.join(map(str, experiments.ALPHAS))}")
        for row, at in part["rows"].items():
            numbers = (
                f"{at[str(a)]['mean']:5.1f} [{at[str(a)]['low']:.1f}, {at[str(a)]['high']:.1f}]"
                for a in experiments.ALPHAS
            )
            print(f"  {row:20} {'   '.join(numbers)}   {notes.get(row, '')}".rstrip())


def _prediction(options: argparse.Namespace) -> None:
    dataset, backbone, out = _annotated(options)
    means: dict[str, list[float]] = {}
    for category in options.categories or dataset.categories:
        begun = time.monotonic()
        result = experiments.predict(
            dataset,
            category,
            backbone=backbone,
            features=options.layers,
            fine=options.fine,
            limit=options.limit,
            out=out / experiments.prediction_file(category, options.limit, fine=options.fine),
            progress=_Bar(),
        )
        notes = {}
        for feature, about in result["summary"]["training"].items():
            notes[feature] = f"cost {about['cost']:g}, trained in {about['seconds']:.0f} s"
            for name, each in about["weighings"].items():
                notes[feature + name] = f"eta {each['eta']:g}, sigma {each['sigma_px']:g} px"
        _print_pck(category, result, notes)
        for row, at in result["summary"]["all"]["rows"].items():
            means.setdefault(row, []).append(at[str(experiments.ALPHAS[0])]["mean"])
        print(f"  {time.monotonic() - begun:.0f} s", file=sys.stderr)
    print(f"mean of categories, PCK at alpha {experiments.ALPHAS[0]}")
    for row, each in means.items():
        print(f"  {row:20} {sum(each) / len(each):5.1f}   of {len(each)}")


def _classification(options: argparse.Namespace) -> None:
    dataset, backbone, out = _annotated(options)
    accuracies: dict[str, list[float]] = {}
    for category in options.categories or dataset.categories:
        begun = time.monotonic()
        result = experiments.classify(
            dataset,
            category,
            backbone=backbone,
            features=options.layers,
            protocol=experiments.PROTOCOLS[options.protocol],
            limit=options.limit,
            out=out / experiments.classification_file(category, options.protocol, options.limit),
            progress=_Bar(),
        )
        print(f"{category}, {options.protocol}: accuracy over keypoints, its mean over classes, %")
        for feature, found in result["summary"].items():
            print(
                f"  {feature:8} {found['accuracy']:5.1f} [{found['low']:.1f}, {found['high']:.1f}]"
                f"   {found['mean_of_classes']:5.1f}   cost {found['cost']:g}   of {found['keypoints']}"
            )
            accuracies.setdefault(feature, []).append(found["accuracy"])
        print(f"  {time.monotonic() - begun:.0f} s", file=sys.stderr)
    print(f"mean of categories, {options.protocol}: accuracy over keypoints, %")
    for feature, each in accuracies.items():
        print(f"  {feature:8} {sum(each) / len(each):5.1f}   of {len(each)}")


def _responses(options: argparse.Namespace) -> None:
    result = experiments.respond(
        datasets.open_dataset(options.data),
        options.category,
        options.keypoints,
        backbone=networks.load(options.backbone),
        features=options.layers,
        protocol=experiments.PROTOCOLS[options.protocol],
        side_px=options.side,
        cost=options.cost,
        limit=options.limit,
        out=options.out,
        progress=_Bar(),
    )
    print("maxima within 1, 2, 4 and 8 px of the keypoint, % (by chance); median distance, px (by chance)")
    for feature, keypoints in result["summary"].items():
        for name, found in keypoints.items():
            if found is None or not found["within"]:
                print(f"  {feature:8} {name:10} none inside the square")
                continue
            finer = ""
            if found["finer_than_stride"]:
                finer = f"finer than its stride ({found['stride_median_px']:.1f}): {found['finer_than_stride']}   "
            ends = "-, -" if found["low"] is None else f"{found['low']:.1f}, {found['high']:.1f}"
            shares = "  ".join(f"{100 * own:3.0f} ({100 * chance:.0f})" for own, chance in found["within"].values())
            print(
                f"  {feature:8} {name:10} {shares}   {found['median_px']:.1f} [{ends}]"
                f" ({found['chance_median_px']:.1f})   {finer}{100 * found['boundary_share']:.0f} % of {found['instances']} on the boundary"
            )


def _print_summary(summary: dict[str, dict[str, dict[str, Any]]]) -> None:
    for layer, numbers in summary.items():
        print(layer)
        for name, value in numbers.items():
            statistic = next(iter(value))
            middle, low, high = (
                f"{float(value[key]):.3f}" if value[key] is not None else "-" for key in (statistic, "low", "high")
            )
            print(f"  {name:22} {statistic} {middle:>8}  [{low}, {high}]  n = {value['samples']}")


def _show_cache(options: argparse.Namespace) -> None:
    with store.Cache() as kept:
        print(kept.statistics())
    print(f"indexes: {', '.join(indexes.list_indexes(_root(options))) or 'none'} in {_root(options)}")


def _clear_cache(_: argparse.Namespace) -> None:
    with store.Cache() as kept:
        kept.clear()
    shutil.rmtree(experiments.results_folder(), ignore_errors=True)
    print("all results are forgotten; indexes stay.")
