"""`corrcore network ...`: the networks there are, what their layers are, and their weights."""

import argparse
import hashlib
from typing import Any

import numpy as np

from corrcore import networks
from corrcore.cli.network_field import add_field_parser
from corrcore.cli.network_position import add_position_parser
from corrcore.cli.opening import open_network
from corrcore.cli.shared import print_table
from corrcore.features import Extractor
from corrcore.networks import ModuleNetwork, ModuleSpec, WeightsNotFoundError, lookup
from corrcore.networks.overview import LayerOverview, overview, roles_by_layer, weights_here
from corrcore.settings import prepared_path


def add_parsers(rooms: Any) -> None:
    """Adds the commands on networks."""
    network = rooms.add_parser("network", help="the networks there are, and their weights")
    commands = network.add_subparsers(required=True)
    listed = commands.add_parser("list", help="networks by name, and whether their weights are here")
    listed.add_argument("--family", default=None, help="all of a library: torchvision or timm")
    listed.add_argument("--here", action="store_true", help="only those whose weights are on this machine")
    listed.set_defaults(run=_list)
    shown = commands.add_parser("show", help="a network's layers by depth")
    shown.add_argument("name", help="a name, a library's such as timm:NAME, or package.module:function")
    shown.add_argument("--weights", type=prepared_path, default=None, metavar="FILE", help="its weights")
    shown.set_defaults(run=_show)
    fetched = commands.add_parser("fetch", help="download a network's weights; nothing else ever does")
    fetched.add_argument("name", help="a name, or a library's such as timm:NAME")
    fetched.set_defaults(run=_fetch)
    add_field_parser(commands)
    add_position_parser(commands)


def _list(options: argparse.Namespace) -> None:
    if options.family is not None:
        known = dict.fromkeys(networks.family_names(options.family), "")
        if not known:
            msg = f"there are no networks of {options.family} here; install it with `pip install 'corrcore[timm]'`."
            raise ValueError(msg)
    else:
        known = dict.fromkeys(networks.names(), "") | networks.aliases()
    rows = [{"network": name, "in full": full, "weights": weights_here(name)} for name, full in known.items()]
    rows = [row for row in rows if row["weights"] or not options.here]
    if rows:
        print_table([row | {"weights": row["weights"] or "not here"} for row in rows])
    else:
        print("no weights of them are on this machine; `corrcore network fetch NAME` downloads some.")
    if options.family is None and not options.here:
        for family in networks.families():
            n = len(networks.family_names(family))
            if n:
                print(f"  and {n:,} of {family}: `corrcore network list --family {family}`")


def _show(options: argparse.Namespace) -> None:
    network, about = _opened(options)
    if network is None:
        layers = overview(networks.spec(options.name))  # type: ignore[arg-type] - only its weights are not here
        name = networks.full_name(options.name)
    else:
        layers, name = _layers_of(network), network.name
        about = f"weights {about}, digest {network.digest[:8]}"
    print(name)
    print_table([_row(layer) for layer in layers])
    if network is not None and network.global_layers:
        print(f"  of whole images: {', '.join(network.global_layers)}")
    print(f"  {about}")


def _opened(options: argparse.Namespace) -> tuple[Extractor | None, str]:
    """The network and where its weights are from; None and why, where a known network's are not here."""
    try:
        network = open_network(options.name, options.weights)
    except WeightsNotFoundError as error:
        if options.weights is not None or not isinstance(_spec(options.name), ModuleSpec):
            raise
        return None, str(error)
    if options.weights is not None:
        return network, str(options.weights)
    return network, weights_here(options.name) or "its own"


def _spec(name: str) -> object:
    try:
        return networks.spec(name)
    except ValueError:
        return None


def _layers_of(network: Extractor) -> list[LayerOverview]:
    measured: frozenset[str] = getattr(network, "measured", frozenset())
    if isinstance(network, ModuleNetwork) and not measured:
        return [layer for layer in overview(network.spec) if layer.name in network.layers]
    roles, found = roles_by_layer(network.roles), []
    for layer in network.layers:
        side = network.smallest_side(layer)
        grid = network.extract(np.zeros((side, side, 3), np.uint8), [layer])[layer]
        channels = grid.descriptors.shape[-1]
        found.append(LayerOverview(layer, channels, grid.receptive_field, layer in measured, roles.get(layer, ())))
    return found


def _row(layer: LayerOverview) -> dict[str, str]:
    field = layer.receptive_field
    return {
        "layer": layer.name,
        "channels": str(layer.channels),
        "receptive field": field.size_text + (", measured" if layer.measured else ""),
        "stride": f"{field.stride} px",
        "offset": f"{field.offset:g} px",
        "by default for": ", ".join(layer.roles),
    }


def _fetch(options: argparse.Namespace) -> None:
    spec = networks.spec(options.name)
    if not isinstance(spec, ModuleSpec) or spec.fetch is None:
        of = spec.sources if isinstance(spec, ModuleSpec) else lookup.Sources(spec.name)
        msg = f"no library downloads these: {lookup.how_to_get(f'the weights of {spec.name}', of)}"
        raise ValueError(msg)
    path = lookup.download(spec.sources, spec.fetch)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    print(f"{path}\nsha256 {digest}")
    if (first := lookup.locate(spec.sources)) != path:
        print(f"{first} comes before it, and is what {spec.name} is opened with.")
