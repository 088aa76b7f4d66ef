"""Connections that a gateway has accepted and hands over, with the request that it has read: it need not pass on bytes.

The gateway connects to a Unix socket next to the runtime file (mode 0600), sends the connection (SCM_RIGHTS) with the
request's length and bytes, and keeps its own connection open: that ends with the one that it has handed over, and
the other way round, so that no member stays when the gateway has ended.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from .connections import TrackedStream

LENGTH_BYTES = 4
READ_BYTES = 64 * 1024
MAX_REQUEST_BYTES = 256 * 1024


class HandedOverStream(TrackedStream):
    """The connection, which begins with ``received``: what the gateway has read of it."""

    __slots__ = ("_handover", "_received")

    def __init__(self, connection: socket.socket, received: bytes, handover: Handover) -> None:
        super().__init__(connection)
        self._received = received
        self._handover = handover

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if not self._received:
            return super().read_from_fd(buf)
        size = min(len(buf), len(self._received))
        buf[:size], self._received = self._received[:size], self._received[size:]
        return size

    def close_fd(self) -> None:
        super().close_fd()
        self._handover.close()


class Handover:
    """One connection of a gateway to the Unix socket. ``on_received`` is called when all is there."""

    def __init__(self, gateway: socket.socket, on_received: Callable[[socket.socket, bytes, Handover], None]) -> None:
        self._gateway = gateway
        self._on_received = on_received
        self._client: socket.socket | None = None
        self._data = b""
        self._end: Callable[[], None] = self.close
        gateway.settimeout(0)
        asyncio.get_running_loop().add_reader(gateway.fileno(), self._read)

    def close(self) -> None:
        if self._gateway.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._gateway.fileno())
            self._gateway.close()
        if self._client is not None:
            self._client.close()
            self._client = None

    def serve(self, stream: HandedOverStream) -> None:
        """From now on, ``stream`` is closed when the gateway ends."""
        self._client, self._data, self._end = None, b"", stream.close

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._gateway, READ_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for one in descriptors:
            self._client = socket.socket(fileno=one)
            self._client.set_inheritable(False)
        self._data += data
        size = LENGTH_BYTES + int.from_bytes(self._data[:LENGTH_BYTES])
        if not data or self._client is None or size > MAX_REQUEST_BYTES:
            self._end()
        elif len(self._data) >= max(size, LENGTH_BYTES + 1):
            self._on_received(self._client, self._data[LENGTH_BYTES:], self)
