"""The app: `streamlit run dashboard/Home.py`."""

from pathlib import Path

import streamlit as st

from dashboard.navigation import PAGES
from dashboard.parts import url_state

# A file of ours, and before the navigation: icons by name are fetched from the network.
st.set_page_config(page_icon=Path(__file__).with_name("icon.png"), layout="wide")
pages = [
    st.Page(f"app_pages/{spec.path}.py", title=spec.title, icon=spec.icon, help=spec.help, default=spec is PAGES[0])
    for spec in PAGES
]
page = st.navigation(pages, position="top")
st.set_page_config(page_title=f"{page.title} · corrcore")
url_state.arrive(page.url_path)
page.run()
