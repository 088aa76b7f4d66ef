"""Rate limit: a sliding window per key."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class RateLimit:
    """At most ``count`` events in ``period`` seconds per key; ``count`` 0 means no limit. ``now`` is in seconds."""

    def __init__(self, count: int, period: float) -> None:
        self.count = count
        self.period = period
        self._times: dict[str, deque[float]] = {}
        self._swept = 0.0
        self.on_acquired: Callable[[str], None] | None = None
        """Called with the key of every event that ``acquire`` allows."""

    def acquire(self, key: str, now: float) -> float:
        """Count an event and return 0.0 if it is allowed; else the seconds until one is."""
        if not self.count:
            return 0.0
        if wait := self.peek(key, now):
            return wait
        self.record(key, 1, now)
        if self.on_acquired is not None:
            self.on_acquired(key)
        return 0.0

    def record(self, key: str, events: int, now: float) -> None:
        """Count ``events`` that were allowed, here or on another node."""
        if self.count:
            self._times.setdefault(key, deque()).extend([now] * min(events, self.count))

    def peek(self, key: str, now: float) -> float:
        """As ``acquire``, without counting an event."""
        if now - self._swept > self.period:
            self._sweep(now)
        times = self._times.get(key)
        if times is None:
            return 0.0
        while times and times[0] <= now - self.period:
            times.popleft()
        return times[0] + self.period - now if len(times) >= self.count else 0.0

    def _sweep(self, now: float) -> None:
        self._swept = now
        self._times = {key: times for key, times in self._times.items() if times and times[-1] > now - self.period}
