"""Photos of one's own, kept in memory while the session lasts."""

from typing import Any, Literal

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from corrcore import decoding
from corrcore.decoding import ImageError
from dashboard.services import people, sessions
from dashboard.services.quotas import quotas
from dashboard.state import session
from dashboard.wording import escape_markdown, sentence


def most_mb() -> int:
    """Megabytes that a photo may have, by the server's configuration."""
    return int(st.get_option("server.maxUploadSize"))


def uploader(
    label: str, *, key: str, on_change: Any = None, label_visibility: Literal["visible", "collapsed"] = "visible"
) -> UploadedFile | None:
    """A field for a photo; a sentence above it says so where this session or its network can upload no more."""
    context = get_script_run_ctx()
    name = "" if context is None else context.session_id
    if why := quotas().why_no_upload(name, people.address(), most_mb() * 2**20, sessions.uploads_held()):
        st.warning(why, icon=":material/hourglass:")
    return st.file_uploader(
        label, key=key, max_upload_size=most_mb(), on_change=on_change, label_visibility=label_visibility
    )


def upload(what: str) -> tuple[np.ndarray, str] | None:
    """A photo and its name; kept while the session looks at something else."""
    key, files = f"upload {what}", session().files

    def changed() -> None:
        uploaded = st.session_state[key]  # of another type where a browser names a file that is not there
        files[what] = (uploaded.getvalue(), uploaded.name) if isinstance(uploaded, UploadedFile) else None

    uploader(what, key=key, on_change=changed)
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
