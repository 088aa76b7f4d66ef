"""Position, rate and time left of some work, as text."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from bqwidget.protocol import MAX_TIME

RATE_WINDOW = 10.0
"""Seconds over which the rate is measured."""

Clock = Callable[[], float]


class ProgressRate:
    """Position and rate as text. ``total`` below 0: unknown."""

    def __init__(self, total: int, clock: Clock) -> None:
        self._total = total
        self._clock = clock
        self._started_at = clock()
        self._frozen_at: float | None = None
        self._samples: deque[tuple[float, int]] = deque([(self._started_at, 0)])
        self.left_ms: int | None = None
        """The time left, as of the last ``line``; None if it can't be known."""

    def elapsed(self) -> float:
        return (self._clock() if self._frozen_at is None else self._frozen_at) - self._started_at

    def freeze(self) -> None:
        """The work has ended now."""
        self._frozen_at = self._clock()

    def line(self, done: int) -> str:
        """The text after ``done`` items, during the loop."""
        parts = [self._count(done)]
        rate = self._rate(done)
        self.left_ms = None
        if rate > 0:
            parts.append(f"{format_number(rate)}/s")
            if self._total > done:
                self.left_ms = to_ms((self._total - done) / rate)
        return " · ".join(parts)

    def summary(self, done: int) -> str:
        """The text at the end of the loop."""
        elapsed = self.elapsed()
        rate = f" · {format_number(done / elapsed)}/s" if done and elapsed > 0 else ""
        return f"{self._count(done)} in {format_duration(elapsed)}{rate}"

    def _count(self, done: int) -> str:
        if self._total <= 0:
            return f"{done:,}"
        return f"{min(100, 100 * done // self._total)} % · {done:,}/{self._total:,}"

    def _rate(self, done: int) -> float:
        """Items per second, over the last RATE_WINDOW seconds."""
        now = self._clock()
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] <= now - RATE_WINDOW:  # noqa: PLR2004 - the two ends
            self._samples.popleft()
        since, before = self._samples[0]
        return (done - before) / (now - since) if now > since else 0.0


def to_ms(seconds: float) -> int:
    """``seconds`` as ``left_ms``, which is bounded."""
    return min(int(seconds * 1_000), MAX_TIME - 1)


def format_duration(seconds: float) -> str:
    """``0.42 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.2g} s" if seconds >= 0.01 else "0 s"  # noqa: PLR2004
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def format_number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004
