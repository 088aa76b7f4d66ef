"""Accepting connections: a pause when the process has no descriptors left, and an answer when the server is full."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from bqserver.web.errors import error_body

from .connections import Refusal

ACCEPTS_PER_TURN = 32
"""Connections accepted in one turn of the event loop: others' work goes on between them."""
EXHAUSTED_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
EXHAUSTED_PAUSE = 0.5
"""Seconds without accepting when the process has no descriptors left: new connections wait in the system's queue."""
REFUSED_RETRY_SECONDS = 10
MAX_UNREAD_BYTES = 64 * 1024


class Acceptor:
    """Passes the connections of ``listener`` to ``on_accepted``.

    ``on_exhausted`` is called when no descriptor is left for one, and returns how many it has freed; after 0 there is
    a pause.
    """

    def __init__(
        self,
        listener: socket.socket,
        on_accepted: Callable[[socket.socket, Any], None],
        on_exhausted: Callable[[OSError], int],
    ) -> None:
        self._listener = listener
        self._on_accepted = on_accepted
        self._on_exhausted = on_exhausted
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        if self._paused is not None:
            self._paused.cancel()
        self._listener.close()

    def _listen(self) -> None:
        self._paused = None
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED_ERRNOS:
                    if not self._on_exhausted(error):
                        self._loop.remove_reader(self._listener.fileno())
                        self._paused = self._loop.call_later(EXHAUSTED_PAUSE, self._listen)
                    return
                continue  # the client gave up while it waited to be accepted
            self._on_accepted(connection, address)


def refuse(connection: socket.socket, refusal: Refusal, *, encrypted: bool) -> None:
    """Answer without reading a request, and close. Over TLS nothing can be said before a handshake."""
    with suppress(OSError):
        connection.settimeout(0)
        if not encrypted:
            body = error_body(refusal.code, refusal.message)
            head = (
                f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nRetry-After: {REFUSED_RETRY_SECONDS}\r\nConnection: close\r\n\r\n"
            )
            connection.send(head.encode() + body)
            connection.recv(MAX_UNREAD_BYTES)  # unread bytes would turn the close into a reset
    connection.close()
