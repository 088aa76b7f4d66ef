"""Tornado's HTTP server, with the fast path before it on connections that send nothing but posts.

The bytes of a connection are peeked at (MSG_PEEK), and read only when a complete post has arrived; with the first other
request the connection is handed over to Tornado, with nothing read. Many clients send head and body separately:
SO_RCVLOWAT makes the system report the socket only when the rest is there, and keeps the bytes until then. So a slow
or unusual client holds no memory here, and a silent one is closed after the same time as by Tornado.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, SSLIOStream

from bqserver.model import Outcome
from bqserver.web.context import AppContext
from bqserver.web.requests import local_address

from .posts import MAX_REQUEST_BYTES, FastPath

SWEEPS_PER_TIMEOUT = 4
"""How often silent connections are searched for within the timeout: one timer for all connections."""
INTERNET_FAMILIES = (socket.AF_INET, socket.AF_INET6)

_log = logging.getLogger("bqserver.http")


class PostConnection:
    """A connection that has sent nothing but plain posts so far, one at a time. ``busy``: a post is being appended."""

    __slots__ = (
        "_address",
        "_connected_to",
        "_fast_path",
        "_listening",
        "_loop",
        "_low_water_mark",
        "_server",
        "_socket",
        "busy",
        "last_received_at",
        "stream",
    )

    def __init__(self, server: FastPathServer, fast_path: FastPath, stream: IOStream, address: tuple[Any, ...]) -> None:
        self._server = server
        self._fast_path = fast_path
        self._address = address
        self._connected_to = local_address(stream)
        self._socket = stream.socket
        self._loop = asyncio.get_running_loop()
        self._listening = False
        self._low_water_mark = 1
        self.stream = stream
        self.busy = False
        self.last_received_at = self._loop.time()
        stream.set_nodelay(True)  # a response is one write, and nothing follows it

    def listen(self) -> None:
        self._listening = True
        self.stream.io_loop.add_handler(self._socket.fileno(), self._on_readable, IOLoop.READ)

    def _pause(self) -> None:
        if self._listening:
            self._listening = False
            self.stream.io_loop.remove_handler(self._socket.fileno())

    def close(self) -> None:
        self._pause()
        self._server.forget(self)
        self.stream.close()

    def _hand_over(self, unsent: bytes = b"") -> None:
        self._set_low_water_mark(1)
        self._pause()
        self._server.forget(self)
        if unsent:
            self.stream.write(unsent)
        self._server.serve(self.stream, self._address)

    def _set_low_water_mark(self, size: int) -> bool:
        """Report the socket only when ``size`` bytes are there, or it has ended. Returns False if that changes nothing."""
        if size == self._low_water_mark:
            return False
        self._low_water_mark = size
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        except OSError:  # not on this system
            return False
        return True

    def _on_readable(self, fd: Any, events: int) -> None:
        del fd, events
        if self.busy:  # the next request, or the end, waits in the socket for the response
            self._pause()
            return
        self.last_received_at = self._loop.time()
        try:
            data = self._socket.recv(MAX_REQUEST_BYTES, socket.MSG_PEEK)
            found = self._fast_path.find(data, self._address[0], self._connected_to)
            taken = self._socket.recv(found.size) if found is not None and found.submission is not None else b""
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        except Exception:  # noqa: BLE001 - nothing was read, so this would repeat forever
            _log.exception("an internal error; Tornado handles the request")
            self._hand_over()
            return
        if not data:
            self.close()
        elif found is None:
            self._hand_over()
        elif found.submission is None:
            if not self._set_low_water_mark(found.size):
                self._hand_over()
        elif taken == data[: found.size]:
            self._set_low_water_mark(1)
            self.busy = True
            self._fast_path.hub.submit(found.submission, self._on_outcome)
        else:
            self.close()

    def _on_outcome(self, outcome: Outcome) -> None:
        data = self._fast_path.response(outcome)
        self.busy = False
        self.last_received_at = self._loop.time()
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the client has gone, or the server is closing
            self.close()
            return
        if sent < len(data):  # the client is not reading: Tornado waits for it
            self._hand_over(data[sent:])
        elif not self._listening:
            self.listen()


class FastPathServer(HTTPServer):
    """Tornado's server with the fast path before it; without it if ``context`` is None."""

    def initialize(self, *args: Any, context: AppContext | None = None, **kwargs: Any) -> None:
        super().initialize(*args, **kwargs)
        self._fast_path = None if context is None else FastPath(context)
        self._waiting: set[PostConnection] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if self._fast_path is None or isinstance(stream, SSLIOStream) or stream.socket.family not in INTERNET_FAMILIES:
            self.serve(stream, address)
            return
        try:
            connection = PostConnection(self, self._fast_path, stream, address)
        except OSError:  # it is closed already
            stream.close()
            return
        self._waiting.add(connection)
        connection.listen()
        if self._sweeping is None:
            self._sweep_later()

    def serve(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Let Tornado handle the connection from now on."""
        super().handle_stream(stream, address)

    def forget(self, connection: PostConnection) -> None:
        self._waiting.discard(connection)
        if not self._waiting and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def close_all_connections(self) -> None:
        """Close the waiting connections too. A hub that was closed before has answered the posts that it accepted."""
        for connection in list(self._waiting):
            connection.close()
        await super().close_all_connections()

    def _sweep_later(self) -> None:
        timeout = self.conn_params.header_timeout or 0
        self._sweeping = asyncio.get_running_loop().call_later(timeout / SWEEPS_PER_TIMEOUT, self._sweep, timeout)

    def _sweep(self, timeout: float) -> None:
        """Close the connections that have been silent for the timeout, as Tornado does."""
        self._sweeping = None
        deadline = asyncio.get_running_loop().time() - timeout
        for connection in list(self._waiting):
            if not connection.busy and connection.last_received_at <= deadline:
                connection.close()
        if self._waiting:
            self._sweep_later()
