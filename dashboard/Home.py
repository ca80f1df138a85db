"""The app: `streamlit run dashboard/Home.py`."""

from pathlib import Path

import streamlit as st

from dashboard.server import asgi

# Streamlit finds the server to start by this assignment.
app = st.App(
    Path(__file__).with_name("frame.py"),
    lifespan=asgi.lifespan,
    routes=asgi.routes(),
    middleware=asgi.middleware(),
)
