"""Whose session a page runs for, and what that person may do: `roles` bound to Streamlit's sign-in and connections."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from corrcore.settings import Settings
from dashboard.services.roles import Connection, NotAdmittedError, Policy, Role, providers
from dashboard.state import is_served
from dashboard.wording import escape_markdown

SIGN_IN = "Sign in to use this server."
UNGUARDED = (
    "Sign-in is set up, and pictures and files would be open to everybody if the app was started this way; "
    "start it with `corrcore app`."
)
_guarded = threading.Event()


def guard() -> None:
    """Notes that `gate.Gate` stands before this server, without which nobody signs in."""
    _guarded.set()


def policy() -> Policy:
    """Who comes in as what, read from secrets.toml. Where that cannot be read, nobody does."""
    read_only = Settings.from_environment().read_only
    try:
        found = Policy.of(_secrets(), read_only=read_only)
    except (StreamlitSecretNotFoundError, OSError, ValueError):
        return Policy(signs_in=True, problem="secrets.toml cannot be read; the server's log says why.")
    if found.signs_in and not found.problem and find_spec("authlib") is None:
        return replace(found, problem="Sign-in needs more than is installed: pip install 'corrcore[auth]'.")
    return found


def role() -> Role:
    """What the person may do for whom this page runs."""
    found = policy()
    if found.signs_in:
        try:
            return found.of_claims(st.user.to_dict()) or Role.VISITOR
        except NotAdmittedError:
            return Role.VISITOR
    return found.of_connection(_connection())


def may_measure() -> bool:
    """Whether this session may build indexes and measure."""
    return role() >= Role.MEMBER


def reserved() -> str:
    """Who begins what visitors may not, as the end of a sentence."""
    found = policy()
    if found.signs_in and not found.read_only and (found.members or found.operators):
        return "members of this server begin it."
    return "this server is shared and begins nothing of the kind for its visitors."


def may_operate() -> bool:
    """Whether this session may delete indexes, clear caches and see how the server does."""
    return role() >= Role.OPERATOR


def require(least: Role) -> None:
    """Raises PermissionError for whoever may not: to be called where work begins, whatever the page has shown."""
    if role() < least:
        msg = f"this server is shared: that is for its {least.name.lower()}s."
        raise PermissionError(msg)


def address() -> str:
    """The network address that this session comes from, for quotas; empty for one's own machine."""
    connection = _connection()
    return "" if connection.own_machine else connection.address or "unknown"


def admit() -> None:
    """Stops the page for whoever is not admitted, with one sentence and a button to sign in or out."""
    found = policy()
    if not found.signs_in:
        return
    if is_served() and not _guarded.is_set():
        st.error(UNGUARDED, icon=":material/lock_open:")
        st.stop()
    try:
        admitted = found.of_claims(st.user.to_dict())
    except NotAdmittedError as error:
        st.error(escape_markdown(str(error)), icon=":material/lock:")
        st.button("Sign out", on_click=st.logout, icon=":material/logout:")
        st.stop()
    if admitted is None:
        st.info(found.problem or SIGN_IN, icon=":material/lock:")
        for name in [] if found.problem else providers(_secrets()["auth"]):
            title = "Sign in" if name == "default" else f"Sign in with {name}"
            st.button(title, key=f"sign in {name}", on_click=_sign_in, args=(name,), icon=":material/login:")
        st.stop()


def signed_in() -> None:
    """Who is signed in, as what, and a button to sign out; nothing where nobody has to."""
    if not policy().signs_in:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="signed-in"):
        st.caption(f"{escape_markdown(str(st.user.get('email', '')))} · {role().name.lower()}", width="content")
        st.button("Sign out", key="sign_out", on_click=st.logout, type="tertiary", icon=":material/logout:")


def _sign_in(name: str) -> None:
    st.login() if name == "default" else st.login(name)


def _secrets() -> Mapping[str, Any]:
    """What is in secrets.toml; nothing where there is none. Raises where there is one that cannot be read."""
    try:
        return st.secrets.to_dict()
    except StreamlitSecretNotFoundError:
        if any(Path(path).exists() for path in st.get_option("secrets.files")):
            raise
        return {}


def connection_of(address: str, headers: Mapping[str, str]) -> Connection:
    """Where a request to this server comes from; headers are under names in small letters."""
    return Connection.of(address, headers, below_a_path=bool((st.get_option("server.baseUrlPath") or "").strip("/")))


def _connection() -> Connection:
    """Where this session comes from. Once its browser has gone nothing is known, and it is nobody's own machine."""
    if not is_served():
        return Connection("127.0.0.1", "localhost")
    headers = {name.lower(): value for name, value in st.context.headers.to_dict().items()}
    return connection_of(st.context.ip_address or "127.0.0.1", headers) if headers else Connection("", "")
