"""One WebSocket: the `websockets` sans-I/O protocol over a Tornado stream, with one bounded, direct write.

Tornado parses the upgrade request and hands over its stream; ``Decoder`` reads it. Broadcast bytes bypass both: they
are framed once by ``text_frame`` and go directly to the socket while nothing is queued before them, so order holds.
Only public API of both libraries is used.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from websockets.datastructures import Headers
from websockets.extensions import Extension
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from bqwidget.protocol import SUBPROTOCOL

from .compression import PERMESSAGE_DEFLATE, has_full_window
from .decoder import Decoder, logger
from .framing import SocketSend
from .turns import Turns

READ_BYTES = 64 * 1024
CLOSE_TIMEOUT = 5.0
"""Seconds that a peer has to answer the close frame before its socket is closed."""


class Handshake:
    """The opening handshake. ``response``: 101, or the HTTP answer that refuses it; ``extensions``: those agreed on."""

    def __init__(self, path: str, headers: Mapping[str, str]) -> None:
        protocol = ServerProtocol(
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            select_subprotocol=_select,
            extensions=[PERMESSAGE_DEFLATE],
            logger=logger,
        )
        self.response: Response = protocol.accept(Request(path, Headers(headers)))
        self.extensions: Sequence[Extension] = protocol.extensions

    @property
    def accepted(self) -> bool:
        return self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS


class WebSocketConnection:
    """An accepted WebSocket. ``buffer``: bytes that may be queued for a slow reader; ``max_frame``: bytes of the
    longest message it accepts; ``turns``: shared with the server's other connections.

    ``open``: frames may still be sent. ``last_received_at``: when any bytes, such as a pong, arrived last (loop time).
    ``compresses``: it takes compressed frames in place of plain ones. ``send``: the socket's. ``on_buffered`` is called
    whenever ``direct_send`` is no longer possible.
    """

    __slots__ = (
        "_buffer",
        "_decoder",
        "_direct",
        "_discards",
        "_protocol",
        "_queued",
        "_stream",
        "_turns",
        "compresses",
        "last_received_at",
        "on_buffered",
        "open",
        "send",
    )

    def __init__(self, stream: IOStream, handshake: Handshake, *, buffer: int, max_frame: int, turns: Turns) -> None:
        self._stream = stream
        self._turns = turns
        self._decoder = Decoder(max_frame, handshake.extensions)
        self._protocol = self._decoder.protocol
        self._buffer = buffer
        self._queued = 0
        self._discards = False
        self._direct = not isinstance(stream, SSLIOStream)
        self.send: SocketSend = stream.socket.send
        self.on_buffered: Callable[[], None] = _ignore
        self.last_received_at = asyncio.get_running_loop().time()
        self.open = True
        self.compresses = any(has_full_window(extension) for extension in handshake.extensions)
        if stream.socket.family != getattr(socket, "AF_UNIX", None):
            stream.set_nodelay(True)
        self._enqueue(handshake.response.serialize())

    @property
    def frames_received(self) -> int:
        """Frames so far, control frames and fragments too."""
        return self._decoder.frames

    @property
    def direct_send(self) -> SocketSend | None:
        """The socket's ``send`` while whole frames may be given to it, because nothing is queued; else None."""
        return self.send if self.open and self._direct and not self._queued else None

    async def receive(self) -> list[str | bytes] | None:
        """The messages that arrived, in order, maybe none; None when the connection is over."""
        if self._decoder.pending and not self._discards:
            data = b""
            await self._turns.next()
        else:
            try:
                reading = asyncio.ensure_future(self._stream.read_bytes(READ_BYTES, partial=True))
                if reading.done():  # without this, a peer that never pauses would stop the event loop
                    await asyncio.sleep(0)
                data = await reading
            except StreamClosedError:
                self._mark_closed()
                return None
            self.last_received_at = asyncio.get_running_loop().time()
        if self._discards:
            return []
        messages = self._decoder.feed(data)
        if self._protocol.writes:
            self._write_protocol()
        return messages

    def write(self, data: bytes) -> bool:
        """Send whole frames, now or as soon as the socket takes them. Returns False if nothing of ``data`` will be sent,
        because the connection is over or ``buffer`` bytes are queued. With an empty buffer any length is accepted.
        """
        if not self.open:
            return False
        if self._direct and not self._queued:
            try:
                sent = self.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:  # the peer has gone; ``receive`` ends in the next turn
                self.abort()
                return False
            if sent == len(data):
                return True
            data = data[sent:]
        elif self._queued and self._queued + len(data) > self._buffer:
            return False
        self._enqueue(data)
        return self.open

    async def drain(self, data: bytes) -> bool:
        """Write, and wait until the socket has taken all of it. Returns False if the connection is over."""
        if not self.open:
            return False
        self._queued += 1  # no direct send: later frames have to queue behind this one
        self.on_buffered()
        try:
            await self._stream.write(data)
        except StreamClosedError:
            self._mark_closed()
        finally:
            self._queued -= 1
        return self.open

    def close(self, code: int, reason: str = "", *, discard_input: bool = False) -> None:
        """Start the closing handshake; the socket of a peer that does not answer is closed after ``CLOSE_TIMEOUT``.

        ``discard_input``: read on, so that the peer gets the close frame and no reset, but decode nothing.
        """
        if not self.open:
            return
        self._discards = discard_input
        self._mark_closed()
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
        self._write_protocol()
        if discard_input:
            self._end_output()  # the peer's close frame is not decoded: it ends the connection when ours arrives
        else:
            self._close_later()

    def abort(self) -> None:
        """Drop the connection without a closing handshake."""
        self._mark_closed()
        self._stream.close()

    def _write_protocol(self) -> None:
        """Queue the protocol's own output: handshake, pongs and close frames.

        A peer that sends pings and reads no pongs is dropped: pongs are bounded by ``buffer`` too.
        """
        if self._queued > self._buffer:
            self.abort()
            return
        for data in self._protocol.data_to_send():
            if data:
                self._enqueue(data)
            else:
                self._end_output()
        if self._protocol.state is not State.OPEN:
            self._mark_closed()

    def _enqueue(self, data: bytes) -> None:
        size = len(data)
        try:
            done = self._stream.write(data)
        except StreamClosedError:
            self._mark_closed()
            return
        if not done.done():
            self._queued += size
            self.on_buffered()
            done.add_done_callback(lambda _: self._on_written(size))

    def _on_written(self, size: int) -> None:
        self._queued -= size

    def _end_output(self) -> None:
        """The protocol has nothing more to send: finish when its last bytes are written."""
        self._mark_closed()
        if not self._stream.closed():
            self._stream.write(b"").add_done_callback(lambda _: self._finish())
            self._close_later()

    def _finish(self) -> None:
        """Half-close the socket, so that unread input does not reset the connection before the close frame is read.

        TLS has no half-close; the stream is closed when the peer's close frame has arrived, as nothing is unread then.
        """
        stream = self._stream
        if stream.closed():
            return
        if not self._direct:
            if self._protocol.close_rcvd is not None:
                stream.close()
            return
        try:
            stream.socket.shutdown(socket.SHUT_WR)
        except OSError:
            stream.close()

    def _mark_closed(self) -> None:
        self.open = False
        self.on_buffered()
        self.on_buffered = _ignore  # it refers to the peer, which refers to this connection

    def _close_later(self) -> None:
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._stream.close)


def _ignore() -> None:
    pass


def _select(_protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """A client that names no subprotocol is served too, as by the recipe's server."""
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None
