"""A minimal WebSocket client on a plain socket, for protocol violations that libraries do not allow."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit


def join(url: str, room: str = "lobby", query: str = "", *, receive_buffer: int | None = None) -> socket.socket:
    """Join a room. Returns the socket with the 101 response read and nothing after it.

    ``receive_buffer``: SO_RCVBUF in bytes.
    """
    address = urlsplit(url)
    assert address.port
    raw = socket.socket()
    raw.settimeout(60)
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.connect((address.hostname, address.port))
    raw.sendall(upgrade(address.port, f"/rooms/{room}{query}"))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += raw.recv(1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return raw


def upgrade(port: int, path: str, token: str = "") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + (f"Authorization: Bearer {token}\r\n" if token else "")
        + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def frame(opcode: int, payload: bytes = b"", *, first: int = 0x80, mask: bytes | None = b"\0\0\0\0") -> bytes:
    """A client's frame. ``first``: FIN and the reserved bits; with ``mask`` None the frame is unmasked (a violation)."""
    size = len(payload)
    masked = 0x80 if mask is not None else 0
    if size < 126:
        head = bytes((first | opcode, masked | size))
    elif size < 65536:
        head = bytes((first | opcode, masked | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first | opcode, masked | 127)) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    if not any(mask):
        return head + mask + payload
    repeated = (mask * (size // 4 + 1))[:size]
    scrambled = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + scrambled.to_bytes(size, "big")


def frames(raw: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yields (opcode, payload) of each frame from the server, until the connection ends."""
    data = b""
    while True:
        while (parsed := _parse(data)) is not None:
            opcode, payload, data = parsed
            yield opcode, payload
        try:
            chunk = raw.recv(1 << 16)
        except ConnectionError:
            return
        if not chunk:
            return
        data += chunk


def close_code(raw: socket.socket) -> int | None:
    """Read up to the close frame and return its code; None if the connection ends without one."""
    for opcode, payload in frames(raw):
        if opcode == 8:
            return int.from_bytes(payload[:2], "big") if payload else 1005
    return None


def _parse(data: bytes) -> tuple[int, bytes, bytes] | None:
    if len(data) < 2:
        return None
    size, start = data[1] & 0x7F, 2
    if size >= 126:
        start = 4 if size == 126 else 10
        if len(data) < start:
            return None
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        return None
    return data[0] & 0x0F, data[start : start + size], data[start + size :]
