"""Turns of the event loop for connections that have sent much at once: one of them decodes on in each."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Shared by all connections of a server: many that flood together delay the others no longer than one does."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def next(self) -> None:
        """Wait until it is the caller's turn, first come, first served."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._start_next)
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _start_next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                break
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._start_next)
