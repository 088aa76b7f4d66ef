"""Backoff: how long to wait before the next attempt, such as a join."""

from __future__ import annotations

from collections.abc import Callable

INITIAL_BACKOFF, MAX_BACKOFF, BACKOFF_RESET_AGE = 0.25, 10.0, 5.0
"""Seconds: the first and the highest bound of the delay between joins; a connection that lasted as long as the
third resets the bound to the first."""


class Backoff:
    """Exponential, with full jitter. ``random()``: from 0 to 1. Times are in seconds of the caller's clock."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0
        self._opened_at: float | None = None

    def on_open(self, now: float) -> None:
        self._opened_at = now

    def on_disconnect(self, now: float) -> float:
        """The connection, or an attempt, has ended. Returns the seconds to wait before the next."""
        if self._opened_at is not None and now - self._opened_at >= BACKOFF_RESET_AGE:
            self._failures = 0
        self._opened_at = None
        ceiling = min(MAX_BACKOFF, INITIAL_BACKOFF * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return self._random() * ceiling
