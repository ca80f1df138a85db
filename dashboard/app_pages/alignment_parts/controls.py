"""What is aligned by, and how: the controls that both of the page's modes have."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from corrcore.engines.mrf import Method
from corrcore.experiments import Transfer
from corrcore.features import Extractor, Feature
from corrcore.tasks.alignment import TransferOptions
from dashboard.parts import pickers, url_state

METHODS: Mapping[Method, str] = {"trw-s": "TRW-S, with a lower bound", "bp": "belief propagation, as in the paper"}
MOST_ITERATIONS = 50
ROWS = ("upper", "lower")  # of the figure


@dataclass(frozen=True)
class Choice:
    """What is aligned by: one feature in each row of the figure, or the same in both, and how."""

    features: tuple[Feature, Feature]
    smoothness: float
    options: TransferOptions

    @property
    def rows(self) -> dict[Feature, str]:
        """The names of the figure's rows by feature; one row where both would be the same."""
        return {feature: row for row, feature in reversed(list(zip(ROWS, self.features, strict=True)))}

    @property
    def each(self) -> tuple[Feature, ...]:
        """The features, each once."""
        return tuple(dict.fromkeys(self.features))

    def key(self, network: Extractor) -> Hashable:
        """Names all that it makes of the same pictures."""
        return network.digest, self.features, self.smoothness, self.options


def choose(network: Extractor, places: Sequence[Any], labels: tuple[str, str]) -> Choice:
    """The controls, one in each of four places; `labels` are of the two features."""
    offered = pickers.aligned_features(network)
    titles = [feature.title for feature in offered]
    allowed = {
        "upper": titles,
        "lower": titles,
        "smoothness": [str(each) for each in pickers.SMOOTHNESSES],
        "method": list(METHODS.values()),
        "iterations": [str(each) for each in range(1, MOST_ITERATIONS + 1)],
    }
    for name, values in allowed.items():
        url_state.check_link(name, values)
    features = [
        place.selectbox(
            label, offered, offered.index(usual), lambda feature: f"{feature.title}", key=key, bind="query-params"
        )
        for place, label, usual, key in zip(places, labels, Transfer.usual_features(network), ROWS, strict=False)
    ]
    smoothness = places[2].select_slider(
        "Smoothness β",
        pickers.SMOOTHNESSES,
        0.1,
        key="smoothness",
        bind="query-params",
        help="How much neighbouring cells are held together: little follows every likeness, much moves all alike.",
    )
    with places[3].popover("Solver", icon=":material/tune:", width="stretch"):
        method = st.radio("Messages", list(METHODS), format_func=METHODS.get, key="method", bind="query-params")
        iterations = st.slider("Iterations at most", 1, MOST_ITERATIONS, 10, key="iterations", bind="query-params")
    return Choice((features[0], features[1]), smoothness, TransferOptions(method=method, iterations=iterations))


def parameters(network: Extractor, choice: Choice) -> dict[str, object]:
    """What is in force, for the folded panel."""
    return {
        "network": f"{network.name}, weights {network.digest[:8]}",
        "features": ", ".join(feature.title for feature in choice.each),
        "smoothness": choice.smoothness,
        "solver": f"{METHODS[choice.options.method]}, at most {choice.options.iterations} iterations",
    }
