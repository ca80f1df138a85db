"""Who may do what: visitors look, members build and measure, operators look after the server. Knows no streamlit."""

import ipaddress
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

SECRET_LEAST = 32  # characters of the secret that cookies are signed with
SIGNED_IN_HOURS = 24.0  # until one has to sign in again
FORWARDING = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})  # what proxies add


class Role(IntEnum):
    """What somebody may do; each may do what those before may."""

    VISITOR = 0  # looks, and computes views within a quota
    MEMBER = 1  # builds indexes, measures
    OPERATOR = 2  # sees the status page, clears caches, deletes indexes


class NotAdmittedError(Exception):
    """Somebody has signed in and may not come in; the text says why."""


@dataclass(frozen=True)
class Connection:
    """Where a request comes from: the address, the host it names, and whether a proxy has passed it on."""

    address: str
    host: str
    forwarded: bool = False

    @classmethod
    def of(cls, address: str | None, headers: Mapping[str, str], *, below_a_path: bool = False) -> Self:
        """That of an address and a request's headers, under names in small letters; an app below a path has a proxy
        before it, whatever that says.
        """
        return cls(address or "", headers.get("host", ""), below_a_path or not FORWARDING.isdisjoint(headers))

    @property
    def own_machine(self) -> bool:
        """Whether it is of the machine that serves, and not passed on for somebody else.

        The host counts as well: a page from elsewhere can give its own name this machine's address, and have a
        browser here ask for it.
        """
        host = self.host.rpartition(":")[0] if self.host.rpartition(":")[2].isdigit() else self.host
        return not self.forwarded and _is_loopback(self.address) and _is_loopback(host.strip("[]"))


@dataclass(frozen=True)
class Policy:
    """Who comes in, and as what. `problem` says why nobody does, where sign-in is set up wrongly.

    `allowed`, `members` and `operators` name addresses of e-mail (``ada@lab.org``), whole domains (``lab.org``), or
    everybody who can sign in (``*``); whoever is a member or an operator is allowed.
    """

    signs_in: bool = False
    read_only: bool = False
    allowed: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    hours: float = SIGNED_IN_HOURS
    unverified: bool = False
    problem: str = ""

    @classmethod
    def of(cls, secrets: Mapping[str, Any], *, read_only: bool = False) -> Self:
        """What a secrets.toml says: sign-in is on where it has a table ``[auth]``, the lists are in ``[corrcore]``."""
        if "auth" not in secrets:
            return cls(read_only=read_only)
        auth, table = secrets["auth"], secrets.get("corrcore", {})
        problem = _problem_of_auth(auth)
        if not isinstance(table, Mapping):
            return cls(signs_in=True, problem="[corrcore] in secrets.toml must be a table.")
        if unknown := table.keys() - {"allowed", "members", "operators", "hours", "unverified"}:
            problem = problem or f"[corrcore] in secrets.toml has no {', '.join(sorted(map(str, unknown)))}."
        lists = {name: table.get(name, []) for name in ("allowed", "members", "operators")}
        for name, each in lists.items():
            if not isinstance(each, Sequence) or isinstance(each, str) or not all(isinstance(one, str) for one in each):
                problem, lists[name] = problem or f"[corrcore] {name} in secrets.toml must be a list of texts.", []
        if not any(lists.values()):
            problem = problem or "[corrcore] in secrets.toml allows nobody; name addresses or domains in `allowed`."
        hours = table.get("hours", SIGNED_IN_HOURS)
        if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= 720:
            problem, hours = problem or "[corrcore] hours in secrets.toml must be above 0 and at most 720.", 0.0
        return cls(
            signs_in=True,
            read_only=read_only,
            allowed=tuple(map(_plain, lists["allowed"])),
            members=tuple(map(_plain, lists["members"])),
            operators=tuple(map(_plain, lists["operators"])),
            hours=float(hours),
            unverified=table.get("unverified", False) is True,
            problem=problem,
        )

    def of_connection(self, connection: Connection) -> Role:
        """The role of whoever has not to sign in: on one's own machine one may do everything."""
        return Role.OPERATOR if connection.own_machine and not self.read_only else Role.VISITOR

    def of_claims(self, claims: Mapping[str, Any], *, now: float | None = None) -> Role | None:
        """The role of who has signed in with these claims of an identity token; None for who has yet to, or again.

        Raises NotAdmittedError for who has, and may not come in.
        """
        if claims.get("is_logged_in") is not True or self.expires(claims) <= (time.time() if now is None else now):
            return None
        if self.problem:
            raise NotAdmittedError(self.problem)
        address = claims.get("email")
        if not isinstance(address, str) or address.count("@") != 1:
            msg = "Your sign-in gives no address of e-mail, by which people are admitted here; sign in with another."
            raise NotAdmittedError(msg)
        if claims.get("email_verified") is not True and not self.unverified:
            msg = f"{address} is not verified by the service that you signed in with; verify it there, or sign out."
            raise NotAdmittedError(msg)
        for role, names in ((Role.OPERATOR, self.operators), (Role.MEMBER, self.members), (Role.VISITOR, self.allowed)):
            if _is_named(address, names):
                return Role.VISITOR if self.read_only else role
        msg = f"{address} is not among those admitted here; ask the operator of this server, or sign out."
        raise NotAdmittedError(msg)

    def expires(self, claims: Mapping[str, Any]) -> float:
        """When a sign-in is over, as seconds since 1970: `hours` after its token was issued."""
        issued = claims.get("iat")
        if not isinstance(issued, int | float) or isinstance(issued, bool):
            return 0.0
        return issued + 3600 * self.hours


def providers(auth: Mapping[str, Any]) -> list[str]:
    """The services that one can sign in with: those with a table of their own in ``[auth]``, else the one there."""
    named = [name for name, each in auth.items() if isinstance(each, Mapping) and "client_id" in each]
    return named or ["default"]


def _problem_of_auth(auth: Any) -> str:
    if not isinstance(auth, Mapping):
        return "[auth] in secrets.toml must be a table."
    for name in ("redirect_uri", "cookie_secret"):
        if not isinstance(auth.get(name), str) or not auth[name]:
            return f"[auth] in secrets.toml lacks {name}."
    if len(auth["cookie_secret"]) < SECRET_LEAST:
        return f"cookie_secret in secrets.toml must have at least {SECRET_LEAST} characters, drawn at random."
    return ""


def _plain(text: str) -> str:
    """Without spaces, in small letters. Those of ASCII alone: others have small letters that equal ASCII's."""
    return text.strip().encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _is_named(address: str, names: Sequence[str]) -> bool:
    """Whether a list names an address, its domain, or everybody."""
    address = _plain(address)
    return any(name in ("*", address) or name.removeprefix("@") == address.rpartition("@")[2] for name in names)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
