"""What a session remembers besides its widgets: typed, in one place."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np
import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dashboard.services.jobs import Job


@dataclass(frozen=True)
class View:
    """The work for what is looked at, the key that names it, and whether the visitor waits for it no more."""

    key: Hashable
    job: Job[Any]
    given_up: bool = False


@dataclass(frozen=True)
class Upload:
    """An uploaded photo: its file's name, fit to show, and its pixels."""

    name: str
    image: np.ndarray


@dataclass
class Notice:
    """What a link asks for and there is not, and what a widget shows instead once it has chosen."""

    asked: str
    instead: Any = None


@dataclass
class Session:
    """One visitor's state."""

    owner: str = field(default_factory=lambda: _own_name())  # a name for this session that no other knows
    view: View | None = None
    building: Job[Any] | None = None
    building_note: str = ""  # what was found in the folder it is built of
    choices: dict[str, str] = field(default_factory=dict)  # made by clicking, by their names in links
    uploads: dict[str, Upload] = field(default_factory=dict)  # photos to rebuild, by their digests
    files: dict[str, tuple[bytes, str] | None] = field(default_factory=dict)  # content and name, by what was asked for
    corners: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # of boxes drawn, by the photo's digest
    path: str = ""  # of the page that runs
    in_url: dict[str, bool] = field(default_factory=dict)  # whether the page's URL named a choice when last looked at
    shown: dict[str, str] = field(default_factory=dict)  # what the page shows for the choices made by clicking
    accepted: dict[str, set[str]] = field(default_factory=dict)  # values that were on offer, by their names in links
    notices: dict[str, Notice] = field(default_factory=dict)  # said of links, by the names of what is missing
    photos: dict[str, str] = field(default_factory=dict)  # chosen last, by where from
    read_uploads: dict[str, str] = field(default_factory=dict)  # the file that each uploader was last asked for
    linked_cell: tuple[str, str] | None = (
        None  # of the Results page's tables: the experiment, and the cell a link names
    )
    rows_of: str | None = None  # the experiment and network whose rows the Results page draws


def session() -> Session:
    """This session's state; it is made when it is first asked for."""
    return st.session_state.setdefault("corrcore", Session())


def is_served() -> bool:
    """Whether a server runs this page; what stands in for it where pages are tested is another type."""
    return runtime.exists() and type(runtime.get_instance()) is runtime.Runtime


def _own_name() -> str:
    """Streamlit's, by which the server knows whether the browser is still there."""
    context = get_script_run_ctx()
    return context.session_id if is_served() and context is not None else uuid4().hex
