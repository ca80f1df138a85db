"""What pages on keypoints let one choose: a data set, a category, an object, a network. Choices live in the URL."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

import streamlit as st

from corrcore import datasets, networks
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.features import SIFT, Extractor, Feature
from corrcore.tasks.detection import PRIORS
from corrcore.wording import counted
from dashboard import first_views
from dashboard.parts import url_state
from dashboard.parts.gallery import gallery
from dashboard.services import caches, thumbnails
from dashboard.wording import escape_markdown, sentence

SMOOTHNESSES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # that objects are aligned with
PRIOR_TITLES = {1: "the object most alike", PRIORS: f"the {PRIORS} most alike", 0: "none"}  # by how many it is from
SEEN = {"box, 250 px": "small", "box, 500 px": "box", "photo as it is": "photo"}  # the scales responses are shown at
PROTOCOLS = {  # how objects are seen to name their keypoints
    "box": "in a box of 500 px",
    "small": "in a box of 250 px",
    "photo": "in the photo as it is",
    "raw": "in a box of 500 px, descriptors as they are",
    "three": "in a box of 500 px, 3 x 3 cells together",
    "sideless": "in a box of 500 px, left and right alike",
    "exact": "in a box of 500 px, layers at the keypoint's pixel",
    "exact-photo": "in the photo as it is, layers at the keypoint's pixel",
}
LONGER_SIDE_PX = 500  # of photos that are looked at
PER_SHEET = 16
WITHOUT_WEIGHTS = " · no weights"
OF_NETWORKS = "Networks whose weights are on this machine. At the foot of the page are others, and how to get them."

SYNTHETIC = "Drawn animals"


def python_dataset(source: str) -> str:
    """What a data set is opened by in Python and in experiments."""
    folder = caches.available().spec(source).folder
    return repr(source if folder is None else str(folder))


def shell_dataset(source: str) -> str:
    """What a data set is opened by on the command line."""
    return shlex.quote(str(caches.available().spec(source).folder or source))


def dataset_title(source: str) -> str:
    """What a data set is called where it is chosen, and so in links."""
    return SYNTHETIC if source == datasets.TOY else source


def choose_category(at_data: Any, at_category: Any) -> tuple[str, KeypointDataset, str]:
    """A data set, by the name it is offered under, and a category of it; the page stops where it cannot be read."""
    there = caches.available()
    for fault in there.faults:
        st.warning(escape_markdown(fault), icon=":material/folder_off:")
    offered = list(there.names)
    url_state.check_link("data", [dataset_title(each) for each in offered])
    name = at_data.selectbox(
        "Data set",
        offered,
        format_func=dataset_title,
        key="data",
        bind="query-params",
        help="Those in the folder that the environment variable CORRCORE_DATA names are offered besides.",
    )
    try:
        data = caches.dataset(name)
    except (OSError, ValueError) as error:
        st.error(sentence(error), icon=":material/error:")
        st.stop()
    url_state.check_link("category", data.categories)
    return name, data, at_category.selectbox("Category", data.categories, key="category", bind="query-params")


def offered_objects(data: KeypointDataset, category: str) -> list[Instance]:
    """The val objects of a category in the order of galleries. Raises ValueError where there are none.

    Drawn animals come in their own order, which begins with ones that show much. A folder of photos has no such
    order: large objects with many visible keypoints come first, and of those the well lit ones.
    """
    there = data.visible_instances(category, "val") if (category, "val") in data.splits else []
    if not there:
        msg = f"No val object of {category} shows a keypoint; choose another category."
        raise ValueError(msg)
    if data.synthetic:
        return there
    most, largest = max(one.visible.sum() for one in there), max(min(one.size) for one in there)
    telling = sorted(there, key=lambda one: 2 * one.visible.sum() / most + min(one.size) / largest, reverse=True)
    first, rest = telling[:PER_SHEET], telling[PER_SHEET:]
    return [first[n] for n in thumbnails.well_lit_first(caches.state_of(first), first)] + rest


def choose_page(place: Any, of: str, n_pages: int, current: int, key: str) -> int:
    """The number of a gallery's page. What is typed beyond the last becomes the last: the browser would let it be."""

    def clamp() -> None:
        st.session_state[key] = min(max(st.session_state[key], 1), n_pages)

    return place.number_input(f"Page (of {n_pages}{of})", 1, None, current, key=key, on_change=clamp)


def first_keypoint(data: KeypointDataset, category: str) -> int:
    """The place among them of the keypoint to begin with."""
    names = list(data.keypoint_names[category])
    return names.index(first_views.KEYPOINT) if data.synthetic and first_views.KEYPOINT in names else 0


