"""Requests whose head is made to be slow to parse: the server's work for each is bounded, and it answers others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from bqserver.testing import RunningServer, running_server
from chaos.load.raw_websocket import upgrade
from support.raw_http import connect
from support.ws_client import request

SIZE = 60_000
"""Bytes, of the 64 KiB that Tornado reads of a head."""
BODY_SIZE = 16_000
MAX_WORK = 0.5
"""Seconds of processor time. Tornado 6.4 takes 5 or more for a cookie of escapes."""


def filled(unit: str, size: int = SIZE) -> str:
    return unit * (size // len(unit))


def numbered(form: str) -> str:
    return "".join(form % number for number in range(SIZE // len(form % 9999)))


def multipart(part: str) -> tuple[str, str]:
    return "Content-Type: multipart/form-data; boundary=b", f"--b\r\n{part}\r\n\r\nx\r\n--b--\r\n"


HEADS = {
    "cookie of escapes": 'Cookie: a="' + filled("\\0") + '"',
    "cookie of backslashes": 'Cookie: a="' + filled("\\") + '"',
    "cookie of escaped quotes": 'Cookie: a="' + filled('\\"') + '"',
    "cookie of octal numbers": 'Cookie: a="' + filled("\\101") + '"',
    "cookie of quotes": "Cookie: " + filled('"'),
    "cookie of separators": "Cookie: " + filled(";"),
    "many cookies": "Cookie: " + numbered("c%d=v;"),
    "signature of digits": "Cookie: bqserver-{port}=" + filled("2"),
    "signature of fields": "Cookie: bqserver-{port}=" + filled("2|1:0|"),
    "token": "Authorization: Bearer " + filled("a"),
    "origin": "Origin: http://" + filled("a."),
    "entity tags": "If-None-Match: " + filled('W/"'),
    "ranges": "Range: bytes=" + filled("0-1,"),
    "forwarded": "X-Forwarded-For: " + filled("1,"),
    "one header repeated": filled("X-A: b\r\n").removesuffix("\r\n"),
    "many headers": numbered("X-%d: b\r\n").removesuffix("\r\n"),
    "parameters of a type": 'Content-Type: multipart/form-data; a="' + filled(";") + '"',
}
BODIES = {
    "parameters of a part": multipart('Content-Disposition: form-data; a="' + filled(";", BODY_SIZE) + '"'),
    "headers of a part": multipart(filled("X-A: b\r\n", BODY_SIZE).removesuffix("\r\n")),
    "parts": multipart(filled("a: b\r\n\r\nx\r\n--b\r\n", BODY_SIZE) + "a: b"),
    "form": ("Content-Type: application/x-www-form-urlencoded", filled("a&", BODY_SIZE)),
}
REQUESTS = {
    **{name: ("GET /messages", line, "") for name, line in HEADS.items()},
    **{name: ("POST /health", line, body) for name, (line, body) in BODIES.items()},
    "query": ("GET /messages?" + filled("a&"), "X-A: b", ""),
    "path": ("GET /" + filled("%2F"), "X-A: b", ""),
}
HANDSHAKES = {
    "protocols": "Sec-WebSocket-Protocol: " + filled("a,"),
    "extensions": "Sec-WebSocket-Extensions: " + filled("permessage-deflate;a,"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


def check_work(server: RunningServer, sent: bytes) -> None:
    """Send ``sent``; it and a request of another client, which comes after it, are answered for a little work."""
    began = time.process_time()  # the server is a thread of this process
    with closing(connect(server.url)) as hostile:
        hostile.sendall(sent)
        assert request(server.url, "GET", "/health").status == 200
        assert hostile.recv(1 << 16).startswith(b"HTTP/1.1 ")
    assert time.process_time() - began < MAX_WORK


@pytest.mark.parametrize("name", REQUESTS)
def test_a_hostile_head_costs_little(name: str, server: RunningServer) -> None:
    start, line, body = REQUESTS[name]
    head = f"{start} HTTP/1.1\r\nHost: 127.0.0.1:{{port}}\r\n{line}\r\n".replace("{port}", str(server.port))
    check_work(server, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())


@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_hostile_handshake_costs_little(name: str, server: RunningServer) -> None:
    head = upgrade(server.port, "/rooms/lobby/join").removesuffix(b"\r\n")
    check_work(server, head + f"Authorization: Bearer {server.token}\r\n{HANDSHAKES[name]}\r\n\r\n".encode())
