"""`corrcore ...` on the command line."""

import argparse
import io
import json
import os
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
from corrcore.features import Extractor
from corrcore.settings import prepared_path
from corrcore.tasks import alignment, responses


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; errors a user can mend are one sentence and exit code 2, an interruption is 130."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that a terminal cannot show ends no command
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # by a reader that has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"\ncorrcore: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="corrcore", description="What does this network know about where things are?")
    parser.add_argument(
        "--root", type=prepared_path, default=None, help="folder of indexes (default: in the cache folder)"
    )
    rooms = parser.add_subparsers(required=True, metavar="{index,evaluate,cache}")

    index = rooms.add_parser("index", help="build and look after patch indexes").add_subparsers(required=True)
    build = index.add_parser("build", help="describe a folder of photos; goes on where an earlier run stopped")
    build.add_argument("photos", type=prepared_path, help="a folder of photos, or of a data set in PASCAL VOC's layout")
    build.add_argument("--name", required=True, help="the index's name")
    build.add_argument("--network", default="alexnet", choices=list(networks.names()))
    build.add_argument("--layers", type=_words, default=None, help="such as conv3,conv4,conv5")
    build.add_argument("--scales", type=_numbers, default=(1.0,), help="such as 1,0.6: photos enter at each")
    build.add_argument("--mirror", action="store_true", help="photos enter mirrored as well")
    build.add_argument(
        "--longer-side", type=_count, default=indexes.LONGER_SIDE_PX, metavar="PX", help="shrink larger photos to this"
    )
    build.add_argument("--hold-out", type=int, default=0, metavar="N", help="leave out N photos, chosen by their names")
    build.add_argument("--limit", type=_count, default=None, metavar="N", help="take the first N photos only")
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
    commands["show"].add_argument("--json", action="store_true", help="all there is, for programs")

    evaluate = rooms.add_parser("evaluate", help="measure over many photos").add_subparsers(required=True)
    localise = evaluate.add_parser("localisation", help="do retrieved patches sit in the right place?")
    localise.add_argument(
        "photos", type=prepared_path, help="the folder of photos; those the index holds out are measured"
    )
    localise.add_argument("--all", action="store_true", help="measure every photo of the folder")
    radius = evaluate.add_parser("radius", help="how far from the centre do similar descriptors agree?")
    radius.add_argument("--k", type=int, default=50, help="neighbours a seed")
    for command, run in ((localise, _localise), (radius, _radius)):
        command.add_argument("--index", required=True, help="an index's name")
        command.add_argument("--limit", type=_count, default=50, help="photos or seeds at most (default 50)")
        command.add_argument("--layers", type=_words, default=None, help="such as conv3,conv5 (default: all)")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument(
            "--out", type=prepared_path, default=None, help="JSON file of results; kept up to date, resumed"
        )
        command.set_defaults(run=run)

    moved = evaluate.add_parser("transfer", help="do keypoints of neighbours fall on the right places? (Table 2)")
    moved.add_argument("--data", required=True, help="a folder in PASCAL VOC's layout with keypoints, or toy")
    moved.add_argument("--categories", type=_words, default=None, help="such as cat,cow (default: all)")
    moved.add_argument("--network", default="alexnet", choices=list(networks.names()))
    moved.add_argument("--layers", type=_words, default=("conv4", "sift20"), help="such as conv4,sift20 (the default)")
    moved.add_argument("--smoothness", type=float, default=None, help="of all (default: chosen on the train split)")
    moved.add_argument("--position", type=float, default=0.0, help="cost of a square cell away from the box's place")
    moved.add_argument("--order", choices=get_args(alignment.Order), default="deformation", help="who votes first")
    moved.add_argument("--limit", type=_count, default=None, help="objects of each category at most (default: all)")
    moved.add_argument(
        "--out", type=prepared_path, default=None, help="folder of results, a JSON file a category; resumed"
    )
    moved.set_defaults(run=_transfer)

    named = evaluate.add_parser("classification", help="is a keypoint told by the descriptor there? (Table 3)")
    named.add_argument("--data", required=True, help="a folder in PASCAL VOC's layout with keypoints, or toy")
    named.add_argument("--categories", type=_words, default=None, help="such as cat,cow (default: all)")
    named.add_argument("--network", default="alexnet", choices=list(networks.names()))
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
    named.add_argument(
        "--out", type=prepared_path, default=None, help="folder of results, a JSON file a category; resumed"
    )
    named.set_defaults(run=_classification)

    found = evaluate.add_parser("prediction", help="where in its box does an object have each keypoint? (Table 4)")
    found.add_argument("--data", required=True, help="a folder in PASCAL VOC's layout with keypoints, or toy")
    found.add_argument("--categories", type=_words, default=None, help="such as cat,cow (default: all)")
    found.add_argument("--network", default="alexnet", choices=list(networks.names()))
    found.add_argument(
        "--layers", type=_words, default=experiments.DETECTING, help="such as conv5,sift16 (SIFT with bins of 8 px)"
    )
    found.add_argument("--fine", action="store_true", help="also the best pixel around the best cell: slow")
    found.add_argument("--limit", type=_count, default=None, help="objects of each split at most (default: all)")
    found.add_argument(
        "--out", type=prepared_path, default=None, help="folder of results, a JSON file a category; resumed"
    )
    found.set_defaults(run=_prediction)

    placed = evaluate.add_parser(
        "responses", help="where is a keypoint's classifier highest, pixel by pixel? (Figure 5)"
    )
    placed.add_argument("--data", required=True, help="a folder in PASCAL VOC's layout with keypoints, or toy")
    placed.add_argument("--category", required=True)
    placed.add_argument("--keypoints", type=_words, required=True, help="such as L_Eye,Nose")
    placed.add_argument("--network", default="alexnet", choices=list(networks.names()))
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
    placed.add_argument(
        "--out", type=prepared_path, default=None, help="JSON file of results; kept up to date, resumed"
    )
    placed.set_defaults(run=_responses)

    kept = rooms.add_parser("cache", help="results kept on disk").add_subparsers(required=True)
    kept.add_parser("show", help="where they are and how large").set_defaults(run=_show_cache)
    kept.add_parser("clear", help="forget them all").set_defaults(run=_clear_cache)
    return parser


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in _words(text))
    except ValueError:
        msg = f"must be numbers with commas between, such as 1,0.6; got {text}"
        raise argparse.ArgumentTypeError(msg) from None


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
    return indexes.PatchIndex(indexes.path_of(name, options.root))


