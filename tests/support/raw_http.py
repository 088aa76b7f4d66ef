"""HTTP over a plain socket: requests that no library sends, and the exact bytes of their responses."""

from __future__ import annotations

import re
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT = 30.0


def connect(url: str, *, receive_buffer: int | None = None) -> socket.socket:
    """Open a TCP connection to ``url``. ``receive_buffer``: SO_RCVBUF in bytes."""
    address = urlsplit(url)
    raw = socket.socket()
    raw.settimeout(TIMEOUT)
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.connect((address.hostname, address.port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return raw


def post(body: bytes, path: str = "/messages", **lines: str | None) -> bytes:
    """A POST of JSON; in header names ``_`` stands for ``-``, and None omits a header."""
    plain = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body))}
    headers = {**plain, **{name.replace("_", "-"): value for name, value in lines.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Reply(NamedTuple):
    status: int
    head: bytes
    body: bytes

    @property
    def normalized(self) -> tuple[bytes, bytes]:
        """The response without its times, and without the suffix of a room that is named after the server under test."""
        head = re.sub(rb"\r\nDate: [^\r]+GMT", b"\r\nDate:", self.head)
        return head, re.sub(rb'"at":\d+|(?<=room-)[ab]', b"", self.body)


def answers(raw: socket.socket, count: int) -> list[Reply]:
    """Read the next ``count`` responses, each with its Content-Length."""
    data, found = b"", []
    while len(found) < count:
        head, end, rest = data.partition(b"\r\n\r\n")
        size = int(re.search(rb"Content-Length: (\d+)", head)[1]) if end else 0
        if not end or len(rest) < size:
            more = raw.recv(1 << 16)
            assert more, f"the connection ended after {len(found)} of {count} answers and {data!r}"
            data += more
            continue
        found.append(Reply(int(head.split()[1]), head, rest[:size]))
        data = rest[size:]
    assert not data
    return found


def read_to_end(raw: socket.socket) -> bytes:
    """Read all bytes until the server closes the connection."""
    data = b""
    while more := raw.recv(1 << 16):
        data += more
    return data
