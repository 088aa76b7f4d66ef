"""Limits what a server holds for its clients (bytes, places in a queue), in all and for each of them."""

from __future__ import annotations

from collections import Counter


class Budget:
    """``limit`` in all. A member may hold as much as is free, so that something is left for the others: one holds at
    most half of all, two a third each (the dynamic threshold of Choudhury and Hahne, 1998). While nothing is held, any
    size is accepted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._free = limit
        self._held: Counter[str] = Counter()

    def acquire(self, member: str, size: int) -> bool:
        """Reserve ``size``; False, with nothing reserved, if ``member`` may not hold that much."""
        if self._held[member] + size > self._free and self._free < self._limit:
            return False
        self._free -= size
        self._held[member] += size
        return True

    def release(self, member: str, size: int) -> None:
        self._free += size
        self._held[member] -= size
        if not self._held[member]:
            del self._held[member]
