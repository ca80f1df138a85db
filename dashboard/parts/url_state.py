"""Choices made by clicking, which live in the URL and go along from page to page, and what is said of links
that ask for what is not there.

A choice makes one entry in the browser's history. Arriving on a page makes no entry of its own: what was chosen
before is put into the address in place.
"""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress

import numpy as np
import streamlit as st
from streamlit.errors import StreamlitAPIException

from corrcore.geometry import PixelBox
from dashboard import links
from dashboard.components import address
from dashboard.state import Notice, session
from dashboard.wording import escape_markdown


def arrive(path: str) -> None:
    """Note which page runs, before it does; choices that its links hold and its address lacks are put there."""
    here = session()
    if path != here.path:
        here.path = path
        here.in_url.clear()
        here.shown.clear()
    kept = {name: asked(name) for name in links.clicked(path) if name not in st.query_params}
    if kept := {name: value for name, value in kept.items() if value}:
        query = {name: st.query_params.get_all(name) for name in st.query_params}
        address(path, links.query_string({**query, **kept}))


def asked(name: str, default: str = "") -> str:
    """What the URL asks for, else what was chosen on another page, else the default.

    What the URL no longer holds, because its visitor went back to before the choice, is forgotten.
    """
    here = session()
    value, before = st.query_params.get(name), here.in_url.get(name, False)
    here.in_url[name] = value is not None
    if value:
        here.choices[name] = value
    elif before:
        here.choices.pop(name, None)
    return here.choices.get(name) or default


def choose(name: str, value: str) -> None:
    """Keep a choice; none if it is empty. To be called where somebody chooses, not in every run of a page."""
    if value:
        session().choices[name] = value
        if st.query_params.get(name) != value:
            st.query_params[name] = value
        return
    session().choices.pop(name, None)
    if name in st.query_params:
        del st.query_params[name]


def choose_together(choices: Mapping[str, str]) -> None:
    """Keeps several choices as one: they make one entry in the browser's history. An empty one is none."""
    session().choices.update(choices)
    if any(st.query_params.get(name) != value for name, value in choices.items()):
        st.query_params.update(choices)


def show(name: str, value: str) -> None:
    """Note what is shown for a choice, for the page's link and for other pages."""
    session().shown[name] = value
    accept(name, [value])


def pixel_of(
    image: np.ndarray, within: PixelBox | None = None, *, start: tuple[int, int] | None = None, name: str = "at"
) -> tuple[int, int]:
    """The pixel (x, y) that was clicked last, on any page with a choice of that `name`; where there is none in the
    picture, `start` or the middle.
    """
    box = within or PixelBox(0, 0, image.shape[1], image.shape[0])
    if (pixel := _pixel(at := asked(name), box)) is not None:
        show(name, at)
        return pixel
    session().shown.pop(name, None)
    return start or ((box.left + box.right) // 2, (box.top + box.bottom) // 2)


def check_pixel(image: np.ndarray, within: PixelBox | None = None, *, name: str = "at") -> None:
    """Say so where a link asks for a pixel that is not in the picture; to be called once, unlike `pixel_of`."""
    at = asked(name)
    there = not at or _pixel(at, within or PixelBox(0, 0, image.shape[1], image.shape[0])) is not None
    sentence = "This link asks for the pixel {}, which is not in this picture; another is shown."
    check_choice(name, at, there, sentence)


def _pixel(at: str, box: PixelBox) -> tuple[int, int] | None:
    """The pixel that "X,Y" names, if it lies in a box."""
    if not re.fullmatch(r"[0-9]{1,5},[0-9]{1,5}", at):
        return None
    x, y = (int(part) for part in at.split(","))
    return (x, y) if box.left <= x < box.right and box.top <= y < box.bottom else None


def accept(name: str, values: Collection[str]) -> None:
    """Note that values were offered when they were asked for: should they go away, no link has asked for too much."""
    session().accepted.setdefault(name, set()).update(values)


def check_link(name: str, allowed: Collection[str], *, sentence: str = "") -> None:
    """Say so where a link asks for what a widget bound to the URL does not offer, before the widget drops it.

    It stays until another choice is made, for a page runs again when its work is done. A choice of one's own
    that is no longer offered, because something else was chosen besides, is no link's. `sentence` takes the
    place of the usual one; {} in it is what was asked for.
    """
    here = session()
    values = [value for value in st.query_params.get_all(name) if value]
    accept(name, [value for value in values if value in allowed])
    chosen = st.session_state.get(name)
    if missing := [value for value in values if value not in allowed and value not in here.accepted[name]]:
        here.notices[name] = Notice(", ".join(missing)[:64])
    if (notice := here.notices.get(name)) is None:
        return
    if chosen is None or missing:
        notice.instead = None  # the widget has yet to choose another
    elif notice.instead is None:
        notice.instead = chosen
    elif chosen != notice.instead:
        del here.notices[name]
        return
    usual = f"This link asks for {name} {{}}, which does not exist here; another is shown."
    st.warning((sentence or usual).format(escape_markdown(notice.asked)), icon=":material/link_off:")


def check_number(name: str, low: float, high: float) -> None:
    """The same for a widget bound to the URL that takes numbers."""
    values = st.query_params.get_all(name)
    sentence = f"This link asks for {name} {{}}, which is no number from {low:,} to {high:,}; another is shown."
    check_link(name, [value for value in values if _is_between(value, low, high)], sentence=sentence)


def _is_between(text: str, low: float, high: float) -> bool:
    try:
        return low <= float(text) <= high
    except ValueError:
        return False


def follow_default(key: str, usual: object) -> None:
    """Where the data decide what a widget begins with: one that still shows what it began with shows what it would
    begin with now. To be called before the widget, whose first option that is.
    """
    remembered = f"usual {key}"
    before = st.session_state.get(remembered, usual)
    if before != usual and st.session_state.get(key) == before:
        st.session_state[key] = usual
    st.session_state[remembered] = usual


def forget_unoffered(key: str, offered: Collection[object]) -> None:
    """Forgets what another page's widget of the same key has, unless it is offered here: it would go into the address,
    as an entry of its own. To be called before the widget.
    """
    if st.session_state.get(key) not in offered:
        st.session_state.pop(key, None)


def forget_elsewheres(key: str) -> None:
    """Forgets what another page's widget of the same key has, where that means something else: it would go into the
    address, as an entry of its own. To be called before the key is looked at.
    """
    here, owner = session().path, f"page of {key}"
    if st.session_state.get(owner, here) != here and key not in st.query_params:
        st.session_state.pop(key, None)
    st.session_state[owner] = here


def spell_out(name: str, titles: Mapping[str, str]) -> None:
    """Lets a link name the options of a widget bound to the URL by their keys: the widget knows their titles only.

    To be called before the widget. The page begins anew under the address with titles.
    """
    values = st.query_params.get_all(name)
    spelt = [titles.get(value, value) for value in values]
    if spelt != values:
        with suppress(StreamlitAPIException):  # bound already: somebody went back to the link, and the widget decides
            st.query_params[name] = spelt
            st.rerun()


def check_choice(name: str, value: str, there: bool, sentence: str) -> None:
    """Say so while a link asks for something to click that is not there; {} in the sentence is its name."""
    here = session()
    if there:
        accept(name, [value])
    elif value not in here.accepted.get(name, ()):
        here.notices[name] = Notice(value[:64])
    if (notice := here.notices.get(name)) is not None:
        if there:
            del here.notices[name]
        else:
            st.warning(sentence.format(escape_markdown(notice.asked)), icon=":material/link_off:")
