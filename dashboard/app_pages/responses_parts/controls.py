"""What the Responses page lets one choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from corrcore.datasets.records import KeypointDataset
from corrcore.experiments import PROTOCOLS
from corrcore.features import SIFT, Extractor, Feature
from corrcore.tasks.classification import CropProtocol
from dashboard.parts import header, pickers, url_state
from dashboard.titles import keypoint_title

MOST_FEATURES = 3


@dataclass(frozen=True, eq=False)
class Asked:
    """The choices: `protocol_name` is that of experiments, and `alone` gives each panel a colour range of its own."""

    source: str
    data: KeypointDataset
    category: str
    network: Extractor
    keypoint: str
    features: tuple[Feature, ...]
    protocol_name: str
    opacity: float
    alone: bool

    @property
    def names(self) -> Sequence[str]:
        """The category's keypoints."""
        return self.data.keypoint_names[self.category]

    @property
    def number(self) -> int:
        """The keypoint's, among them."""
        return list(self.names).index(self.keypoint)

    @property
    def protocol(self) -> CropProtocol:
        """How objects are seen."""
        return PROTOCOLS[self.protocol_name]

    @property
    def seen_as(self) -> str:
        """The same in words."""
        return next(title for title, name in pickers.SEEN.items() if name == self.protocol_name)


def choose() -> Asked:
    """The row of controls."""
    at_data, at_category, at_network, at_keypoint, at_features, at_more = header.two_a_row("controls").columns(
        [3, 2, 3.2, 2, 6, 2.6], gap="small", vertical_alignment="bottom"
    )
    source, data, category = pickers.choose_category(at_data, at_category)
    network = pickers.choose_network(at_network)
    known = data.keypoint_names[category]
    url_state.check_link("keypoint", [keypoint_title(name) for name in known])
    keypoint = at_keypoint.selectbox(
        "Keypoint",
        known,
        pickers.first_keypoint(data, category),
        format_func=keypoint_title,
        key="keypoint",
        bind="query-params",
    )
    features = choose_features(at_features, network)
    url_state.check_link("scale", list(pickers.SEEN))  # said here, for what a popover says is not seen
    url_state.check_number("opacity", 0, 1)
    with at_more.popover("Display", icon=":material/tune:", width="stretch"):
        seen = st.radio("Crop and scale", list(pickers.SEEN), key="scale", bind="query-params", on_change=forget_pixel)
        opacity = st.slider("Opacity of the map", 0.0, 1.0, 0.6, 0.05, key="opacity", bind="query-params")
        alone = st.toggle("A colour range for each panel", key="alone", bind="query-params")
    return Asked(source, data, category, network, keypoint, features, pickers.SEEN[seen], opacity, alone)


def choose_features(place: Any, network: Extractor) -> tuple[Feature, ...]:
    """A few of the network's layers, by depth, and of SIFT; of another network, those that are usual again."""
    offered = pickers.mapped_features(network)
    layers = network.roles.reconstruction
    usual = [*(Feature(network.name, layer) for layer in dict.fromkeys((layers[0], layers[-1]))), Feature(SIFT, "20")]
    url_state.spell_out("features", {feature.key: feature.title for feature in offered})
    url_state.forget_elsewheres("features")
    url_state.check_link("features", [name for feature in offered for name in (feature.title, feature.key)])
    if any(each not in offered for each in st.session_state.get("features", ())):
        st.session_state["features"] = usual
    chosen = place.multiselect(
        "Features",
        offered,
        usual,
        format_func=lambda feature: f"{feature.title}",
        max_selections=MOST_FEATURES,
        key="features",
        bind="query-params",
    )
    return tuple(feature for feature in offered if feature in chosen)


def forget_pixel() -> None:
    """At another scale the same numbers are another place."""
    url_state.choose("at", "")
