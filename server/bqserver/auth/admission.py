"""Limits on admission: connections in total and by address, joins by member, and failed logins by address."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable

from bqserver.model import Rejected

from .rate_limit import RateLimit

MAX_KNOWN_CREDENTIALS = 10_000
JOIN_PERIOD = 10.0
"""Seconds."""
FAILURE_PERIOD = 60.0
"""Seconds."""
FULL_RETRY_INTERVAL = 10.0
"""Seconds after which a client may try again when there were too many connections."""


class ConnectionLimiter:
    """Limits connections (``max_connections`` in total, ``max_per_address``) and ``joins`` per member and 10 s.

    0 means no limit. ``clock`` gives seconds.
    """

    def __init__(
        self,
        *,
        joins: int = 0,
        max_connections: int = 0,
        max_per_address: int = 0,
        clock: Callable[[], float],
    ) -> None:
        self.joins = RateLimit(joins, JOIN_PERIOD)
        self.max_connections = max_connections
        self.max_per_address = max_per_address
        self._clock = clock

    def check(self, member: str, address: str, connections: Counter[str]) -> Rejected | None:
        """Count one join of ``member``, or reject it. ``connections``: the open ones by address."""
        if self.max_connections and connections.total() >= self.max_connections:
            message = f"the server is full: it has {self.max_connections:,} connections"
            return Rejected("full", message, 503, FULL_RETRY_INTERVAL)
        if self.max_per_address and connections[address] >= self.max_per_address:
            message = f"your address already has {self.max_per_address:,} connections"
            return Rejected("too_many_connections", message, 429, FULL_RETRY_INTERVAL)
        wait = self.joins.acquire(member, self._clock())
        return _too_many("too_many_joins", f"more than {self.joins.count} joins in 10 s", wait) if wait else None


class LoginThrottle:
    """Locks an address out after ``failures`` wrong tokens or invites in a minute; 0 means no limit.

    Credentials that were valid from an address before are still accepted from it, so that a stranger behind the
    same address can't lock members out. ``clock`` gives seconds.
    """

    def __init__(self, *, failures: int = 0, clock: Callable[[], float]) -> None:
        self.failures = RateLimit(failures, FAILURE_PERIOD)
        self._clock = clock
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def check(self, address: str, credential: str) -> Rejected | None:
        """Why ``credential`` is not examined: too many failures from ``address``; None if it may be."""
        if not self.failures.count or _digest(address, credential) in self._known:
            return None
        wait = self.failures.peek(address, self._clock())
        return _too_many("too_many_failures", "too many wrong tokens or invites", wait) if wait else None

    def record_failure(self, address: str) -> None:
        self.failures.acquire(address, self._clock())

    def record_success(self, address: str, credential: str) -> None:
        if self.failures.count:
            digest = _digest(address, credential)
            self._known[digest] = None
            self._known.move_to_end(digest)
            if len(self._known) > MAX_KNOWN_CREDENTIALS:
                self._known.popitem(last=False)


def _too_many(code: str, message: str, wait: float) -> Rejected:
    return Rejected(code, f"{message}: wait {wait:.0f} s", 429, wait)


def _digest(address: str, credential: str) -> bytes:
    return hashlib.sha256(f"{address} {credential}".encode(errors="surrogatepass")).digest()
