"""Photos of one's own, kept in memory while the session lasts."""

import numpy as np
import streamlit as st

from corrcore import decoding
from corrcore.decoding import ImageError
from dashboard.state import session
from dashboard.wording import escape_markdown, sentence


def upload(what: str) -> tuple[np.ndarray, str] | None:
    """A photo and its name; kept while the session looks at something else."""
    key, files = f"upload {what}", session().files

    def changed() -> None:
        uploaded = st.session_state[key]
        files[what] = None if uploaded is None else (uploaded.getvalue(), uploaded.name)

    st.file_uploader(what, key=key, max_upload_size=20, on_change=changed)
    if (found := files.get(what)) is None:
        return None
    content, name = found
    try:
        photo = decoding.decode(content, name=name)
    except ImageError as error:
        st.error(sentence(error), icon=":material/broken_image:")
        return None
    if st.session_state[key] is None:
        st.caption(f"Still here: {escape_markdown(decoding.display_name(name))}")
    return photo, decoding.display_name(name)
