"""What the Match page lets one choose besides photos: networks, features, and how places are found."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from corrcore import networks
from corrcore.features import SIFT, Extractor, Feature, group_by_extractor
from corrcore.tasks.alignment import CROP_SPEC
from corrcore.tasks.matching import LONGER_SIDE_PX, MatchOptions, Method
from dashboard.parts import header, pickers, url_state
from dashboard.services import caches
from dashboard.wording import sentence

MOST_NETWORKS, MOST_FEATURES = 4, 6
PLACELESS = 8  # directions that are taken out where that is asked for
RADII = ("10", "20", "40", "80")
METHODS: Mapping[Method, str] = {"nn": "each by itself", "mrf": "all cells together (MRF)"}


@dataclass(frozen=True, eq=False)
class Choice:
    """The features by which places are found, the network that each is of, and how."""

    features: Mapping[Feature, Extractor]
    options: MatchOptions
    opacity: float

    @property
    def groups(self) -> list[tuple[list[Feature], Extractor]]:
        """The features of each extractor, and the network that it is or that stands for it."""
        return [(group, self.features[group[0]]) for group in group_by_extractor([*self.features]).values()]

    def title(self, feature: Feature) -> str:
        """A feature's name, with its network's where there are several."""
        return title(feature, short=len({each.name for each in self.features.values()}) == 1)


def parameters(choice: Choice) -> dict[str, str]:
    """What is in force, for the folded panel."""
    opened, options = dict.fromkeys(choice.features.values()), choice.options
    size = f"{options.longer_side or LONGER_SIDE_PX} px on the longer side, places between cells"
    return {
        "networks": ", ".join(f"{each.name}, weights {each.digest[:8]}" for each in opened),
        "features": ", ".join(choice.title(feature) for feature in choice.features),
        "places": METHODS[options.method],
        **({"taken out": f"{options.without_position} directions of place"} if options.without_position else {}),
        "described at": f"{CROP_SPEC.n_cells} cells on the longer side" if options.method == "mrf" else size,
    }


def title(feature: Feature, *, short: bool = False) -> str:
    """A feature as it is called where it is chosen, and so in links."""
    return feature.title if feature.is_sift or short else f"{networks.title(feature.extractor)} {feature.layer}"


def choose() -> Choice:
    """The row of controls; the page stops where none is chosen, or a network cannot be opened."""
    at_networks, at_features, at_method, at_more = header.two_a_row("controls").columns(
        [3, 6, 3, 2], gap="small", vertical_alignment="bottom"
    )
    opened = _choose_networks(at_networks)
    features = _choose_features(at_features, opened)
    url_state.spell_out("found_by", {**METHODS})
    url_state.check_link("found_by", list(METHODS.values()))
    method = at_method.selectbox(
        "Places are found", list(METHODS), format_func=METHODS.get, key="found_by", bind="query-params",
        help="Each by the most similar cell, or all cells of a photo moved together, held smooth.",
    )  # fmt: skip
    url_state.check_number("opacity", 0, 1)
    with at_more.popover("More", icon=":material/tune:", width="stretch"):
        opacity = st.slider("Opacity of the maps", 0.0, 1.0, 0.6, 0.05, key="opacity", bind="query-params")
        placeless = st.toggle(
            "Without what tells of the place alone", key="placeless", bind="query-params",
            help=f"Takes {PLACELESS} directions out of descriptors, in which cells of images without content differ. "
            "How much of a match is place is measured on Receptive fields.",
        )  # fmt: skip
    if not features:
        st.info("Choose at least one feature.", icon=":material/layers:")
        st.stop()
    options = MatchOptions("mrf") if method == "mrf" else MatchOptions(refine=True)
    options = replace(options, without_position=PLACELESS if placeless else 0)
    return Choice(
        {each: opened.get(each.extractor) or next(iter(opened.values())) for each in features}, options, opacity
    )


def _choose_networks(place: Any) -> dict[str, Extractor]:
    titles = pickers.network_titles()
    asked = {value: name for value in st.query_params.get_all("networks") if (name := pickers.network_named(value))}
    url_state.spell_out("networks", {value: titles[name] for value, name in asked.items() if name in titles})
    url_state.check_link("networks", list(titles.values()))
    names = place.multiselect(
        "Networks", list(titles), [next(iter(titles))], format_func=titles.__getitem__, max_selections=MOST_NETWORKS,
        key="networks", bind="query-params", on_change=_follow_networks, help=pickers.OF_NETWORKS,
    )  # fmt: skip
    try:
        return {each.name: each for each in map(caches.network, names or [next(iter(titles))])}
    except (OSError, ValueError) as error:
        st.error(sentence(error), icon=":material/error:")
        st.stop()


def _follow_networks() -> None:
    """Of networks that are not chosen any more the features go; of new ones the usual one comes.

    What a browser sends for either may be anything.
    """
    offered = pickers.network_titles()
    names = [networks.full_name(name) for name in st.session_state["networks"] if name in offered]
    before = [each for each in st.session_state.get("features", ()) if isinstance(each, Feature)]
    kept = [each for each in before if each.is_sift or each.extractor in names]
    new = [name for name in names if name not in {each.extractor for each in kept}]
    with suppress(OSError, ValueError):  # which is said where they are opened
        kept += [Feature(name, caches.network(name).roles.transfer) for name in new]
    st.session_state["features"] = kept[:MOST_FEATURES]


def _choose_features(place: Any, opened: Mapping[str, Extractor]) -> Sequence[Feature]:
    layers = [Feature(name, layer) for name, each in opened.items() for layer in each.layers]
    offered = [*layers, *(Feature(SIFT, radius) for radius in RADII)]
    usual = usual_features(opened)
    url_state.forget_elsewheres("features")
    url_state.spell_out("features", {str(feature): title(feature) for feature in offered})
    url_state.check_link("features", [title(feature) for feature in offered])
    if any(each not in offered for each in st.session_state.get("features", ())):
        st.session_state["features"] = [each for each in st.session_state["features"] if each in offered]
    chosen = place.multiselect(
        "Features", offered, usual, format_func=title, max_selections=MOST_FEATURES, key="features", bind="query-params"
    )
    return [feature for feature in offered if feature in chosen]


def usual_features(opened: Mapping[str, Extractor]) -> list[Feature]:
    """The layer of each network that aligns objects, a deeper one where there is one network, and SIFT."""
    found = [Feature(name, each.roles.transfer) for name, each in opened.items()]
    if len(opened) == 1:
        (name, each) = next(iter(opened.items()))
        found += [Feature(name, layer) for layer in each.roles.reconstruction[-1:] if layer != each.roles.transfer]
    return [*found, Feature(SIFT, "20")]
