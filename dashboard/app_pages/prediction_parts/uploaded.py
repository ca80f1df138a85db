"""A photo of one's own, and the box drawn on it."""

from dataclasses import replace

import numpy as np
import streamlit as st

from corrcore import images
from corrcore.concurrency import Progress
from corrcore.crops import BoxXYXY, CropTransform
from dashboard.app_pages.prediction_parts.controls import Weights
from dashboard.app_pages.prediction_parts.seen import Seen, Shown, see
from dashboard.app_pages.prediction_parts.training import Learnt
from dashboard.parts import box_picker, header, job_panel, upload
from dashboard.wording import escape_markdown

DRAWN_ON_PX = 900  # longer side of the picture that the box is drawn on
LEAST_PX = 20  # of a box's sides


def show(learnt: Learnt, weights: Weights) -> Shown:
    """The photo's object with what is predicted; the page stops while there is none."""
    if learnt.data.synthetic:
        st.warning(
            "These detectors have only seen drawings, and find nothing in photos; for photos choose a data set of "
            "photos.",
            icon=":material/draw:",
        )
    found = upload.upload("A photo with one such object in it")
    if found is None:
        st.info(
            f"Upload a photo of a {escape_markdown(learnt.category)}. It stays in this session's memory.",
            icon=":material/upload_file:",
        )
        st.stop()
    photo, title = found
    box = _choose_box(photo, title)
    nothing = np.full((len(learnt.names), 2), np.nan)

    def look(*, progress: Progress) -> Seen:
        progress(0, "looking at the photo")
        return see("", photo, box, nothing, learnt)  # it may be another visitor's photo, too, by another name

    key = ("prediction of a photo", images.digest(photo), box, learnt.state)
    seen: Seen = replace(job_panel.view(look, "Looking at the photo", key), title=title)
    drawn = {feature: picture for feature, picture in seen.pictures(weights).items() if feature is not None}
    places = header.two_a_row("photo").columns(len(drawn), gap="small")
    for place, (feature, picture) in zip(places, drawn.items(), strict=True):
        place.markdown(f"**{weights.title(feature)}**")
        alt = f"{title}, keypoints predicted by {weights.title(feature)}"
        place.image(images.encode(picture, format="JPEG"), width="stretch", alt=alt)
    edges = tuple(round(edge, 2) for edge in box)
    return Shown(seen, [seen], f"photo = decoding.decode({title!r})\nbox, own_photo = {edges}, None")


def _choose_box(photo: np.ndarray, title: str) -> BoxXYXY:
    """A box drawn on the photo, large ones made smaller for that; its edges are in pixels of the photo itself."""
    height, width = photo.shape[:2]
    drawn_on = images.shrink(photo, longer_side=DRAWN_ON_PX)
    rows, columns = drawn_on.shape[:2]
    left, top, right, bottom = box_picker.choose_box(drawn_on, title)
    scaled = CropTransform((-0.5, -0.5, width - 0.5, height - 0.5), (columns, rows))
    (left, top), (right, bottom) = scaled.to_image(np.array([[left, top], [right, bottom]])).tolist()
    across, down = round(right - left), round(bottom - top)
    if min(across, down) < LEAST_PX:
        st.warning(
            f"The box must be at least {LEAST_PX} px wide and high; it is {across} x {down} px. Draw a larger one.",
            icon=":material/crop:",
        )
        st.stop()
    return left, top, right, bottom
