"""Repeated events of the logs: the first is written in full, the others of a minute as one line with their number.

A client can cause a refusal with a few bytes, as often as it likes; a line for each would fill the disk.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

REPORT_PERIOD = 60.0
"""Seconds for which repetitions are counted."""
MAX_KEYS = 1_000
"""Kinds of events that are counted at a time; above it the oldest is summarised early."""
MAX_KEPT_CHARACTERS = 1_000
"""Characters that are kept of a repeated message."""

E = TypeVar("E")


@dataclass(slots=True)
class _Count(Generic[E]):
    began: float
    repeats: int
    last: E


class Repeats(Generic[E]):
    """Counts events by key. ``summarise(event, repeats)`` gets the last of ``repeats`` events that were only counted, or what
    ``combine(earlier, later)`` makes of them.

    It may be used on several threads. Summaries are due on the event loop if there is one, else at the next event.
    """

    def __init__(
        self,
        summarise: Callable[[E, int], None],
        *,
        combine: Callable[[E, E], E] = lambda _, later: later,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._summarise = summarise
        self._combine = combine
        self._clock = clock
        self._counts: dict[Hashable, _Count[E]] = {}  # in the order of ``began``
        self._lock = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None

    def first(self, key: Hashable, event: E) -> bool:
        """Whether to write the event in full; else it is counted."""
        self.flush()
        with self._lock:
            count = self._counts.get(key)
            if count is not None:
                count.last = self._combine(count.last, event) if count.repeats else event
                count.repeats += 1
                return False
            self._counts[key] = _Count(self._clock(), 0, event)
            oldest = self._counts.pop(next(iter(self._counts))) if len(self._counts) > MAX_KEYS else None
        if self._timer is None:
            self._flush_later()
        if oldest is not None and oldest.repeats:
            self._summarise(oldest.last, oldest.repeats)
        return True

    def flush(self) -> None:
        """Summarise the periods that have ended."""
        ended: list[_Count[E]] = []
        with self._lock:
            now = self._clock()
            while self._counts:
                key, count = next(iter(self._counts.items()))
                if now - count.began < REPORT_PERIOD:
                    break
                del self._counts[key]
                if count.repeats:  # it may go on: the next line is a number too
                    ended.append(count)
                    self._counts[key] = _Count(now, 0, count.last)
        for count in ended:
            self._summarise(count.last, count.repeats)

    def close(self) -> None:
        """Summarise everything."""
        if self._timer is not None:
            self._timer.cancel()
        for count in self._counts.values():
            if count.repeats:
                self._summarise(count.last, count.repeats)
        self._counts.clear()

    def _flush_later(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._timer = loop.call_later(REPORT_PERIOD, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.flush()
        if self._counts:
            self._flush_later()


class RepeatFilter(logging.Filter):
    """A filter for ``handler``: lines of one logger with the same message, apart from its arguments, are repetitions."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._repeats: Repeats[logging.LogRecord] = Repeats(self._summarise)

    def filter(self, record: logging.LogRecord) -> bool:
        if hasattr(record, "repeats"):
            return True
        text = record.getMessage()[:MAX_KEPT_CHARACTERS]
        short = {"name": record.name, "levelno": record.levelno, "levelname": record.levelname, "msg": text}
        return self._repeats.first((record.name, str(record.msg)[:MAX_KEPT_CHARACTERS]), logging.makeLogRecord(short))

    def close(self) -> None:
        """Write what was only counted so far."""
        self._repeats.close()

    def _summarise(self, record: logging.LogRecord, repeats: int) -> None:
        line = f"{record.msg} (the last of {repeats} like it)"
        self._handler.handle(logging.makeLogRecord({**vars(record), "msg": line, "repeats": repeats}))
