"""The two photos: samples, objects of data sets, or one's own. Choices live in the URL."""

from collections.abc import Mapping
from functools import partial

import streamlit as st

from corrcore import datasets
from corrcore.datasets import drawn
from corrcore.datasets.samples import one_of_each_scene
from dashboard import first_views
from dashboard.app_pages.match_parts import objects
from dashboard.app_pages.match_parts.photo import SIDES, Annotated, Photo, Side
from dashboard.parts import upload, url_state
from dashboard.parts.gallery import gallery
from dashboard.services import caches, thumbnails
from dashboard.state import session
from dashboard.wording import sentence

SAMPLES, OBJECTS, UPLOAD = "Samples", "Data set", "Upload"
KINDS = {"sample": SAMPLES, "object": OBJECTS, "upload": UPLOAD}  # by how references begin
COLUMNS = 6
KEYS: Mapping[Side, str] = {"first": "photo_1", "second": "photo_2"}  # in links


def choose(side: Side) -> Photo | None:
    """A photo, with what chooses another in a popover; None where a link asks for an upload that is not here."""
    begin = first_views.MATCHED[SIDES.index(side)]
    reference = url_state.asked(KEYS[side], f"sample:{begin}")
    with st.popover(f"Change the {side} photo", icon=":material/photo_library:", width="stretch"):
        from_key = f"{side}_from"
        st.session_state.setdefault(from_key, KINDS.get(reference.partition(":")[0], SAMPLES))
        kind = st.segmented_control(
            f"The {side} photo", [*KINDS.values()], key=from_key, label_visibility="collapsed", required=True
        )
        if kind == UPLOAD:
            digest = upload.newly_uploaded(f"The {side} photo", key=f"{side}_upload")
            if digest is not None:
                reference = f"upload:{digest}"
                if (new := _uploaded(side, reference)) is not None:
                    _change(side, new)
            upload.say_what_may_be()
        elif kind == OBJECTS:
            objects.choose(side, reference, lambda to: _change(side, to), columns=COLUMNS)
        else:
            _gallery(side, reference)
    if reference.startswith("upload:"):
        found = _uploaded(side, reference)
    else:
        try:
            found = objects.find(side, reference) or _sample(side, reference, begin)
        except (OSError, ValueError) as error:
            st.error(sentence(error), icon=":material/broken_image:")
            return None
    if found is not None:
        url_state.show(KEYS[side], found.reference)
    return found


def _change(side: Side, to: Photo) -> None:
    """Another photo. A point of the one before means nothing in it: it is looked at where that is worth it."""
    choices = {KEYS[side]: to.reference}
    if side == SIDES[0] and url_state.asked("points"):
        choices["points"] = ""
        st.toast("Points of the photo before are gone; Back brings both again.", icon=":material/undo:")
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
    url_state.check_choice(KEYS[side], name, name in titles, "There is no photo {} here; this is another.")
    return _sample_named(side, name if name in titles else begin)


def _sample_named(side: Side, name: str) -> Photo:
    animal = drawn.unseen().get(name)
    where = "from corrcore.datasets import drawn" if animal else "from corrcore.datasets.samples import samples"
    python = f'{where}\n{side} = {"drawn.unseen" if animal else "samples"}()["{name}"].load()'
    start, annotate = (animal.eye, partial(_of_drawing, name)) if animal else (None, None)
    return Photo(caches.sample_photo(name), _titles()[name], f"sample:{name}", python, start, annotate)


def _of_drawing(name: str) -> Annotated | None:
    """What the drawn animals' own data set says of one of them, if it has it."""
    _, kind, split, _ = name.split("-")
    data = caches.dataset(datasets.TOY)
    found = next((one for one in data.instances(f"toy {kind}", split) if one.name == name), None)
    return None if found is None else Annotated.of(found, data)


def _uploaded(side: Side, reference: str) -> Photo | None:
    kept = session().uploads.get(reference.removeprefix("upload:"))
    if kept is None:
        upload.say_that_it_stays()
        return None
    python = f"from corrcore import decoding\n{side} = decoding.decode({kept.name!r})"
    return Photo(kept.image, kept.name, reference, python)
