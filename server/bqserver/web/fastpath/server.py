"""Tornado's HTTP server, with the fast path before it on connections that send nothing but posts.

The bytes of a connection are peeked at (MSG_PEEK), and read only when a complete post has arrived; with the first other
request the connection is handed over to Tornado, with nothing read. Many clients send head and body separately:
SO_RCVLOWAT makes the system report the socket only when the rest is there, and keeps the bytes until then. So a slow
or unusual client holds no memory here, and a silent one is closed after the same time as by Tornado.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, SSLIOStream
from tornado.netutil import ssl_wrap_socket
from tornado.web import Application

from bqserver.fairness.pace import close_unless_taken, hold_unsent
from bqserver.model import Outcome
from bqserver.repeats import Repeats
from bqserver.web.context import AppContext
from bqserver.web.requests import local_address

from .accepting import Acceptor, refuse
from .connections import (
    OpenConnections,
    Phase,
    PhaseDelegate,
    TrackedStream,
    TrackedTLSStream,
    set_phase,
)
from .handover import HandedOverStream, Handover
from .posts import MAX_REQUEST_BYTES, FastPath

CLOSE_TIMEOUT = 1.0
"""Seconds for which the end of the server waits for requests that depend on another server."""
INTERNET_FAMILIES = (socket.AF_INET, socket.AF_INET6)

_log = logging.getLogger("bqserver.http")
_peeked = memoryview(bytearray(MAX_REQUEST_BYTES))


class PostConnection:
    """A connection that has sent nothing but plain posts so far, one at a time. ``busy``: a post is being appended."""

    __slots__ = (
        "_address",
        "_connected_to",
        "_fast_path",
        "_listening",
        "_low_water_mark",
        "_server",
        "_socket",
        "busy",
        "stream",
    )

    def __init__(
        self, server: FastPathServer, fast_path: FastPath, stream: TrackedStream, address: tuple[Any, ...]
    ) -> None:
        self._server = server
        self._fast_path = fast_path
        self._address = address
        self._connected_to = local_address(stream)
        self._socket = stream.socket
        self._listening = False
        self._low_water_mark = 1
        self.stream = stream
        self.busy = False
        stream.close_silent = self.close
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
        self.stream.close_silent = self.stream.close
        if unsent:
            written = self.stream.write(unsent)
            close_unless_taken(self.stream, written)
            hold_unsent(self.stream, written, self._fast_path.hub.shares.outgoing, self._address[0], len(unsent))
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
        try:
            size = self._socket.recv_into(_peeked, 0, socket.MSG_PEEK)
            data = bytes(_peeked[:size])
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
            set_phase(self.stream, Phase.BODY)
            if not self._set_low_water_mark(found.size):
                self._hand_over()
        elif taken == data[: found.size]:
            self._set_low_water_mark(1)
            self.busy = True
            self.stream.phase = Phase.BUSY
            self._fast_path.hub.submit(found.submission, self._on_outcome)
        else:
            self.close()

    def _on_outcome(self, outcome: Outcome) -> None:
        data = self._fast_path.response(outcome)
        self.busy = False
        set_phase(self.stream, Phase.IDLE)
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
    """Tornado's server with the fast path before it; without it if ``context`` is None.

    ``max_open``, ``max_per_address``: connections, see ``OpenConnections``.
    """

    def initialize(  # type: ignore[override]
        self,
        application: Application,
        *,
        context: AppContext | None = None,
        max_open: int = 0,
        max_per_address: int = 0,
        **kwargs: Any,
    ) -> None:
        super().initialize(application, **kwargs)
        self._fast_path = None if context is None else FastPath(context)
        self._waiting: set[PostConnection] = set()
        self._connections_open = OpenConnections(
            max_open=max_open, max_per_address=max_per_address, idle_timeout=self.conn_params.header_timeout
        )
        self._acceptors: list[Acceptor] = []
        self._one_request = copy.copy(self.conn_params)
        self._one_request.no_keep_alive = True
        self._problem = Repeats(_log_repeats)

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        self._acceptors += [Acceptor(listener, self._on_accepted, self._on_exhausted) for listener in sockets]

    def add_handovers(self, listener: socket.socket) -> None:
        """Accept connections that gateways hand over, each for one request or WebSocket: see ``Handover``."""
        self._acceptors.append(Acceptor(listener, self._on_gateway, self._on_exhausted))

    def stop(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()

    def handle_stream(self, stream: TrackedStream | TrackedTLSStream, address: tuple[Any, ...]) -> None:  # type: ignore[override]
        if self._fast_path is None or isinstance(stream, SSLIOStream) or stream.socket.family not in INTERNET_FAMILIES:
            self.serve(stream, address)
            return
        connection = PostConnection(self, self._fast_path, stream, address)
        self._waiting.add(connection)
        connection.listen()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        delegate = super().start_request(server_conn, request_conn)
        stream = cast(HTTP1ServerConnection, server_conn).stream
        if isinstance(stream, HandedOverStream):
            cast(HTTP1Connection, request_conn).params = self._one_request  # the gateway checks each
        return PhaseDelegate(cast(TrackedStream, stream), delegate)

    def set_tls(self, context: ssl.SSLContext) -> None:
        """Use this certificate for new connections."""
        self.ssl_options = context

    def serve(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Let Tornado handle the connection from now on."""
        super().handle_stream(stream, address)

    def forget(self, connection: PostConnection) -> None:
        self._waiting.discard(connection)

    async def close_all_connections(self) -> None:
        """Close the connections of the fast path too. A hub that was closed before has answered the posts that it
        accepted.
        """
        self._connections_open.close()
        for connection in list(self._waiting):
            connection.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(super().close_all_connections(), CLOSE_TIMEOUT)

    def _on_accepted(self, connection: socket.socket, address: Any) -> None:
        host = str(address[0]) if isinstance(address, tuple) else ""
        if refusal := self._connections_open.make_room(host):
            self._warn(FULL if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE else FULL_FOR_ADDRESS)
            refuse(connection, refusal, encrypted=self.ssl_options is not None)
            return
        try:
            stream = self._make_stream(connection)
        except OSError:  # it is closed already
            connection.close()
            return
        self._connections_open.add(stream, host)
        try:
            self.handle_stream(stream, address)
        except OSError:
            stream.close()

    def _on_gateway(self, gateway: socket.socket, _: object) -> None:
        Handover(gateway, self._on_handed_over)

    def _on_handed_over(self, connection: socket.socket, received: bytes, handover: Handover) -> None:
        if refusal := self._connections_open.make_room(""):
            self._warn(FULL)
            refuse(connection, refusal, encrypted=False)
            handover.close()
            return
        stream = HandedOverStream(connection, received, handover)
        self._connections_open.add(stream, "")
        handover.serve(stream)
        self.serve(stream, ("", 0))  # the gateway names the address

    def _make_stream(self, connection: socket.socket) -> TrackedStream | TrackedTLSStream:
        if self.ssl_options is None:
            return TrackedStream(connection)
        secure = ssl_wrap_socket(connection, self.ssl_options, server_side=True, do_handshake_on_connect=False)
        return TrackedTLSStream(secure)

    def _on_exhausted(self, error: OSError) -> int:
        self._warn(f"connections have to wait: {error.strerror}; raise the limit of open files (ulimit -n)")
        return self._connections_open.evict_some()

    def _warn(self, problem: str) -> None:
        if self._problem.first(problem, problem):
            _log.warning(problem)


def _log_repeats(problem: str, repeats: int) -> None:
    _log.warning("%s (%d times more)", problem, repeats)


FULL = "connections are refused: the server is full"
FULL_FOR_ADDRESS = "connections are refused: an address has too many"
