"""Shares slow work among members: a few pieces run at once, and the members that wait take turns."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")


class FairQueue:
    """Runs at most ``slots`` pieces of work at once, and ``slots_each`` of one member.

    ``max_waiting`` may wait in all, and ``waiting_each`` of one member. Work that is cancelled while it waits never starts.
    """

    def __init__(self, slots: int, slots_each: int, max_waiting: int, waiting_each: int) -> None:
        self._free = slots
        self._slots_each = slots_each
        self._places = max_waiting
        self._waiting_each = waiting_each
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the first member is the next

    async def run(self, member: str, work: Callable[[], Awaitable[_T]]) -> _T:
        """The result of ``work()``, called in the member's turn. Raises asyncio.QueueFull."""
        if self._free and self._running[member] < self._slots_each:  # then no work that waits could use the slot
            self._take(member)
        else:
            await self._wait(member)
        try:
            return await work()
        finally:
            self._give_back(member)

    async def _wait(self, member: str) -> None:
        queue = self._waiting.get(member) or deque()
        if not self._places or len(queue) >= self._waiting_each:
            raise asyncio.QueueFull
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._waiting[member] = queue
        self._places -= 1
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it came in the same moment
                self._give_back(member)
            elif turn in queue:
                queue.remove(turn)
            raise
        finally:
            self._places += 1
            if not queue and self._waiting.get(member) is queue:
                del self._waiting[member]

    def _take(self, member: str) -> None:
        self._free -= 1
        self._running[member] += 1

    def _give_back(self, member: str) -> None:
        self._free += 1
        self._running[member] -= 1
        if not self._running[member]:
            del self._running[member]
        for other in list(self._waiting):
            if self._running[other] < self._slots_each and self._start_next(other):
                return

    def _start_next(self, member: str) -> bool:
        """Start the oldest work of ``member``, who is then last; False if all of it was cancelled just now."""
        self._waiting[member] = queue = self._waiting.pop(member)
        while queue:
            turn = queue.popleft()
            if not turn.done():
                self._take(member)
                turn.set_result(None)
                return True
        return False
