"""Pictures that answer: `image_click` reports the pixel under a click, `compare` lays one picture over another; and the
page's `address`.

All are Streamlit components of the second kind: they live in the page itself, take its theme, and need no network.
Pictures travel inside the message, as data URLs: no address anybody could guess, nothing that could expire between
two reruns, and Streamlit sends an unchanged message only once.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st
from PIL import Image, UnidentifiedImageError
from streamlit.components.v2 import component

__all__ = ["Outline", "address", "compare", "image_click"]


def _component(name: str) -> Any:
    def text(part: str) -> str | None:
        file = Path(__file__).with_name(f"{name}.{part}")
        return file.read_text("utf-8") if file.exists() else None

    return component(f"corrcore.{name}", html=text("html"), css=text("css"), js=text("js"))


_IMAGE_CLICK = _component("image_click")
_COMPARE = _component("compare")
_ADDRESS = _component("address")


@dataclass(frozen=True)
class Outline:
    """A rectangle drawn over a picture.

    `box` is half-open in whole pixels, ``(left, top, right, bottom)`` as `corrcore.geometry.PixelBox`; it may leave the
    picture. `colour` is any CSS colour, the theme's accent if empty; `width` of the line is in screen pixels.
    """

    box: tuple[float, float, float, float]
    colour: str = ""
    width: float = 2.0
    dashed: bool = False
    label: str = ""


def image_click(
    image: bytes,
    *,
    alt: str,
    key: str,
    boxes: Sequence[Outline] = (),
    grid: tuple[float, float, int, int, int] | None = None,
    selected: tuple[int, int] | None = None,
    on_click: Callable[[int, int], None] | None = None,
    values: np.ndarray | None = None,
    digits: int = 3,
    places: tuple[float, float, float, float] | None = None,
    whole: bool = False,
    on_drag: Callable[[tuple[int, int], tuple[int, int]], None] | None = None,
    width: int | Literal["stretch"] = "stretch",
    max_height: int | None = None,
) -> tuple[int, int] | None:
    """Show a picture and report the pixel that was clicked, in this run only, as a button does.

    A click is ``(x, y)`` in pixels of the picture, the top-left one being (0, 0), whatever size it is shown at.
    ``on_click(x, y)`` is called before the page runs, so it may set the state of any widget. With the keyboard, the
    arrow keys move and Enter clicks.

    With ``grid = (offset_x, offset_y, stride, columns, rows)``, the centre of the first cell's receptive field, the
    stride in pixels and the size of a layer's grid, the patch of the cell under the pointer is outlined, the arrow
    keys go from cell to cell, and Enter clicks the pixel nearest to the cell's centre.

    `selected` is the pixel to mark (with a grid: its cell). It is the caller's: keep the click, in the state of a
    widget bound to the URL for instance, and pass it in again.

    `values`, a row a row of pixels, are told beside the pointer with so many `digits`: exact to a 65,000th of
    their range; NaN is none.

    `places` are the edges (left, top, right, bottom) of what the picture shows, in pixels of another one, whose
    places are then told beside the pointer instead of its own. With `whole` the picture is one thing to click,
    not a choice of pixels.

    With ``on_drag(start, end)``, dragging from one pixel to another draws a rectangle and is no click.

    `image` is the content of a PNG, JPEG or WebP file, shown as stored (EXIF orientation is ignored) and as sharp
    pixels once enlarged more than twice; `max_height` is in screen pixels. Raises ValueError for anything else.
    """
    url, size = _picture(image)
    answered = f"{key}.answered"  # the number of the last click passed on

    def answer() -> None:
        for x, y, number, end in _clicks(st.session_state[key].get("click"), size):
            if number > st.session_state.get(answered, 0):
                st.session_state[answered] = number
                if end is not None and on_drag:
                    on_drag((x, y), end)
                elif end is None and on_click:
                    on_click(x, y)

    result = _IMAGE_CLICK(
        key=key,
        width=width,
        data={
            "image": url,
            "size": size,
            "alt": alt,
            "boxes": [{**vars(outline), "box": [float(edge) for edge in outline.box]} for outline in boxes],
            "grid": grid and [float(number) for number in grid],
            "selected": selected and [int(number) for number in selected],
            "maxHeight": max_height,
            "values": None if values is None else _steps(values, size, digits),
            "places": places and [float(edge) for edge in places],
            "whole": whole,
            "drags": on_drag is not None,
            "answered": st.session_state.get(answered, 0),
        },
        on_click_change=answer,
    )
    clicks = [(x, y) for x, y, _, end in _clicks(result.click, size) if end is None]
    return clicks[-1] if clicks else None


def compare(
    before: bytes,
    after: bytes,
    *,
    labels: tuple[str, str],
    alt: str,
    key: str,
    width: int | Literal["stretch"] = "stretch",
    max_height: int | None = None,
) -> None:
    """Lay one picture over another of the same size, with a divider to drag and a button that alternates the two.

    All of it happens in the browser: no rerun. Alternating is at 1.5 Hz; for who asked their system for less motion,
    the button shows the second picture instead. `before` lies left of the divider, `after` right of it. Pictures and
    `max_height` are as in `image_click`; raises ValueError if their sizes differ.
    """
    before_url, size = _picture(before)
    after_url, after_size = _picture(after)
    if size != after_size:
        msg = (
            f"before and after must be of one size to lie over each other; got {size[0]} x {size[1]} and"
            f" {after_size[0]} x {after_size[1]} pixels."
        )
        raise ValueError(msg)
    _COMPARE(
        key=key,
        width=width,
        data={
            "images": [before_url, after_url],
            "labels": labels,
            "size": size,
            "alt": alt,
            "maxHeight": max_height,
        },
    )


def address(page: str, query: str) -> None:
    """Put a query into the address of a page, in place: no entry in the browser's history, and no run of the page."""
    st.html("<style>.st-key-address {position: absolute}</style>")  # it takes no room
    with st.container(key="address"):
        _ADDRESS(key="address.replace", data={"page": page, "query": query})


