"""Limits what a server holds for its clients (bytes, places in a queue), in all and for each of them."""

from __future__ import annotations

import asyncio
from collections import Counter


class Budget:
    """Shares ``limit`` between members: each may hold as much as is free, so one holds at most half of all, two a third
    each (the dynamic threshold of Choudhury and Hahne, 1998). While nothing is held, any
    size is accepted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._free = limit
        self._held: Counter[str] = Counter()
        self._waiting: dict[asyncio.Future[None], tuple[str, int]] = {}

    def acquire(self, member: str, size: int) -> bool:
        """Reserve ``size``; False, with nothing reserved, if ``member`` may not hold that much."""
        if self._held[member] + size > self._free and self._free < self._limit:
            return False
        self._free -= size
        self._held[member] += size
        return True

    async def wait(self, member: str, size: int) -> None:
        """Reserve ``size`` as soon as ``member`` may hold that much."""
        if self.acquire(member, size):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = member, size
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiting.pop(turn, None) is None:  # its turn came in the same moment
                self.release(member, size)
            raise

    def release(self, member: str, size: int) -> None:
        self._free += size
        self._held[member] -= size
        if not self._held[member]:
            del self._held[member]
        for turn, (waiting, wanted) in list(self._waiting.items()):
            if self.acquire(waiting, wanted):
                del self._waiting[turn]
                turn.set_result(None)
