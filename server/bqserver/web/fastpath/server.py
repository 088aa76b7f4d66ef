"""Tornado's HTTP server with the shortcut before it: it looks into the sockets of those who do nothing but post.

A connection is looked at (MSG_PEEK) and not read until there is a whole post in it; with the first request that is
anything else it becomes Tornado's for good, with nothing read. Many clients send a head and its body apart: the
system tells when the rest is there (SO_RCVLOWAT), and keeps what has come till then. So a slow or an odd client
never holds anything here, and whoever is silent is closed by the same patience as Tornado's.
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
from bqserver.web.handler import local_address

from .posts import MAX_REQUEST_BYTES, FastPath

SWEEPS_PER_TIMEOUT = 4
"""Looks for silent connections in the time that one may be silent: a timer for all, and none for each."""
INTERNET_FAMILIES = (socket.AF_INET, socket.AF_INET6)

_log = logging.getLogger("bqserver.http")


class PostConnection:
    """A connection that has brought nothing but plain posts so far, one at a time."""

    __slots__ = (
        "_address",
        "_connected_to",
        "_fast_path",
        "_listening",
        "_loop",
        "_server",
        "_socket",
        "_wanted",
        "busy",
        "last_received_at",
        "stream",
    )

    def __init__(
        self, server: FastPathServer, shortcut: FastPath, stream: IOStream, address: tuple[Any, ...]
    ) -> None:
        self._server = server
        self._fast_path = shortcut
        self._address = address
        self._connected_to = local_address(stream)
        self._socket = stream.socket
        self._loop = asyncio.get_running_loop()
        self._listening = False
        self._wanted = 1
        self.stream = stream
        self.busy = False
        """A post is on its way into the log."""
        self.last_received_at = self._loop.time()
        stream.set_nodelay(True)  # an answer is one write, and nothing comes after it

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
        """Be called only when so many bytes are there, or no more will be. False: that is no news."""
        if size == self._wanted:
            return False
        self._wanted = size
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        except OSError:  # not on this system
            return False
        return True

    def _on_readable(self, fd: Any, events: int) -> None:
        del fd, events
        if self.busy:  # what comes next, or the end, waits in the socket for the answer
            self._pause()
            return
        self.last_received_at = self._loop.time()
        try:
            data = self._socket.recv(MAX_REQUEST_BYTES, socket.MSG_PEEK)
            found = self._fast_path.find(data, self._address[0], self._connected_to)
            taken = (
                self._socket.recv(found.size) if found is not None and found.submission is not None else b""
            )
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        except Exception:  # noqa: BLE001 - nothing was taken, and it would be looked at for ever
            _log.exception("a request is left to Tornado for an error of ours")
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
        except OSError:  # it has gone, or was closed with the server
            self.close()
            return
        if sent < len(data):  # it doesn't read: Tornado waits for it, and for nothing more of it meanwhile
            self._hand_over(data[sent:])
        elif not self._listening:
            self.listen()


class FastPathServer(HTTPServer):
    """Tornado's server with the shortcut before it; ``service`` None: without it."""

    def initialize(self, *args: Any, context: AppContext | None = None, **kwargs: Any) -> None:
        super().initialize(*args, **kwargs)
        self._fast_path = None if context is None else FastPath(context)
        self._waiting: set[PostConnection] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if (
            self._fast_path is None
            or isinstance(stream, SSLIOStream)
            or stream.socket.family not in INTERNET_FAMILIES
        ):
            self.serve(stream, address)
            return
        try:
            connection = PostConnection(self, self._fast_path, stream, address)
        except OSError:  # it is over already
            stream.close()
            return
        self._waiting.add(connection)
        connection.listen()
        if self._sweeping is None:
            self._sweep_later()

    def serve(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Tornado's from here on."""
        super().handle_stream(stream, address)

    def forget(self, connection: PostConnection) -> None:
        self._waiting.discard(connection)
        if not self._waiting and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def close_all_connections(self) -> None:
        """Those whose posts are under way too: a hub that was closed before has answered what it took."""
        for connection in list(self._waiting):
            connection.close()
        await super().close_all_connections()

    def _sweep_later(self) -> None:
        patience = self.conn_params.header_timeout or 0
        self._sweeping = asyncio.get_running_loop().call_later(
            patience / SWEEPS_PER_TIMEOUT, self._sweep, patience
        )

    def _sweep(self, patience: float) -> None:
        """Silent ones are closed, as Tornado does with its own."""
        self._sweeping = None
        deadline = asyncio.get_running_loop().time() - patience
        for connection in list(self._waiting):
            if not connection.busy and connection.last_received_at <= deadline:
                connection.close()
        if self._waiting:
            self._sweep_later()
