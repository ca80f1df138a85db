"""Objects of a data set, four at a time: Figure 6."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import streamlit as st

from corrcore import concurrency, images
from corrcore.concurrency import Progress
from corrcore.datasets.records import Instance
from corrcore.decoding import ImageError
from corrcore.wording import counted
from dashboard.app_pages.prediction_parts.controls import Weights
from dashboard.app_pages.prediction_parts.seen import Seen, Shown, see
from dashboard.app_pages.prediction_parts.training import Learnt
from dashboard.components import Outline, image_click
from dashboard.parts import header, job_panel, pickers, url_state
from dashboard.services import caches
from dashboard.titles import network_title
from dashboard.wording import escape_markdown, sentence

PER_SHEET = 4
HIGHEST_PX = 420  # of a picture on the screen: three stand below one another
CAPTION = (
    "Filled: right, within the thin ellipse, a tenth of the box's sides around the truth. Rings: wrong, with a "
    "line to the truth. "
    "What an object does not show is not counted, nor drawn."
)


def show(learnt: Learnt, weights: Weights) -> Shown:
    """The gallery of one sheet; the page stops where the chosen object cannot be looked at."""
    beside, at_sheet = st.columns([5, 2], gap="small", vertical_alignment="bottom")
    try:
        some, chosen = _choose_sheet(learnt, at_sheet)
        key = ("prediction", learnt.state, caches.state_of(some))
    except (OSError, ValueError) as error:
        st.error(sentence(error), icon=":material/error:")
        st.stop()
    drawn = " · **drawn, synthetic**" if learnt.data.synthetic else ""
    sheet: list[Seen | str] = job_panel.view(_looking(some, learnt), "Looking at objects", key)
    beside.caption(
        f"{escape_markdown(learnt.data.title)}{drawn}. The first row is annotated, the others are predicted, by "
        f"{network_title(learnt.network.name)}'s {learnt.own.title} and by SIFT. **Click an object** to "
        "look closer at it."
    )
    _show_gallery(sheet, chosen, weights)
    seen = sheet[chosen]
    if isinstance(seen, str):
        st.stop()
    name = some[chosen].name
    python = f"""target = next(one for one in data.visible_instances({learnt.category!r}, "val") if one.name == {name!r})
photo, box, own_photo = target.photo.load(), target.box, target.photo.name"""
    return Shown(seen, [each for each in sheet if isinstance(each, Seen)], python)


def _choose_sheet(learnt: Learnt, beside: Any) -> tuple[list[Instance], int]:
    """Objects to show, and which of them is looked at; both in the URL."""
    data, category = learnt.data, learnt.category
    offered = pickers.offered_objects(data, category)
    asked = pickers.asked_object(data, offered)
    chosen = [one.name for one in offered].index(asked)
    n_sheets = -(-len(offered) // PER_SHEET)
    sheet = 1
    if n_sheets > 1:
        of, key = f"; {counted(len(offered), 'object')}", f"sheet {data.digest} {category} {asked}"
        sheet = pickers.choose_page(beside, of, n_sheets, chosen // PER_SHEET + 1, key)
    first = (sheet - 1) * PER_SHEET
    some = offered[first : first + PER_SHEET]
    if asked not in [one.name for one in some]:
        url_state.choose("object", some[0].name)
        return some, 0
    return some, chosen - first


def _looking(some: Sequence[Instance], learnt: Learnt) -> Callable[..., list[Seen | str]]:
    """Work that describes objects; where a photo cannot be read, the reason."""
    kept = caches.seen_objects()

    def one(instance: Instance) -> Seen | str:
        def make() -> Seen:
            photo = instance.photo.load()
            return see(instance.name, photo, instance.box, instance.keypoints, learnt, instance.photo.name)

        try:
            return kept.get((caches.state_of([instance]), learnt.state), make)
        except (ImageError, OSError, ValueError) as error:
            return str(error)

    def work(*, progress: Progress) -> list[Seen | str]:
        found: list[Seen | str] = []

        def keep(each: Seen | str) -> None:
            found.append(each)
            progress(len(found) / len(some), f"looking at objects, {len(found)} of {len(some)}")

        concurrency.map_in_order(one, some, keep)
        return found

    return work


def _show_gallery(sheet: Sequence[Seen | str], chosen: int, weights: Weights) -> None:
    """A column per object; truth, then each feature's predictions."""
    places = header.two_a_row("gallery").columns(PER_SHEET, gap="small")
    for number, (place, seen) in enumerate(zip(places, sheet, strict=False)):
        with place:
            if isinstance(seen, str):
                st.warning(escape_markdown(seen), icon=":material/broken_image:")
                continue
            _show_object(seen, weights, number, chosen=number == chosen)


def _show_object(seen: Seen, weights: Weights, number: int, *, chosen: bool) -> None:
    visible = int(np.isfinite(seen.truth).all(axis=1).sum())
    st.markdown(f"**{escape_markdown(seen.title)}**" if chosen else escape_markdown(seen.title))
    for feature, picture in seen.pictures(weights).items():
        height, width = picture.shape[:2]
        row = "" if feature is None else feature.key
        image_click(
            images.encode(picture, format="JPEG"),
            alt=f"{seen.title}, {row or 'annotated'}",
            key=f"gallery {number} {row}",
            boxes=[Outline((0, 0, width, height), width=3)] if chosen else (),
            whole=True,
            max_height=HIGHEST_PX,
            on_click=lambda *_: url_state.choose("object", seen.title),
        )
        if feature is None:
            st.caption(f"annotated: {counted(visible, 'keypoint')}")
        else:
            hits = int(seen.right(seen.found.keypoints(feature, weights.fusions[feature])).sum())
            st.caption(f"{weights.title(feature)}: **{hits} of {visible}** right")
