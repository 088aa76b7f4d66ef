"""A Tornado handler whose work and memory are limited for each member."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import HTTPError, RequestHandler

from .budget import Budget
from .fair_queue import FairQueue
from .pace import PIECE_BYTES, close_unless_taken, hold_unsent, limit_unsent_bytes

CLIENT_CLOSED_REQUEST = 499
"""The status in the log of a request whose client left before the answer (nginx's)."""
MAX_WAIT = 60.0
"""Seconds that an answer waits until the member may hold its bytes."""

_T = TypeVar("_T")


class FairHandler(RequestHandler):
    """Queues work fairly between members, counts the bytes of answers for each, and sends no faster than the client reads."""

    _reading: asyncio.Future[Any] | None = None

    @property
    def member(self) -> str:
        """Who has a share of the server."""
        raise NotImplementedError

    def overload(self, message: str) -> Exception:
        """The error for a member who has used up their share."""
        raise NotImplementedError

    async def in_turn(self, queue: FairQueue, work: Callable[[], Awaitable[_T]]) -> _T:
        """The result of ``work()``, called in the member's turn. Raises ``overload``."""
        try:
            return await queue.run(self.member, work)
        except asyncio.QueueFull:
            raise self.overload("too many requests are waiting: try again") from None

    async def read(self, queue: FairQueue, work: Callable[[], Awaitable[_T]]) -> _T:
        """``in_turn``, and cancelled when the client goes."""
        self._reading = reading = asyncio.ensure_future(self.in_turn(queue, work))
        try:
            return await reading
        except asyncio.CancelledError:
            raise HTTPError(CLIENT_CLOSED_REQUEST, reason="Client Closed Request") from None
        finally:
            self._reading = None  # it holds the result

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self._reading is not None:
            self._reading.cancel()

    async def finish_within(self, budget: Budget, body: bytes) -> None:
        """Send ``body`` as fast as the client reads it, and end the answer. Raises ``overload``, with nothing sent.

        An answer of up to PIECE_BYTES is counted only if the socket does not take it at once, so a member over the limit
        still gets short ones.
        """
        member, size = self.member, len(body)
        if size <= PIECE_BYTES:
            self._reading = None  # from here on, the connection ends the answer
            hold_unsent(self.client_stream, self.finish(body), budget, member, size)
            return
        if not budget.acquire(member, size):
            raise self._too_much_unread()
        try:
            await self.finish_in_pieces(body)
        finally:
            budget.release(member, size)

    async def reserve(self, budget: Budget, size: int) -> None:
        """Wait until the member may hold ``size`` bytes, and count them. Raises ``overload``."""
        try:
            async with asyncio.timeout(MAX_WAIT):
                await budget.wait(self.member, size)
        except TimeoutError:
            raise self._too_much_unread() from None

    async def finish_in_pieces(self, body: bytes) -> None:
        """Send ``body``, which the caller has counted, as fast as the client reads it, and end the answer."""
        self._reading = None  # from here on, the connection ends the answer
        self.set_header("Content-Length", str(len(body)))
        last = max(0, len(body) - 1) // PIECE_BYTES * PIECE_BYTES
        try:
            for start in range(0, last, PIECE_BYTES):
                self.write(body[start : start + PIECE_BYTES])
                await self.flush()
            await self.finish(body[last:])
        except StreamClosedError:
            pass

    def _too_much_unread(self) -> Exception:
        return self.overload("too many bytes of answers wait for you: read them, then try again")

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:  # noqa: FBT001, FBT002 - Tornado's
        """Every part of every answer goes through here, errors and files too."""
        if not self._headers_written:
            limit_unsent_bytes(self.client_stream)
        written = super().flush(include_footers)
        close_unless_taken(self.client_stream, written)
        return written

    @property
    def client_stream(self) -> IOStream:
        return cast(HTTP1Connection, self.request.connection).stream
