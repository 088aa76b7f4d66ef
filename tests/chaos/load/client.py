"""A WebSocket client for load: as little work for each frame as Python can do, whole reads at a time."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .raw_websocket import frame, upgrade

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
Heard = Callable[[list[bytes]], None]


class Link(asyncio.Protocol):
    """``heard`` gets the text payloads of each read. ``lost`` is set when the connection is over;
    ``close_code`` is then the server's, or None where it ended without one.
    """

    def __init__(self, heard: Heard) -> None:
        self.lost = asyncio.Event()
        self.close_code: int | None = None
        self.joined = asyncio.get_running_loop().create_future()
        self._heard = heard
        self._data = b""
        self._finished = False

    @classmethod
    async def join(
        cls, url: str, room: str, heard: Heard, query: str = "", *, receive_buffer: int | None = None
    ) -> Link:
        """Raises OSError where there is no server, ConnectionError where it refuses.

        ``receive_buffer``: the kernel's for this socket, in bytes; a small one makes a slow reader soon felt.
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
        transport, link = await loop.create_connection(lambda: cls(heard), sock=raw)
        transport.write(upgrade(address.port, f"/rooms/{room}{query}"))
        await link.joined
        return link

    def send(self, *payloads: bytes) -> None:
        self.transport.write(b"".join([frame(TEXT, payload) for payload in payloads]))

    def close(self) -> None:
        self.transport.abort()

    def finish(self) -> None:
        """Say that nothing more will come, and hear the server out."""
        self._finished = True
        self.transport.write_eof()

    def pause(self) -> None:
        """Stop reading, as a client does that has gone to sleep."""
        self.transport.pause_reading()

    def go_on(self) -> None:
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
            self._heard(payloads)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError("the server hung up"))
        self.lost.set()

    def _answer(self, data: bytes) -> None:
        if not self._finished:
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
                self._answer(frame(PONG, payload))
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big") or 1005
                self._answer(frame(CLOSE, payload[:2]))
        self._data = data[start:]
        return payloads


async def get(url: str, path: str) -> Any:
    """The JSON of a GET. Raises OSError where there is no server, or its answer is cut or not 200."""
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
        raise ConnectionError("an answer that was cut") from error
