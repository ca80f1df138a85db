"""The two photos: samples, or one's own. Choices live in the URL."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import streamlit as st

from corrcore import images
from corrcore.crops import BoxXYXY, CropTransform
from corrcore.datasets import drawn
from corrcore.datasets.samples import one_of_each_scene
from dashboard import first_views
from dashboard.parts import photo_picker, upload, url_state
from dashboard.parts.gallery import gallery
from dashboard.services import caches, thumbnails
from dashboard.state import session

Side = Literal["first", "second"]
SIDES: tuple[Side, Side] = ("first", "second")
SAMPLES, UPLOAD = "Samples", "Upload"
COLUMNS = 6
KEYS: Mapping[Side, str] = {"first": "photo_1", "second": "photo_2"}  # in links


@dataclass(frozen=True, eq=False)
class Photo:
    """One of the two: `reference` names it in links, `python` is how it is loaded, and `start` is a pixel worth looking
    at first. Points are in its own pixels; it is shown at working size.
    """

    image: np.ndarray
    title: str
    reference: str
    python: str
    start: tuple[int, int] | None = None

    @cached_property
    def shown(self) -> np.ndarray:
        """The photo as it is shown."""
        return photo_picker.working_size(self.image)

    @cached_property
    def digest(self) -> str:
        """Names its pixels."""
        kind, _, name = self.reference.partition(":")
        return name if kind == "upload" else images.digest(self.image)

    @property
    def edges(self) -> BoxXYXY:
        """Its outer edges, in its own pixels."""
        height, width = self.image.shape[:2]
        return -0.5, -0.5, width - 0.5, height - 0.5

    @property
    def transform(self) -> CropTransform:
        """Between the photo and the picture that is shown of it."""
        return CropTransform(self.edges, (self.shown.shape[1], self.shown.shape[0]))


def choose(side: Side) -> Photo | None:
    """A photo, with what chooses another in a popover; None where a link asks for an upload that is not here."""
    begin = first_views.MATCHED[SIDES.index(side)]
    reference = url_state.asked(KEYS[side], f"sample:{begin}")
    with st.popover(f"Change the {side} photo", icon=":material/photo_library:", width="stretch"):
        from_key = f"{side}_from"
        st.session_state.setdefault(from_key, UPLOAD if reference.startswith("upload:") else SAMPLES)
        kind = st.segmented_control(
            f"The {side} photo", (SAMPLES, UPLOAD), key=from_key, label_visibility="collapsed", required=True
        )
        if kind == UPLOAD:
            digest = upload.newly_uploaded(f"The {side} photo", key=f"{side}_upload")
            if digest is not None:
                reference = f"upload:{digest}"
                if (new := _uploaded(side, reference)) is not None:
                    _change(side, new)
            upload.say_what_may_be()
        else:
            _gallery(side, reference)
    found = _uploaded(side, reference) if reference.startswith("upload:") else _sample(side, reference, begin)
    if found is not None:
        url_state.show(KEYS[side], found.reference)
    return found


def _change(side: Side, to: Photo) -> None:
    """Another photo. A point of the one before means nothing in it: it is looked at where that is worth it."""
    choices = {KEYS[side]: to.reference}
    if url_state.asked("point_of", SIDES[0]) == side:
        x, y = to.start or (to.image.shape[1] // 2, to.image.shape[0] // 2)
        choices["point"] = f"{x},{y}"
    url_state.choose_together(choices)


def _titles() -> dict[str, str]:
    return {name: each.title for name, each in (*drawn.unseen().items(), *one_of_each_scene().items())}


def _gallery(side: Side, reference: str) -> None:
    titles = _titles()
    names, chosen = tuple(titles), reference.removeprefix("sample:")

    def pick(number: int) -> None:
        _change(side, _sample_named(side, names[number]))

    selected = names.index(chosen) if chosen in titles else None
    gallery(thumbnails.of_samples(names), selected, list(titles.values()), pick, key=f"gallery {side}", columns=COLUMNS)


def _sample(side: Side, reference: str, begin: str) -> Photo:
    titles, name = _titles(), reference.removeprefix("sample:")
    url_state.check_choice(KEYS[side], name, name in titles, "There is no sample {}; here is another.")
    return _sample_named(side, name if name in titles else begin)


def _sample_named(side: Side, name: str) -> Photo:
    animal = drawn.unseen().get(name)
    where = "from corrcore.datasets import drawn" if animal else "from corrcore.datasets.samples import samples"
    python = f'{where}\n{side} = {"drawn.unseen" if animal else "samples"}()["{name}"].load()'
    return Photo(caches.sample_photo(name), _titles()[name], f"sample:{name}", python, animal.eye if animal else None)


def _uploaded(side: Side, reference: str) -> Photo | None:
    kept = session().uploads.get(reference.removeprefix("upload:"))
    if kept is None:
        upload.say_that_it_stays()
        return None
    python = f"from corrcore import decoding\n{side} = decoding.decode({kept.name!r})"
    return Photo(kept.image, kept.name, reference, python)