def _steps(values: np.ndarray, size: tuple[int, int], digits: int) -> dict[str, Any]:
    """Values in 65,535 steps of their range, the last number for none; as image_click.js reads them."""
    if values.shape != size[::-1]:
        got = f"{values.shape[1]} x {values.shape[0]}"
        msg = f"values must be one per pixel of a picture of {size[0]} x {size[1]}; got {got}."
        raise ValueError(msg)
    there = np.isfinite(values)
    low, high = (float(values[there].min()), float(values[there].max())) if there.any() else (0.0, 0.0)
    steps = np.full(values.shape, 65535, "<u2")
    steps[there] = np.rint((values[there] - low) / max(high - low, 1e-30) * 65534)
    return {"steps": base64.b64encode(steps.tobytes()).decode("ascii"), "low": low, "high": high, "digits": digits}


def _picture(image: bytes) -> tuple[str, tuple[int, int]]:
    """The data URL of an encoded picture, and its (width, height)."""
    try:
        with Image.open(io.BytesIO(image), formats=("PNG", "JPEG", "WEBP")) as picture:
            size, mime = picture.size, picture.get_format_mimetype()
    except UnidentifiedImageError:
        msg = f"image must be the content of a PNG, JPEG or WebP file; got {len(image)} bytes of something else."
        raise ValueError(msg) from None
    return f"data:{mime};base64,{base64.b64encode(image).decode('ascii')}", size


def _clicks(payload: Any, size: tuple[int, int]) -> list[tuple[int, int, int, tuple[int, int] | None]]:
    """The clicks and drags on this picture that a browser reports, as (x, y, number, end): it can be made to
    say anything.
    """
    width, height = size
    clicks = []
    for click in payload if isinstance(payload, list) else ():
        match click:
            case {"x": int(x), "y": int(y), "id": int(number)} if 0 <= x < width and 0 <= y < height:
                match click.get("to"):
                    case None:
                        clicks.append((x, y, number, None))
                    case [int(right), int(down)] if 0 <= right < width and 0 <= down < height:
                        clicks.append((x, y, number, (right, down)))
    return clicks
