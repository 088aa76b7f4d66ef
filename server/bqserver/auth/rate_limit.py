"""How often somebody may do something: a sliding window per key, forgotten when it is empty."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class RateLimit:
    """At most ``count`` events in ``period`` seconds per key; ``count`` 0 is no limit. The clock is passed in."""

    def __init__(self, count: int, period: float) -> None:
        self.count = count
        self.period = period
        self._times: dict[str, deque[float]] = {}
        self._swept = 0.0
        self.on_acquired: Callable[[str], None] | None = None
        """Told of every event that is let through."""

    def acquire(self, key: str, now: float) -> float:
        """Seconds until ``key`` may go on; 0.0: it may now, and this event is counted."""
        if not self.count:
            return 0.0
        if wait := self.peek(key, now):
            return wait
        self.record(key, 1, now)
        if self.on_acquired is not None:
            self.on_acquired(key)
        return 0.0

    def record(self, key: str, events: int, now: float) -> None:
        """That many were let through, here or elsewhere."""
        if self.count:
            self._times.setdefault(key, deque()).extend([now] * min(events, self.count))

    def peek(self, key: str, now: float) -> float:
        """The same, and nothing is counted."""
        if now - self._swept > self.period:
            self._sweep(now)
        seen = self._times.get(key)
        if seen is None:
            return 0.0
        while seen and seen[0] <= now - self.period:
            seen.popleft()
        return seen[0] + self.period - now if len(seen) >= self.count else 0.0

    def _sweep(self, now: float) -> None:
        self._swept = now
        self._times = {
            key: seen for key, seen in self._times.items() if seen and seen[-1] > now - self.period
        }
