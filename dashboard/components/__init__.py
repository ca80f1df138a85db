"""Pictures that answer: `image_click` reports the pixel under a click, `compare` lays one picture over another; the
page's `address`, and `paste_field`, which takes pictures from the clipboard.

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

__all__ = ["Outline", "PlacedPoint", "address", "compare", "image_click", "paste_field"]


def _component(name: str, *scripts: str) -> Any:
    """A component of files of its name, and of scripts that come before its own."""

    def text(file: str) -> str | None:
        path = Path(__file__).with_name(file)
        return path.read_text("utf-8") if path.exists() else None

    js = "".join(text(f"{each}.js") or "" for each in (*scripts, name))
    return component(f"corrcore.{name}", html=text(f"{name}.html"), css=text(f"{name}.css"), js=js)


_IMAGE_CLICK = _component("image_click", "zoom")
_COMPARE = _component("compare")
_ADDRESS = _component("address")
_PASTE = _component("paste")


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


@dataclass(frozen=True)
class PlacedPoint:
    """A point on a picture, as large however much that is enlarged.

    `at` is (x, y) in pixels of the picture, their centres at integers; `colour` any CSS colour, the theme's accent if
    empty. `ring` draws it hollow, `chosen` with an outline; one that `moves` may be dragged.
    """

    at: tuple[float, float]
    label: str = ""
    colour: str = ""
    ring: bool = False
    chosen: bool = False
    moves: bool = False


def image_click(
    image: bytes,
    *,
    alt: str,
    key: str,
    boxes: Sequence[Outline] = (),
    points: Sequence[PlacedPoint] = (),
    grid: tuple[float, float, int, int, int] | None = None,
    selected: tuple[int, int] | None = None,
    on_click: Callable[[int, int], None] | None = None,
    values: np.ndarray | None = None,
    digits: int = 3,
    places: tuple[float, float, float, float] | None = None,
    whole: bool = False,
    on_drag: Callable[[tuple[int, int], tuple[int, int]], None] | None = None,
    on_move: Callable[[int, tuple[int, int]], None] | None = None,
    follows: bool = False,
    zoom: str = "",
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

    A click near one of the `points` is a click on it. Those that move may be dragged; ``on_move(number, place)`` is
    then told which one to which pixel, and the page is to show it there.

    Where `selected` is one point that the page follows (`follows`), arrow keys move it: where they stop is a click.

    Pictures of the same group `zoom` show the same part, in shares of their width and height: the wheel (once the
    picture was clicked, or with Ctrl), two fingers, and the keys plus, minus and 0 enlarge it, dragging moves it. All
    of that is the browser's, and no run of the page.

    `image` is the content of a PNG, JPEG or WebP file, shown as stored (EXIF orientation is ignored) and as sharp
    pixels once enlarged more than twice; `max_height` is in screen pixels. Raises ValueError for anything else.
    """
    url, size = _picture(image)
    answered = f"{key}.answered"  # the number of the last click passed on

    def answer() -> None:
        for click in _clicks(st.session_state[key].get("click"), size):
            if click.number > st.session_state.get(answered, 0):
                st.session_state[answered] = click.number
                if click.point is not None:
                    if on_move and click.point < len(points):
                        on_move(click.point, click.place)
                elif click.end is not None:
                    if on_drag:
                        on_drag(click.place, click.end)
                elif on_click:
                    on_click(*click.place)

    result = _IMAGE_CLICK(
        key=key,
        width=width,
        data={
            "image": url,
            "size": size,
            "alt": alt,
            "boxes": [{**vars(outline), "box": [float(edge) for edge in outline.box]} for outline in boxes],
            "points": [{**vars(point), "at": [float(number) for number in point.at]} for point in points],
            "grid": grid and [float(number) for number in grid],
            "selected": selected and [int(number) for number in selected],
            "maxHeight": max_height,
            "values": None if values is None else _steps(values, size, digits),
            "places": places and [float(edge) for edge in places],
            "whole": whole,
            "drags": on_drag is not None,
            "follows": follows,
            "zoom": zoom,
            "answered": st.session_state.get(answered, 0),
        },
        on_click_change=answer,
    )
    clicks = [click.place for click in _clicks(result.click, size) if click.end is None and click.point is None]
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


def paste_field(key: str) -> Any:
    """A container for one upload field, which takes a picture that is pasted while the page shows it, too."""
    container = st.container(key=f"photo-field-{key}")
    with container, st.container(key=f"unseen-paste-{key}"):
        st.html(f"<style>.st-key-unseen-paste-{key} {{position: absolute}}</style>")  # it takes no room
        _PASTE(key=f"paste.{key}")
    return container


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


@dataclass(frozen=True)
class _Click:
    """What a browser reports: a click on a pixel, a drag to an `end`, or that the `point` of a number moved there."""

    place: tuple[int, int]
    number: int
    end: tuple[int, int] | None = None
    point: int | None = None


def _clicks(payload: Any, size: tuple[int, int]) -> list[_Click]:
    """What happened on this picture, by a browser, which can be made to say anything."""
    width, height = size
    clicks = []
    for click in payload if isinstance(payload, list) else ():
        match click:
            case {"x": int(x), "y": int(y), "id": int(number)} if 0 <= x < width and 0 <= y < height:
                match click.get("to"), click.get("point"):
                    case None, None:
                        clicks.append(_Click((x, y), number))
                    case [int(right), int(down)], None if 0 <= right < width and 0 <= down < height:
                        clicks.append(_Click((x, y), number, end=(right, down)))
                    case None, int(point) if point >= 0:
                        clicks.append(_Click((x, y), number, point=point))
    return clicks
