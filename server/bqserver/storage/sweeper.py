"""Sweeper: removes old messages again and again; each engine has its own way to find and remove them."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from .retention import RetentionSize, Rule, find_rule


class Sweeper(ABC):
    """``rules``: the first that matches a room applies; a room without a rule keeps everything. ``clock``: seconds
    since the epoch, as those that entries are stored with.
    """

    interval: ClassVar[float]
    """Seconds between two sweeps. The first is at the start."""
    expected_errors: ClassVar[tuple[type[Exception], ...]]
    """What ``sweep`` raises if it is to be repeated later."""
    logger: ClassVar[logging.Logger]

    def __init__(self, rules: Sequence[Rule], clock: Callable[[], float] = time.time) -> None:
        self._rules = rules
        self._clock = clock
        self._sizes: dict[str, RetentionSize] = {}

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self.sweep()
            except self.expected_errors as error:
                reason = str(error) or type(error).__name__
                self.logger.warning("old messages could not be removed, retrying later: %s", reason)
            except Exception:
                self.logger.exception("old messages could not be removed because of an internal error")
            await asyncio.sleep(self.interval)

    @abstractmethod
    async def sweep(self) -> dict[str, int]:
        """Remove what exceeds the limits. Returns the last seq removed, by room. Raises ``expected_errors``."""

    def _limited(self, rooms: Collection[str]) -> list[tuple[str, Rule]]:
        """Those of all ``rooms`` that have a rule."""
        existing = frozenset(rooms)
        self._sizes = {room: size for room, size in self._sizes.items() if room in existing}
        return [(room, rule) for room in rooms if (rule := find_rule(self._rules, room)) is not None]

    def _size(self, room: str, limit: int) -> RetentionSize:
        return self._sizes.setdefault(room, RetentionSize(limit))
