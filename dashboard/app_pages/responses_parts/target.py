"""The picture that is looked at: an object of a data set, or a photo of one's own."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from corrcore.crops import CropTransform
from corrcore.datasets.records import Instance
from corrcore.tasks import classification
from corrcore.tasks.classification import CropProtocol
from dashboard.app_pages.responses_parts.controls import Asked
from dashboard.parts import pickers, upload
from dashboard.wording import escape_markdown, sentence

ONLY_DRAWINGS = "These classifiers have only seen drawings: for photos choose a data set of photos."
SMALL_PX = 100  # of a photo's longer side: smaller ones hold next to nothing


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture as the protocol shows it, where it lies in its photo, and true keypoints in it, NaN where there
    are none.

    `instance` is the object it shows, None for a photo of one's own.
    """

    image: np.ndarray
    transform: CropTransform
    truth: np.ndarray
    title: str
    instance: Instance | None = None


def choose_object(asked: Asked) -> Seen:
    """An object from the gallery; the page stops where it cannot be shown."""
    gallery, beside = st.columns([5, 3], gap="medium")
    with gallery:
        try:
            instance = pickers.choose_object(asked.data, asked.category, beside)
            image, transform = classification.view(instance, asked.protocol)
        except (OSError, ValueError) as error:
            st.error(sentence(error), icon=":material/broken_image:")
            st.stop()
    with beside:
        st.caption(escape_markdown(instance.name) + (" · **drawn, synthetic**" if asked.data.synthetic else ""))
        pickers.show_left_out("annotation", asked.data.left_out)
    return Seen(image, transform, transform.to_crop(instance.keypoints), instance.name, instance)


def choose_upload(asked: Asked) -> Seen:
    """A photo of one's own, at the protocol's scale; the page stops while there is none."""
    if asked.data.synthetic:
        st.warning(ONLY_DRAWINGS, icon=":material/draw:")
    uploaded = upload.upload("A photo, cropped to the object")
    if uploaded is None:
        st.info(
            f"Upload a photo of a {escape_markdown(asked.category)}. It stays in this session's memory.",
            icon=":material/upload_file:",
        )
        st.stop()
    photo, title = uploaded
    height, width = photo.shape[:2]
    if max(height, width) < SMALL_PX:
        st.warning(
            f"{escape_markdown(title)} has only {width} x {height} px and is enlarged; use one of {SMALL_PX} px or "
            "more.",
            icon=":material/photo_size_select_small:",
        )
    longer = asked.protocol.longer_side_px or pickers.LONGER_SIDE_PX
    whole = (-0.5, -0.5, width - 0.5, height - 0.5)
    image, transform = classification.frame(photo, whole, CropProtocol(longer_side_px=longer, margin=0))
    return Seen(image, transform, np.full((len(asked.names), 2), np.nan), title)