def _build(options: argparse.Namespace) -> None:
    target = indexes.path_of(indexes.checked_name(options.name), options.root)
    photos, held_out = folder.hold_out(folder.photos(options.photos)[: options.limit], options.hold_out)
    begun = time.monotonic()
    index = indexes.build(
        photos,
        target,
        extractor=networks.open(options.network),
        layers=options.layers,
        scales=options.scales,
        mirror=options.mirror,
        longer_side=options.longer_side,
        held_out=[photo.name for photo in held_out],
        progress=_Bar(),
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
        print(f"there are no indexes in {_root(options)}; `corrcore index build PHOTOS --name NAME` builds one.")


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
            f"  {layer}: receptive field {field.size} px, stride {field.stride} px, "
            f"{index.manifest.channels[layer]} channels, {_number(index.n_patches(layer), 'patch', 'patches')}"
        )


def _print_index(index: indexes.PatchIndex) -> None:
    patches = ", ".join(f"{layer} {index.n_patches(layer):,}" for layer in index.layers)
    photos, pictures = _number(len(index.photos), "photo"), _number(index.n_pictures, "picture")
    print(_one_line(f"{index.name}: {photos}, {pictures}; patches: {patches}"))
    print(_one_line(f"  {_size(index.n_bytes)} in {index.folder}; {index.extractor}; {len(index.held_out):,} held out"))
    for name, reason in index.skipped.items():
        print(_one_line(f"  left out: {name}: {reason}"))


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _size(n_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.2f} GB"


def _one_line(text: str) -> str:
    """Text with names of files in it, which may hold line ends and what moves a terminal's cursor."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _verify(options: argparse.Namespace) -> None:
    listing = indexes.look_up(options.name, options.root)
    if listing.index is None:
        raise OSError(listing.note)
    listing.index.verify(progress=_Bar())
    print(f"{options.name} is whole.")


def _delete(options: argparse.Namespace) -> None:
    indexes.delete(indexes.path_of(options.name, options.root))
    print(f"deleted {options.name}.")


def _localise(options: argparse.Namespace) -> None:
    index = _open(options, options.index)
    photos = folder.photos(options.photos)
    if not options.all:
        photos = [photo for photo in photos if photo.name in set(index.held_out)]
        if not photos:
            msg = f"{options.photos} has none of the photos that {index.name} holds out; add --all to measure them all."
            raise ValueError(msg)
    result = experiments.localisation(
        photos[: options.limit],
        network=networks.open(index.extractor),
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


def _annotated(options: argparse.Namespace) -> tuple[KeypointDataset, Extractor, Path]:
    """The data set and the network asked for, and the folder for what is measured with them."""
    dataset = datasets.open_dataset(options.data)
    out = options.out or experiments.default_folder(dataset, options.backbone)
    out.mkdir(parents=True, exist_ok=True)
    print(f"results in {out}")
    return dataset, networks.open(options.backbone), out


def _transfer(options: argparse.Namespace) -> None:
    dataset, network, out = _annotated(options)
    given = None if options.smoothness is None else {name: float(options.smoothness) for name in options.layers}
    for category in options.categories or dataset.categories:
        begun = time.monotonic()
        result = experiments.transfer(
            dataset,
            category,
            network=network,
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
    dataset, network, out = _annotated(options)
    means: dict[str, list[float]] = {}
    for category in options.categories or dataset.categories:
        begun = time.monotonic()
        result = experiments.predict(
            dataset,
            category,
            network=network,
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
    dataset, network, out = _annotated(options)
    accuracies: dict[str, list[float]] = {}
    for category in options.categories or dataset.categories:
        begun = time.monotonic()
        result = experiments.classify(
            dataset,
            category,
            network=network,
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
        network=networks.open(options.backbone),
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
    print(f"indexes: {', '.join(indexes.list_indexes(options.root)) or 'none'} in {_root(options)}")


def _clear_cache(_: argparse.Namespace) -> None:
    with store.Cache() as kept:
        kept.clear()
    shutil.rmtree(experiments.results_folder(), ignore_errors=True)
    print("all results are forgotten; indexes stay.")
