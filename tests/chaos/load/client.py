"""A WebSocket client for load tests: it handles whole reads, with as little work per frame as possible."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .raw_websocket import frame, upgrade

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
OnPayloads = Callable[[list[bytes]], None]


class LoadClient(asyncio.Protocol):
    """Calls ``on_payloads`` with the text payloads of each read. ``closed`` is set when the connection has ended;
    ``close_code`` is then the server's, or None if it sent no close frame.
    """

    def __init__(self, on_payloads: OnPayloads) -> None:
        self.closed = asyncio.Event()
        self.close_code: int | None = None
        self.joined = asyncio.get_running_loop().create_future()
        self._on_payloads = on_payloads
        self._data = b""
        self._half_closed = False

    @classmethod
    async def join(
        cls,
        url: str,
        room: str,
        on_payloads: OnPayloads,
        query: str = "",
        *,
        receive_buffer: int | None = None,
        token: str = "",
    ) -> LoadClient:
        """Connect and join. Raises OSError if there is no server, ConnectionError if it refuses.

        ``receive_buffer``: SO_RCVBUF in bytes; a small one fills sooner when this client stops reading.
        """
        address = urlsplit(url)
        assert address.port
        loop = asyncio.get_running_loop()
        raw = socket.socket()
        raw.setblocking(False)
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await loop.sock_connect(raw, (address.hostname, address.port))
        except BaseException:
            raw.close()
            raise
        transport, client = await loop.create_connection(lambda: cls(on_payloads), sock=raw)
        transport.write(upgrade(address.port, f"{address.path}/rooms/{room}{query}", token))
        await client.joined
        return client

    def send(self, *payloads: bytes) -> None:
        self.transport.write(b"".join([frame(TEXT, payload) for payload in payloads]))

    def close(self) -> None:
        self.transport.abort()

    def half_close(self) -> None:
        """Shut down the sending side, and go on reading until the server closes."""
        self._half_closed = True
        self.transport.write_eof()

    def pause_reading(self) -> None:
        """Stop reading, as a suspended client does."""
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self.joined.done():
            head, end, self._data = self._data.partition(b"\r\n\r\n")
            if not end:
                self._data = head
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.joined.set_exception(ConnectionError(head.decode()))
                self.transport.abort()
                return
            self.joined.set_result(None)
        payloads = self._parse()
        if payloads:
            self._on_payloads(payloads)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError("the server closed the connection"))
        self.closed.set()

    def _reply(self, data: bytes) -> None:
        if not self._half_closed:
            self.transport.write(data)

    def _parse(self) -> list[bytes]:
        data, start, payloads = self._data, 0, []
        have = len(data)
        while have - start >= 2:
            size, body = data[start + 1], start + 2
            if size == 126:
                body = start + 4
                size = int.from_bytes(data[start + 2 : body], "big")
            elif size == 127:
                body = start + 10
                size = int.from_bytes(data[start + 2 : body], "big")
            if have < body + size:
                break
            opcode, payload = data[start] & 0x0F, data[body : body + size]
            start = body + size
            if opcode == TEXT:
                payloads.append(payload)
            elif opcode == PING:
                self._reply(frame(PONG, payload))
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big") or 1005
                self._reply(frame(CLOSE, payload[:2]))
        self._data = data[start:]
        return payloads


async def get(url: str, path: str) -> Any:
    """Returns the JSON of a GET. Raises OSError if there is no server, or the response is truncated or not 200."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.transport.abort()
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(head.decode())
    try:
        return json.loads(body)
    except ValueError as error:
        raise ConnectionError("the response was truncated") from error
