"""How much one visitor may ask of the server: bytes, jobs and requests, by session and by network address.

The counts are kept here, without streamlit; `quotas` has those of this server.
"""

import functools
import ipaddress
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager

from corrcore.settings import Limits, Settings
from dashboard.wording import rough_duration

MB = 10**6
HOUR_S, MINUTE_S = 3600.0, 60.0
PER_ADDRESS, FOR_ALL = 5, 4  # times what a session may
SHARE = 2  # one address has at most this part, the half, of what all have together
KEYS_KEPT = 10_000  # addresses and sessions whose counts are remembered
STEPS = 60  # that a span of time is counted in


class QuotaError(RuntimeError):
    """Somebody asks for more than a visitor may; the text says how much that is, and when there is more.

    `wait_s` is how long that takes; None where it takes something else than time.
    """

    def __init__(self, text: str, wait_s: float | None = None) -> None:
        super().__init__(text)
        self.wait_s = wait_s


class Spent:
    """What was spent of something within the last `span_s` seconds, by key."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._spent: OrderedDict[Hashable, deque[list[float]]] = OrderedDict()

    def add(self, key: Hashable, amount: float, now: float) -> None:
        """Spends an amount."""
        entries = self._recent(key, now)
        if entries and now - entries[-1][0] < self._span_s / STEPS:
            entries[-1][1] += amount
        else:
            entries.append([now, amount])
        self._spent[key] = entries
        self._spent.move_to_end(key)
        while len(self._spent) > KEYS_KEPT:
            self._spent.popitem(last=False)

    def of(self, key: Hashable, now: float) -> float:
        """What a key has spent."""
        return sum(amount for _, amount in self._recent(key, now))

    def wait_s(self, key: Hashable, amount: float, most: float, now: float) -> float | None:
        """Seconds until a key may spend an amount and stay within `most`; None for never."""
        excess = self.of(key, now) + amount - most
        if excess <= 0:
            return 0.0
        for at, spent in self._recent(key, now):
            excess -= spent
            if excess <= 0:
                return at + self._span_s - now
        return None

    def _recent(self, key: Hashable, now: float) -> deque[list[float]]:
        entries = self._spent.get(key, deque())
        while entries and entries[0][0] <= now - self._span_s:
            entries.popleft()
        return entries


class Quotas:
    """The counts of one server. An address that is empty is the server's own machine, and only its uploads count."""

    def __init__(self, limits: Limits | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock, self._lock = limits, clock, threading.Lock()
        self._uploads, self._jobs, self._requests = Spent(HOUR_S), Spent(HOUR_S), Spent(MINUTE_S)
        self._coming: Counter[str] = Counter()  # bytes under way, by session and by network
        self._coming_in_all = 0
        self._networks: dict[str, str] = {}  # of sessions that hold uploads
        self._windows: Counter[str] = Counter()  # that are open, by network

    @property
    def limits(self) -> Limits:
        """What is in force; the environment's, unless others were given."""
        return self._limits or Settings.from_environment().limits

    def check_job(self, owner: str, address: str) -> None:
        """Counts a job that a session of an address begins. Raises QuotaError beyond what both may."""
        if not address:
            return
        now, most, key = self._clock(), self.limits.jobs_per_hour, network_of(address)
        with self._lock:
            for each, at_most, whose in ((owner, most, "This session"), (key, PER_ADDRESS * most, "Your network")):
                if self._jobs.of(each, now) + 1 > at_most:
                    wait = self._jobs.wait_s(each, 1, at_most, now)
                    msg = (
                        f"{whose} has begun {at_most:,} computations within the hour, which is the most; try again in "
                        f"{rough_duration(wait or 0)}."
                    )
                    raise QuotaError(msg, wait)
            for each in (owner, key):
                self._jobs.add(each, 1, now)

    def check_request(self, address: str) -> None:
        """Counts a request of an address. Raises QuotaError beyond what it may make in a minute."""
        if not address:
            return
        now, most, key = self._clock(), self.limits.requests_per_minute, network_of(address)
        with self._lock:
            if self._requests.of(key, now) + 1 > most:
                wait = self._requests.wait_s(key, 1, most, now)
                msg = f"Your network has made {most:,} requests within a minute, which is the most; wait a little."
                raise QuotaError(msg, wait)
            self._requests.add(key, 1, now)

    @contextmanager
    def window(self, address: str) -> Iterator[None]:
        """While a browser window is open. Raises QuotaError beyond what an address may have open at once."""
        key, most = network_of(address), max(1, self.limits.max_sessions // SHARE)
        if not address:
            yield
            return
        with self._lock:
            if self._windows[key] >= most:
                msg = f"Your network has {most:,} windows open here, as many as one may; close some."
                raise QuotaError(msg)
            self._windows[key] += 1
        try:
            yield
        finally:
            with self._lock:
                self._windows[key] -= 1
                self._windows += Counter()  # without those that are zero

    @contextmanager
    def upload(self, session: str, address: str, n_bytes: int, held: Mapping[str, int]) -> Iterator["Upload"]:
        """While an upload comes in, its bytes count; they go on to for an hour if it is said to be `kept`.

        `held` are the bytes of uploads in memory, by session. Raises QuotaError for more than may be uploaded or held.
        """
        upload, payers = Upload(), self._payers(session, address)
        with self._lock:
            self._check_upload(session, address, n_bytes, held)
            there = held.keys() | self._coming.keys() | {session}
            self._networks = {one: key for one, key in self._networks.items() if one in there}
            self._networks[session] = network_of(address)
            self._coming.update(dict.fromkeys(payers, n_bytes))
            self._coming_in_all += n_bytes
        try:
            yield upload
        finally:
            with self._lock:
                self._coming.subtract(dict.fromkeys(payers, n_bytes))
                self._coming += Counter()  # without those that are zero
                self._coming_in_all -= n_bytes
                for key in payers if upload.kept else ():
                    self._uploads.add(key, n_bytes, self._clock())

    def why_no_upload(self, session: str, address: str, n_bytes: int, held: Mapping[str, int]) -> str:
        """The sentence by which an upload would be refused now; empty if it would not be."""
        try:
            with self._lock:
                self._check_upload(session, address, n_bytes, held)
        except QuotaError as error:
            return str(error)
        return ""

    def _check_upload(self, session: str, address: str, n_bytes: int, held: Mapping[str, int]) -> None:
        now, limits = self._clock(), self.limits
        most = limits.uploads_mb_per_hour * MB
        for key in self._payers(session, address):
            at_most, whose = (most, "This session") if key == session else (PER_ADDRESS * most, "Your network")
            more = self._coming[key] + n_bytes
            if self._uploads.of(key, now) + more > at_most:
                wait = self._uploads.wait_s(key, more, at_most, now)
                there_is = f"; there is room again in {rough_duration(wait)}" if wait is not None else ""
                msg = f"{whose} may upload {at_most // MB:,} MB within an hour, and that is used up{there_is}."
                raise QuotaError(msg, wait)
        most = limits.uploads_mb_held * MB
        if held.get(session, 0) + self._coming[session] + n_bytes > most:
            msg = (
                f"This session keeps as many uploads in memory as it may, {limits.uploads_mb_held:,} MB; take some out "
                "of their fields with the cross, or load the page anew."
            )
            raise QuotaError(msg)
        if address:
            key = network_of(address)
            of_network = sum(n for one, n in held.items() if self._networks.get(one) == key)
            if of_network + self._coming[key] + n_bytes > FOR_ALL * most // SHARE:
                msg = "Your network keeps as many uploads in memory as one may; close windows that hold some."
                raise QuotaError(msg)
        if sum(held.values()) + self._coming_in_all + n_bytes > FOR_ALL * most:
            msg = "The server keeps as many uploads of all visitors in memory as it may; try again in a few minutes."
            raise QuotaError(msg)

    @staticmethod
    def _payers(session: str, address: str) -> list[str]:
        return [session, network_of(address)] if address else [session]


class Upload:
    """One that is coming in; `kept` once it has."""

    def __init__(self) -> None:
        self.kept = False


def network_of(address: str) -> str:
    """What counts as one address: of IPv6 the network of /64 that a household has.

    >>> network_of("192.0.2.7"), network_of("2001:db8::1:2"), network_of("testclient")
    ('192.0.2.7', '2001:db8::/64', 'testclient')
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


@functools.cache
def quotas() -> Quotas:
    """Those of this server."""
    return Quotas()


def check_job(owner: str, address: str) -> None:
    """Counts a job that a session (`state.Session.owner`) of an address (`people.address`) begins.

    Raises QuotaError, with one sentence, beyond what a visitor may.
    """
    quotas().check_job(owner, address)
