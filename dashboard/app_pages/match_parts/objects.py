"""Photos of data sets, with what is annotated in them."""

from collections.abc import Callable

import numpy as np
import streamlit as st

from dashboard.app_pages.match_parts.photo import Annotated, Photo, Side
from dashboard.parts import pickers
from dashboard.parts.gallery import gallery
from dashboard.services import caches, thumbnails
from dashboard.wording import sentence


def choose(side: Side, reference: str, change: Callable[[Photo], None], *, columns: int) -> None:
    """A data set, a category, and its objects, of which one is picked; what is wrong is said here."""
    source, name = _names(reference)
    offered = caches.dataset_names()
    at_data, at_category = st.columns(2, gap="small")
    asked = offered.index(source) if source in offered else len(offered) - 1
    source = at_data.selectbox("Data set", offered, asked, format_func=pickers.dataset_title, key=f"{side}_data")
    try:
        data = caches.dataset(source)
        category = at_category.selectbox("Category", data.categories, key=f"{side}_category")
        there = pickers.offered_objects(data, category)
    except (OSError, ValueError) as error:
        st.error(sentence(error), icon=":material/error:")
        return
    n_sheets = -(-len(there) // pickers.PER_SHEET)
    sheet = pickers.choose_page(st, "", n_sheets, 1, f"{side} sheet {data.digest} {category}") if n_sheets > 1 else 1
    shown = there[(sheet - 1) * pickers.PER_SHEET : sheet * pickers.PER_SHEET]
    names = [one.name for one in shown]

    def pick(number: int) -> None:
        reference = f"object:{source}:{names[number]}"
        try:
            found = find(side, reference)
        except (OSError, ValueError):  # which the page says where it shows it
            found = Photo(np.zeros((1, 1, 3), np.uint8), names[number], reference, "")
        if found is not None:
            change(found)

    pictures = thumbnails.of_objects(caches.state_of(shown), shown)
    selected = names.index(name) if name in names else None
    gallery(pictures, selected, names, pick, key=f"objects {side}", columns=columns)


def find(side: Side, reference: str) -> Photo | None:
    """The photo of the object that a link names; None where there is none such. Raises ValueError and OSError where it
    cannot be read.
    """
    source, name = _names(reference)
    if source not in caches.dataset_names():
        return None
    data = caches.dataset(source)
    found = next((one for split in data.splits.values() for one in split if one.name == name), None)
    if found is None:
        return None
    image = found.photo.load()
    python = f"""from corrcore import datasets
objects = [one for split in datasets.open_dataset({pickers.python_dataset(source)}).splits.values() for one in split]
{side} = next(one for one in objects if one.name == {name!r}).photo.load()"""
    left, top, right, bottom = found.box
    start = (round((left + right) / 2), round((top + bottom) / 2))
    return Photo(image, found.photo.name, reference, python, start, lambda: Annotated.of(found, data))


def _names(reference: str) -> tuple[str, str]:
    """Those of the data set and of the object that "object:DATA:NAME" asks for."""
    kind, _, rest = reference.partition(":")
    source, _, name = rest.partition(":")
    return (source, name) if kind == "object" else ("", "")
