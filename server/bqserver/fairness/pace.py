"""Ends transfers that occupy memory without making progress: answers that the client does not read, bodies that it does not send."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from tornado.iostream import IOStream

from .budget import Budget

PIECE_BYTES = 32 * 1024
PIECE_TIMEOUT = 15.0
"""Seconds in which a client must take a piece of an answer, or send one of a body: 2 kB a second."""
UNSENT_BYTES = 128 * 1024
"""Bytes that the system may hold unsent for one connection. By default they are megabytes, and it reports room for more
only when a third of them has left, so a slow reader would seem to read nothing for minutes.
"""
_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)


def limit_unsent_bytes(stream: IOStream) -> None:
    """Call this before an answer; not for a WebSocket, whose frames the system may take as fast as they come. Without
    effect where the system does not have the option.
    """
    if _NOTSENT_LOWAT is not None and stream.socket is not None:
        with contextlib.suppress(OSError):  # no TCP, or closed
            stream.socket.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_BYTES)


def close_unless_taken(stream: IOStream, written: asyncio.Future[None]) -> None:
    """Close ``stream`` unless ``written``, the end of a write of one piece, is done within PIECE_TIMEOUT."""
    if written.done():
        return

    def close() -> None:
        if not written.done():
            stream.close()

    timer = asyncio.get_running_loop().call_later(PIECE_TIMEOUT, _after_input, close)
    written.add_done_callback(lambda _: timer.cancel())


def _after_input(callback: Callable[[], None], turns: int = 5) -> None:
    """Call ``callback`` after what the sockets have ready now, which a busy loop processes later than its timers."""
    if turns:
        asyncio.get_running_loop().call_soon(_after_input, callback, turns - 1)
    else:
        callback()


def hold_unsent(stream: IOStream, written: asyncio.Future[None], budget: Budget, member: str, size: int) -> None:
    """Count ``size`` bytes for ``member`` until they are written; close ``stream`` if it may not hold that many."""
    if written.done():
        return
    if budget.acquire(member, size):
        written.add_done_callback(lambda _: budget.release(member, size))
    else:
        stream.close()


class BodyClock:
    """Calls ``on_late`` unless a piece of a body comes in each PIECE_TIMEOUT, until ``stop``."""

    def __init__(self, on_late: Callable[[], None]) -> None:
        self._on_late = on_late
        self._received = self._checked = 0
        self._stopped = False
        self._timer = asyncio.get_running_loop().call_later(PIECE_TIMEOUT, _after_input, self._check)

    def received(self, size: int) -> None:
        self._received += size

    def stop(self) -> None:
        self._stopped = True
        self._timer.cancel()

    def _check(self) -> None:
        if self._stopped:
            return
        if self._received - self._checked < PIECE_BYTES:
            self._on_late()
            return
        self._checked = self._received
        self._timer = asyncio.get_running_loop().call_later(PIECE_TIMEOUT, _after_input, self._check)
