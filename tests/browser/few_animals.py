"""The app with few animals drawn, so that what pages compute of them takes seconds."""

import functools
from pathlib import Path

import streamlit as st

from corrcore.datasets import toy
from dashboard.server import asgi

if not isinstance(toy.load, functools.partial):
    toy.load = functools.partial(toy.load, n_train=10, n_val=2)
app = st.App(
    Path(__file__).parents[2] / "dashboard" / "frame.py",
    lifespan=asgi.lifespan,
    routes=asgi.routes(),
    middleware=asgi.middleware(),
)
