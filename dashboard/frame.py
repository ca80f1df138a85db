"""What runs on every view: the menu, and the page that is looked at."""

from pathlib import Path

import streamlit as st

from dashboard.navigation import pages
from dashboard.parts import url_state
from dashboard.parts.status_line import status_line
from dashboard.services import people
from dashboard.services.turns import turns

# A file of ours, and before the navigation: icons by name are fetched from the network.
st.set_page_config(page_icon=Path(__file__).with_name("icon.png"), layout="wide")
st.html(Path(__file__).with_name("style.css"))
people.admit()
offered = pages(for_operators=people.may_operate())
page = st.navigation(
    [
        st.Page(
            spec.file,
            title=spec.title,
            icon=spec.icon,
            help=spec.help,
            url_path=spec.path,
            default=number == 0,
            visibility="visible" if spec in offered else "hidden",
        )
        for number, spec in enumerate(pages())
    ],
    position="top",
)
st.set_page_config(page_title=f"{page.title} · corrcore")
url_state.arrive(page.url_path)
body, foot = st.container(), st.container()  # what stands below is made first, for many a page stops to wait
with foot:
    say_what_is_in_memory = status_line() if page.url_path else None
    people.signed_in()
with body, turns().taken():
    page.run()
if say_what_is_in_memory is not None:
    say_what_is_in_memory()
