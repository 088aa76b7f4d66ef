"""The door: how many may come in, how often, and how often somebody may try a wrong key."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable

from bqserver.model import Rejected

from .rate_limit import RateLimit

KNOWN = 10_000
"""Keys remembered as right, with the address they came from."""
JOIN_PERIOD = 10.0
FAILURE_PERIOD = 60.0
FULL_RETRY = 10.0


class Door:
    """``joins`` per 10 s and member, ``failures`` a minute and address, ``most`` connections, in all and
    (``most_each``) from one address; 0 is no limit. ``clock`` gives seconds.
    """

    def __init__(
        self,
        *,
        joins: int = 0,
        failures: int = 0,
        most: int = 0,
        most_each: int = 0,
        clock: Callable[[], float],
    ) -> None:
        self.most = most
        self.most_each = most_each
        self._joins = RateLimit(joins, JOIN_PERIOD)
        self._failures = RateLimit(failures, FAILURE_PERIOD)
        self.limits = {"joins": self._joins, "failures": self._failures}
        self._clock = clock
        self._known: OrderedDict[bytes, None] = OrderedDict()

    # ---- keys

    def locked(self, address: str, key: str) -> Rejected | None:
        """Whether ``address`` has tried too many wrong keys to have this one looked at.

        One that was right from there before is: a stranger behind the same address must not lock members out.
        """
        if not self._failures.count or _mark(address, key) in self._known:
            return None
        wait = self._failures.peek(address, self._clock())
        return _later("too_many_failures", "too many wrong tokens or invites", wait) if wait else None

    def failed(self, address: str) -> None:
        self._failures.wait(address, self._clock())

    def passed(self, address: str, key: str) -> None:
        if self._failures.count:
            mark = _mark(address, key)
            self._known[mark] = None
            self._known.move_to_end(mark)
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)

    # ---- connections

    def crowded(self, who: str, address: str, here: Counter[str]) -> Rejected | None:
        """Whether one more connection is too many; else it is counted as a join of ``who``. ``here``: the
        connections there are, by address.
        """
        if self.most and here.total() >= self.most:
            return Rejected("full", f"all {self.most:,} places are taken", 503, FULL_RETRY)
        if self.most_each and here[address] >= self.most_each:
            message = f"{self.most_each:,} connections came from your address already"
            return Rejected("too_many_connections", message, 429, FULL_RETRY)
        wait = self._joins.wait(who, self._clock())
        return (
            _later("too_many_joins", f"more than {self._joins.count} joins in 10 s", wait) if wait else None
        )


def _later(code: str, message: str, wait: float) -> Rejected:
    return Rejected(code, f"{message}: wait {wait:.0f} s", 429, wait)


def _mark(address: str, key: str) -> bytes:
    return hashlib.sha256(f"{address} {key}".encode(errors="surrogatepass")).digest()