def choose_object(data: KeypointDataset, category: str, beside: Any) -> Instance:
    """A val object from a gallery, with a choice of the sheet `beside` it; the choice is in the URL.

    Raises ValueError or OSError where there is none to show.
    """
    offered = offered_objects(data, category)
    names = [one.name for one in offered]
    asked = asked_object(data, offered)
    chosen = names.index(asked)
    per_sheet = PER_SHEET
    n_sheets = -(-len(offered) // per_sheet)
    sheet = chosen // per_sheet + 1
    if n_sheets > 1:
        of = f"; {counted(len(offered), 'object')}"
        sheet = choose_page(beside, of, n_sheets, sheet, f"sheet {data.digest} {category}")
    shown = range((sheet - 1) * per_sheet, min(sheet * per_sheet, len(offered)))
    objects = [offered[n] for n in shown]
    gallery(
        thumbnails.of_objects(caches.state_of(objects), objects),
        chosen - shown.start if chosen in shown else None,
        [names[n] for n in shown],
        lambda number: url_state.choose("object", names[shown[number]]),
    )
    return offered[chosen]


def asked_object(data: KeypointDataset, offered: list[Instance]) -> str:
    """The name of the object that the URL or this session asks for, if it is on offer; else of the first."""
    names = [one.name for one in offered]
    asked = url_state.asked("object", names[0])
    if asked not in names and any(asked == one.name for other in data.splits.values() for one in other):
        url_state.accept("object", [asked])  # the category was changed
    url_state.check_choice("object", asked, asked in names, "There is no object {} here; this is another.")
    shown = asked if asked in names else names[0]
    url_state.show("object", shown)
    return shown


def show_left_out(what: str, reasons: Mapping[str, str]) -> None:
    """Annotations or objects (`what` of them) that could not be used, by name, folded."""
    if reasons:
        with st.expander(f"{counted(len(reasons), what)} left out"):
            for each, reason in list(reasons.items())[:50]:
                st.caption(escape_markdown(f"{each}: {reason}"))


def network_titles() -> dict[str, str]:
    """What the networks whose weights are here are called where one is chosen, and so in links: the name in print and
    what it is from.
    """
    return {name: f"{networks.title(name)} · {origin}" for name, origin in caches.offered_networks().items()}


def network_named(text: str) -> str | None:
    """The known network that a link names: by its title with or without what it is from, or by any of its names.

    A known network with a finer grid is known, too.
    """
    asked = text.partition(" · ")[0]
    stride = networks.split_stride(asked)[1] or next(map(int, re.findall(r", every (\d+) px$", asked)), None)
    finer = "" if stride is None else f"@{stride}"
    for name in caches.known_networks():
        if asked in (f"{each}{finer}" for each in (name, networks.full_name(name))):
            return f"{name}{finer}"
        if asked == networks.title(f"{name}{finer}"):
            return f"{name}{finer}"
    return None


def _title_of_asked(name: str) -> str:
    """What a network is called that a link asks for and the menu lacks: one with a finer grid, or without weights."""
    origin = caches.offered_networks().get(networks.split_stride(name)[0])
    return networks.title(name) + (WITHOUT_WEIGHTS if origin is None else f" · {origin}")


def choose_network(place: Any, *, below: Any = st) -> Extractor:
    """The network whose layers are asked, of those whose weights are here, and with a finer grid where a link asks.

    Where a link asks for one without weights, or for a grid that it cannot have, the page stops and says so `below`.
    """
    titles = network_titles()
    asked = {value: name for value in st.query_params.get_all("network") if (name := network_named(value))}
    titles |= {name: _title_of_asked(name) for name in asked.values() if name not in titles}
    url_state.spell_out("network", {value: titles[name] for value, name in asked.items()})
    url_state.check_link("network", list(titles.values()))
    name = place.selectbox(
        "Network", list(titles), format_func=titles.__getitem__, key="network", bind="query-params", help=OF_NETWORKS
    )
    try:
        return caches.network(name or next(iter(titles)))
    except (OSError, ValueError) as error:
        below.error(sentence(error), icon=":material/error:")
        st.stop()


def aligned_features(network: Extractor) -> tuple[Feature, ...]:
    """Those the Alignment page offers: the layers whose cells lie where those of the layer for transfer do, and
    SIFT.
    """
    usual = network.receptive_field(network.roles.transfer)
    fields = {layer: network.receptive_field(layer) for layer in network.layers}
    layers = [each for each, own in fields.items() if (own.stride, own.offset) == (usual.stride, usual.offset)]
    return (*(Feature(network.name, layer) for layer in layers), *(Feature(SIFT, r) for r in ("10", "20", "40")))


def mapped_features(network: Extractor) -> tuple[Feature, ...]:
    """Those the Responses page offers: every layer, and SIFT."""
    radii = ("10", "20", "40", "80", "160")
    return (*(Feature(network.name, layer) for layer in network.layers), *(Feature(SIFT, r) for r in radii))
