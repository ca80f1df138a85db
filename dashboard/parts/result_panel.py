"""Where a result belongs: the result, or the button that begins it, or how far it is."""

from collections.abc import Callable

import streamlit as st


def empty_state(title: str, text: str, *, button: str = "", on_click: Callable[[], None] | None = None) -> bool:
    """Where there is nothing to show yet: what is missing, why, and the button that mends it; whether it is pressed."""
    with st.container(border=True):
        st.subheader(title, anchor=False)
        st.markdown(text)
        return bool(button) and st.button(button, key=f"mend {title}", on_click=on_click, type="primary")
