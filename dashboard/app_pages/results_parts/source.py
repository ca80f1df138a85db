"""The data set whose results are shown, which need not be on this machine any more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.experiments import Result
from dashboard.parts import pickers, url_state
from dashboard.services import caches
from dashboard.wording import sentence


@dataclass(frozen=True)
class Source:
    """A data set by the name it is chosen under; `data` is None where only results are left of it."""

    name: str
    data: KeypointDataset | None

    @property
    def title(self) -> str:
        """What it is called in captions and files."""
        return self.name if self.data is None else self.data.title

    @property
    def synthetic(self) -> bool:
        """Whether its pictures are drawn."""
        return self.data is not None and self.data.synthetic

    def made(self, provenance: Mapping[str, Any]) -> bool:
        """Whether something was measured on it as it is, annotations included."""
        if self.data is None:
            return known_as(provenance) == self.name
        return (provenance.get("data"), provenance.get("data_digest")) == (self.data.name, self.data.digest)

    def val(self, category: str) -> Sequence[Instance]:
        """The val objects of a category that show a keypoint; none where they are not here."""
        if self.data is None or (category, "val") not in self.data.splits:
            return ()
        return self.data.visible_instances(category, "val")


def known_as(provenance: Mapping[str, Any]) -> str:
    """What a data set that is not here is called."""
    return f"{provenance.get('data')} {str(provenance.get('data_digest'))[:8]}"


def choose_source(results: Sequence[Result], place: Any) -> Source:
    """A data set of those on offer; where no photos are offered, also those that only results are left of.

    The first that has results to begin with, photos before drawings.
    """
    there = caches.available()
    offered = [spec.name for spec in there.specs]
    measured = {offered_name(result) or known_as(result.provenance) for result in results}
    if not any(spec.folder for spec in there.specs):
        offered += sorted(measured - set(offered))
    synthetic = {spec.name for spec in there.specs if spec.synthetic}
    first = min(offered, key=lambda name: (name not in measured, name in synthetic, offered.index(name)))
    url_state.check_link("data", [pickers.dataset_title(each) for each in offered])
    name = place.selectbox(
        "Data set", offered, offered.index(first), format_func=pickers.dataset_title, key="data", bind="query-params"
    )
    if name not in there.names:
        return Source(name, None)
    try:
        return Source(name, caches.dataset(name))
    except (OSError, ValueError) as error:
        st.error(sentence(error), icon=":material/error:")
        st.stop()


def offered_name(result: Result) -> str | None:
    """The name under which a result's data set is offered; None where it is not."""
    dataset = getattr(result.experiment, "dataset", None)
    if dataset is None:
        return None
    for spec in caches.available().specs:
        if dataset == spec.name or (spec.folder is not None and Path(dataset) == spec.folder):
            return spec.name
    return None


def data_title(result: Result) -> str:
    """What a result's data set is called."""
    name = offered_name(result)
    return pickers.dataset_title(name) if name else known_as(result.provenance)
