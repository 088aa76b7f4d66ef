"""A request that needs no body can't make the server keep one, with or without a token."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from bqserver.testing import running_server
from chaos.load.memory import rss
from chaos.load.server_process import server_process

LENGTH = 100 * 1024 * 1024
ROUTES = ["/health", "/metrics", "/rooms", "/messages", "/rooms/lobby", "/rooms/lobby/log", "/rooms/lobby/search",
          "/rooms/lobby/join", "/rooms/lobby/parts/0", "/static/page.js", "/nothing"]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with running_server() as running:
        yield running


def send(port: int, head: str, body: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(f"{head}\r\nHost: 127.0.0.1:{port}\r\n".encode() + body)
    return client


def response(client: socket.socket) -> bytes:
    """Everything that the server sends until it closes the connection."""
    data = b""
    try:
        while chunk := client.recv(1 << 16):
            data += chunk
    except ConnectionResetError:
        pass
    return data


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_an_announced_body_is_rejected_at_the_head(server, method, path):
    with send(server.port, f"{method} {path} HTTP/1.1", b"Content-Length: %d\r\n\r\n" % LENGTH) as client:
        status = response(client).split(b" ", 2)[1]
        assert status in (b"400", b"401")  # 401: a route that takes a body by POST asks for the token first


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_without_a_length_is_dropped_and_the_connection_closed(server, path):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = b"Transfer-Encoding: chunked\r\n\r\n"
    with send(server.port, f"GET {path} HTTP/1.1", head) as client, pytest.raises(OSError):
        while True:  # until a reset or a broken pipe
            client.sendall(chunk)


def test_a_small_unused_body_is_accepted(server):
    with send(server.port, "GET /health HTTP/1.1", b"Content-Length: 2\r\nConnection: close\r\n\r\n{}") as client:
        assert b" 200 " in response(client).split(b"\r\n", 1)[0]


def test_a_thousand_held_back_bodies_cost_little_memory(tmp_path: Path):
    with server_process(tmp_path / "log.sqlite") as process, ExitStack() as stack:
        port = process.port
        with send(port, "GET /health HTTP/1.1", b"Connection: close\r\n\r\n") as client:
            response(client)
        before = rss(process.pid)
        clients = [
            stack.enter_context(send(port, "GET /health HTTP/1.1", b"Content-Length: %d\r\n\r\n" % LENGTH))
            for _ in range(1_000)
        ]
        for client in clients:
            response(client)
        assert rss(process.pid) - before < 20 * 1024 * 1024


def test_inside_jupyter_an_unused_body_ends_the_connection(home: Path, home_environ: dict[str, str], jupyter_server):
    with jupyter_server(home, home_environ) as server, ExitStack() as stack:
        port = int(server.origin.rpartition(":")[2])
        before = rss(server.process.pid)
        for path in (
            "/health",
            "/rooms",
            "/rooms/lobby",
            "/rooms/lobby/messages",
            "/rooms/lobby/log",
            "/static/page.js",
        ):
            head = f"GET {server.rooms}{path} HTTP/1.1"
            client = stack.enter_context(send(port, head, b"Content-Length: %d\r\n\r\n" % LENGTH))
            with pytest.raises(OSError):
                while True:
                    client.sendall(bytes(1 << 16))
        assert rss(server.process.pid) - before < 20 * 1024 * 1024
        with send(
            port, f"GET {server.rooms}/health HTTP/1.1", b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
        ) as client:
            assert b" 200 " in response(client).split(b"\r\n", 1)[0]
        assert server.ask("GET", "/bqserver/messages").status == 200
