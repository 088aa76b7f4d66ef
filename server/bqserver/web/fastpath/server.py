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
from bqserver.web.handler import AppContext, own_address

from .posts import LONGEST, Shortcut

SWEEPS = 4
"""Looks for silent connections in the time that one may be silent: a timer for all, and none for each."""
INTERNET = (socket.AF_INET, socket.AF_INET6)

_log = logging.getLogger("bqserver.http")


class Connection:
    """A connection that has brought nothing but plain posts so far, one at a time."""

    __slots__ = (
        "_address",
        "_connected_to",
        "_listening",
        "_loop",
        "_server",
        "_shortcut",
        "_socket",
        "_wanted",
        "busy",
        "heard",
        "stream",
    )

    def __init__(
        self, server: ShortcutServer, shortcut: Shortcut, stream: IOStream, address: tuple[Any, ...]
    ) -> None:
        self._server = server
        self._shortcut = shortcut
        self._address = address
        self._connected_to = own_address(stream)
        self._socket = stream.socket
        self._loop = asyncio.get_running_loop()
        self._listening = False
        self._wanted = 1
        self.stream = stream
        self.busy = False
        """A post is on its way into the log."""
        self.heard = self._loop.time()
        stream.set_nodelay(True)  # an answer is one write, and nothing comes after it

    def listen(self) -> None:
        self._listening = True
        self.stream.io_loop.add_handler(self._socket.fileno(), self._look, IOLoop.READ)

    def _pause(self) -> None:
        if self._listening:
            self._listening = False
            self.stream.io_loop.remove_handler(self._socket.fileno())

    def close(self) -> None:
        self._pause()
        self._server.forget(self)
        self.stream.close()

    def _leave(self, unsent: bytes = b"") -> None:
        self._want(1)
        self._pause()
        self._server.forget(self)
        if unsent:
            self.stream.write(unsent)
        self._server.serve(self.stream, self._address)

    def _want(self, size: int) -> bool:
        """Be called only when so many bytes are there, or no more will be. False: that is no news."""
        if size == self._wanted:
            return False
        self._wanted = size
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        except OSError:  # not on this system
            return False
        return True

    def _look(self, fd: Any, events: int) -> None:
        del fd, events
        if self.busy:  # what comes next, or the end, waits in the socket for the answer
            self._pause()
            return
        self.heard = self._loop.time()
        try:
            data = self._socket.recv(LONGEST, socket.MSG_PEEK)
            found = self._shortcut.find(data, self._address[0], self._connected_to)
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
            self._leave()
            return
        if not data:
            self.close()
        elif found is None:
            self._leave()
        elif found.submission is None:
            if not self._want(found.size):
                self._leave()
        elif taken == data[: found.size]:
            self._want(1)
            self.busy = True
            self._shortcut.hub.submit(found.submission, self._answer)
        else:
            self.close()

    def _answer(self, outcome: Outcome) -> None:
        data = self._shortcut.answer(outcome)
        self.busy = False
        self.heard = self._loop.time()
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # it has gone, or was closed with the server
            self.close()
            return
        if sent < len(data):  # it doesn't read: Tornado waits for it, and for nothing more of it meanwhile
            self._leave(data[sent:])
        elif not self._listening:
            self.listen()


class ShortcutServer(HTTPServer):
    """Tornado's server with the shortcut before it; ``service`` None: without it."""

    def initialize(self, *args: Any, service: AppContext | None = None, **kwargs: Any) -> None:
        super().initialize(*args, **kwargs)
        self._shortcut = None if service is None else Shortcut(service)
        self._held: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if self._shortcut is None or isinstance(stream, SSLIOStream) or stream.socket.family not in INTERNET:
            self.serve(stream, address)
            return
        try:
            connection = Connection(self, self._shortcut, stream, address)
        except OSError:  # it is over already
            stream.close()
            return
        self._held.add(connection)
        connection.listen()
        if self._sweeping is None:
            self._sweep_later()

    def serve(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Tornado's from here on."""
        super().handle_stream(stream, address)

    def forget(self, connection: Connection) -> None:
        self._held.discard(connection)
        if not self._held and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def close_all_connections(self) -> None:
        """Those whose posts are under way too: a hub that was closed before has answered what it took."""
        for connection in list(self._held):
            connection.close()
        await super().close_all_connections()

    def _sweep_later(self) -> None:
        patience = self.conn_params.header_timeout or 0
        self._sweeping = asyncio.get_running_loop().call_later(patience / SWEEPS, self._sweep, patience)

    def _sweep(self, patience: float) -> None:
        """Silent ones are closed, as Tornado does with its own."""
        self._sweeping = None
        deadline = asyncio.get_running_loop().time() - patience
        for connection in list(self._held):
            if not connection.busy and connection.heard <= deadline:
                connection.close()
        if self._held:
            self._sweep_later()
