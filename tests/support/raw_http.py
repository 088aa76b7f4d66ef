"""HTTP by hand, over a bare socket: requests as no library sends them, and their answers to the last byte."""

from __future__ import annotations

import re
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT = 30.0


def connect(url: str, *, receive_buffer: int | None = None) -> socket.socket:
    """``receive_buffer``: the kernel's, in bytes."""
    address = urlsplit(url)
    raw = socket.socket()
    raw.settimeout(TIMEOUT)
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.connect((address.hostname, address.port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return raw


def post(body: bytes, path: str = "/messages", **lines: str | None) -> bytes:
    """A POST of JSON; header names take ``_`` for ``-``, and None leaves one out."""
    plain = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body))}
    told = {**plain, **{name.replace("_", "-"): value for name, value in lines.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value is not None)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Reply(NamedTuple):
    status: int
    head: bytes
    body: bytes

    @property
    def normalized(self) -> tuple[bytes, bytes]:
        """The answer without the times in it, and without the name of a room that is called like a test's side."""
        head = re.sub(rb"\r\nDate: [^\r]+GMT", b"\r\nDate:", self.head)
        return head, re.sub(rb'"at":\d+|(?<=room-)[ab]', b"", self.body)


def answers(raw: socket.socket, count: int) -> list[Reply]:
    """The next answers, each as long as it says."""
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
    """All that comes until the server ends the connection."""
    data = b""
    while more := raw.recv(1 << 16):
        data += more
    return data
