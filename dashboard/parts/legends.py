"""Keys to pictures: bars of colours, dots of keypoints, a round picture."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import streamlit as st

from corrcore import images
from dashboard import figures
from dashboard.titles import keypoint_title


def round_picture(image: np.ndarray, *, alt: str, side: int = 88) -> None:
    """A square picture with its corners cut, `side` screen pixels wide."""
    st.html(
        f'<img src="{_data_url(image)}" alt="{escape(alt)}" style="width: {side}px; '
        f'height: {side}px; border-radius: 50%">'
    )


def colour_bar(colours: Sequence[str], low: str, high: str) -> None:
    """A key to a picture's colours, from those of `low` to those of `high`."""
    st.html(
        '<div style="display: flex; align-items: center; gap: .5em; font-size: .85rem; max-width: 24rem">'
        f"<span>{escape(low)}</span>"
        f'<span style="flex: 1; height: .7em; background: linear-gradient(to right, {", ".join(colours)})"></span>'
        f"<span>{escape(high)}</span></div>"
    )


def keypoint_legend(names: Sequence[str]) -> None:
    """Keypoints' names, each with a dot of its colour."""
    legend({keypoint_title(name): figures.keypoint_colour(number) for number, name in enumerate(names)})


def legend(colours: Mapping[str, str]) -> None:
    """Names, each with a dot of its colour."""
    dots = " &nbsp; ".join(
        f'<span style="white-space: nowrap"><span style="display: inline-block; width: .8em; height: .8em; '
        f'border-radius: 50%; border: 1px solid #888; background: {colour}"></span> {escape(name)}</span>'
        for name, colour in colours.items()
    )
    st.html(f'<div style="font-size: .85rem; line-height: 1.7">{dots}</div>')


def line_legend(styles: Mapping[str, figures.RowStyle]) -> None:
    """Names, each beside a piece of its line."""
    css = {"dash": "dashed", "dot": "dotted"}
    lines = " &nbsp; ".join(
        f'<span style="white-space: nowrap"><span style="display: inline-block; width: 2em; vertical-align: middle; '
        f'border-top: 3px {css.get(style.dash, "solid")} {style.colour}"></span> {escape(name)}</span>'
        for name, style in styles.items()
    )
    st.html(f'<div style="font-size: .85rem; line-height: 1.7">{lines}</div>')


def _data_url(image: np.ndarray) -> str:
    return f"data:image/png;base64,{b64encode(images.encode(image, format='PNG')).decode()}"
