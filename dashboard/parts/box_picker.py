"""A box drawn on a photo."""

import numpy as np
import streamlit as st

from corrcore import images
from corrcore.datasets.records import BoxXYXY
from dashboard.components import Outline, image_click
from dashboard.state import session


def choose_box(photo: np.ndarray, title: str) -> BoxXYXY:
    """The object's box in a photo of yours, drawn on it; the whole photo to begin with."""
    height, width = photo.shape[:2]
    drawn, name = session().corners, images.digest(photo)
    corners = drawn.get(name, [])

    def click(x: int, y: int) -> None:
        drawn[name] = [*corners, (x, y)] if len(corners) == 1 else [(x, y)]

    def drag(*ends: tuple[int, int]) -> None:
        drawn[name] = list(ends)

    def forget() -> None:
        drawn.pop(name, None)

    box: BoxXYXY = (-0.5, -0.5, width - 0.5, height - 0.5)
    if len(corners) == 2:
        (left, top), (right, bottom) = np.min(corners, axis=0).tolist(), np.max(corners, axis=0).tolist()
        box = (left - 0.5, top - 0.5, right + 0.5, bottom + 0.5)
    whole = len(corners) != 2
    image_click(
        images.encode(photo, format="JPEG"),
        alt=f"{title}: draw the object's box",
        key="draw",
        boxes=[Outline((box[0] + 0.5, box[1] + 0.5, box[2] + 0.5, box[3] + 0.5), width=3)],
        selected=corners[0] if len(corners) == 1 else None,
        on_click=click,
        on_drag=drag,
        max_height=420,
    )
    if len(corners) == 1:
        st.caption("Now click the opposite corner.")
    else:
        st.caption(
            ("The box is the whole photo. " if whole else "")
            + "Drag from corner to corner of the object, or click one and then the other; on a keyboard move by the "
            "arrow keys "
            "and click by Enter. Links carry neither the photo nor its box."
        )
    if not whole:
        st.button("The whole photo", on_click=forget, icon=":material/crop_free:")
    return box
