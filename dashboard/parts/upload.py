"""Photos of one's own, kept in memory while the session lasts."""

import re
from typing import Any, Literal

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from corrcore import decoding, images
from corrcore.decoding import ImageError
from dashboard.components import paste_field
from dashboard.services import people, sessions
from dashboard.services.quotas import quotas
from dashboard.state import Upload, session
from dashboard.wording import escape_markdown, sentence

UPLOAD_BYTES = 60 * 2**20  # of decoded pixels one session may keep,
LEAST_KEPT = 2  # but as many photos as a page shows, however large


def most_mb() -> int:
    """Megabytes that a photo may have, by the server's configuration."""
    return int(st.get_option("server.maxUploadSize"))


def say_why_not() -> None:
    """Where this session or its network can upload no more."""
    context = get_script_run_ctx()
    name = "" if context is None else context.session_id
    if why := quotas().why_no_upload(name, people.address(), most_mb() * 2**20, sessions.uploads_held()):
        st.warning(why, icon=":material/hourglass:")


def uploader(
    label: str, *, key: str, on_change: Any = None, label_visibility: Literal["visible", "collapsed"] = "visible"
) -> UploadedFile | None:
    """A field for a photo; a sentence above it says so where this session or its network can upload no more."""
    say_why_not()
    with paste_field(re.sub(r"\W", "-", key)):
        return st.file_uploader(
            label, key=key, max_upload_size=most_mb(), on_change=on_change, label_visibility=label_visibility
        )


def several(label: str, *, key: str, most: int) -> list[UploadedFile]:
    """A field for up to so many photos; a sentence says so where there are more, or no more can be uploaded."""
    say_why_not()
    files = st.file_uploader(label, key=key, max_upload_size=most_mb(), accept_multiple_files=True) or []
    if len(files) > most:
        st.warning(f"{most} photos at most are taken at a time; the first {most} are.", icon=":material/photo_library:")
    return [each for each in files if isinstance(each, UploadedFile)][:most]


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


def newly_uploaded(label: str, *, key: str) -> str | None:
    """A field for a photo; the digest of one that was just put there, which is kept among the session's uploads.

    Each file is told of once: going back from it is not asking for it again. What is wrong with it is said here.
    """
    uploaded, here = uploader(label, key=key, label_visibility="collapsed"), session()
    if uploaded is None or uploaded.file_id == here.read_uploads.get(key):
        return None
    try:
        image = decoding.decode(uploaded.getvalue(), name=uploaded.name)
    except ImageError as error:
        st.error(sentence(error), icon=":material/broken_image:")
        return None
    here.read_uploads[key] = uploaded.file_id
    digest, kept = images.digest(image), here.uploads
    if digest not in kept:
        kept[digest] = Upload(decoding.display_name(uploaded.name), image)
        while len(kept) > LEAST_KEPT and sum(each.image.nbytes for each in kept.values()) > UPLOAD_BYTES:
            del kept[next(iter(kept))]
    return digest


def say_that_it_stays() -> None:
    """Where a link shows a photo that is not here."""
    st.info(
        "This link shows an uploaded photo, which stays with whoever uploaded it. Upload the same file to see the same "
        "view.",
        icon=":material/upload_file:",
    )


def say_what_may_be() -> None:
    """What may be uploaded."""
    st.caption(
        f"Drop, browse or paste (Ctrl+V): JPEG, PNG, WebP, TIFF and others up to {most_mb()} MB. It stays in this "
        "session's memory and is not stored."
    )
