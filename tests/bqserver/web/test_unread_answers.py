"""Answers that are not read: bounded in memory, and their connections are closed; slow readers get everything."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from bqserver.auth import tokens
from bqserver.fairness.pace import PIECE_BYTES
from bqserver.testing import running_server
from chaos.load.memory import rss
from chaos.load.server_process import ServerProcess, server_process
from support.eventually import eventually
from support.raw_http import connect, post
from support.ws_client import request

pytestmark = pytest.mark.slow("fills rooms with 12 MB")
MB = 1024 * 1024
TEXT = "\U0001f600" * 16_000
"""64 kB, so a page of 200 messages has 12.8 MB."""
MAX_GROWTH = 130 * MB
"""The outgoing share of one member (32 MB), and what two reads at once and the allocator need. Without a bound: 510 MB."""
SHORT_TIMEOUT = "import bqserver.fairness.pace as pace; pace.PIECE_TIMEOUT = 3.0; from bqserver.app import main; main()"
"""A server that waits for three seconds, not 15."""


def fill(url: str, base: str = "", times: int = 200, **headers: str) -> None:
    body = json.dumps({"user": "ada", "text": TEXT}, ensure_ascii=False).encode()
    for _ in range(times):
        assert request(url, "POST", f"{base}/messages", body, Content_Type="application/json", **headers).status == 201


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    path = tmp_path_factory.mktemp("unread") / "log.sqlite"
    with server_process(path, program=("-c", SHORT_TIMEOUT)) as server:
        fill(server.url)
        yield server


def ask(url: str, path: str, times: int = 1, **options: int) -> socket.socket:
    client = connect(url, **options)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {url.partition('//')[2]}\r\n\r\n".encode() * times)
    return client


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("path", ["/messages?limit=200", "/rooms/lobby/log?limit=200"])
def test_forty_answers_that_are_never_read_cost_little_memory(filled: ServerProcess, path: str):
    peak = before = rss(filled.pid)
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(closing(ask(filled.url, path)))
            assert request(filled.url, "GET", "/health").status == 200
            peak = max(peak, rss(filled.pid))
        whole = eventually(lambda: get_all(filled), what="a place for an answer that is read, after the timeout")
        assert len(json.loads(whole)) == 200
        assert max(peak, rss(filled.pid)) - before < MAX_GROWTH


def get_all(server: ServerProcess) -> bytes | None:
    answer = request(server.url, "GET", "/messages?limit=200")
    if answer.status == 200:
        return answer.body
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "overload", "2")
    return None


def test_a_connection_with_pipelined_requests_is_closed_when_it_reads_nothing(filled: ServerProcess):
    with closing(ask(filled.url, "/messages?limit=50", times=100, receive_buffer=1 << 17)) as client:
        eventually(lambda: is_reset(client), what="the end of the connection")


def is_reset(client: socket.socket) -> bool:
    """Whether the server has closed the connection, found out by sending; what came is not read."""
    try:
        client.send(b"\r\n")
    except OSError:
        return True
    return False


def test_a_slow_and_steady_reader_gets_everything(filled: ServerProcess):
    """It reads for longer than the timeout, a piece at a time, with twenty others that read nothing."""
    with ExitStack() as stack:
        slow = stack.enter_context(closing(ask(filled.url, "/messages?limit=60", receive_buffer=1 << 17)))
        for _ in range(20):
            stack.enter_context(closing(ask(filled.url, "/messages?limit=200")))
        data = b""
        while b"\r\n\r\n" not in data:
            data += slow.recv(1 << 16)
        head, _, body = data.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < size:
            more = slow.recv(4 * PIECE_BYTES)
            assert more, f"closed after {len(body):,} of {size:,} bytes"
            body += more
            if len(body) < 3 * MB:
                eventually(lambda: request(filled.url, "GET", "/health").status == 200)
        assert len(json.loads(body)) == 60


def test_answers_to_posts_that_are_never_read_end_the_connection(filled: ServerProcess):
    """Plain posts take the fast path, which hands over to Tornado what the socket does not take."""
    body = json.dumps({"user": "ada", "text": "x" * 32_000}).encode()
    with closing(connect(filled.url, receive_buffer=1 << 17)) as client:
        client.settimeout(0.5)
        with pytest.raises(OSError):
            while True:
                client.sendall(post(body, path="/rooms/posts/messages"))


def test_unread_answers_of_one_member_leave_room_for_another(tmp_path: Path):
    named = tmp_path / "tokens.json"
    ada, bob = (f"Bearer {tokens.add_grant(named, name)[0]}" for name in ("ada", "bob"))
    with running_server(named_tokens=str(named)) as server, ExitStack() as stack:
        fill(server.url, Authorization=bob)
        clients = [stack.enter_context(closing(connect(server.url))) for _ in range(10)]
        for client in clients:
            head = f"GET /messages?limit=200 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: {ada}\r\n\r\n"
            client.sendall(head.encode())
        statuses = [client.recv(12)[-3:] for client in clients]
        assert {b"200", b"503"} == set(statuses)
        assert len(request(server.url, "GET", "/messages?limit=200", Authorization=bob).json) == 200


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_unread_answers_inside_jupyter_cost_little_memory(home: Path, home_environ: dict[str, str], jupyter_server):
    with jupyter_server(home, home_environ) as server, ExitStack() as stack:
        bearer = f"token {server.token}"
        rooms = server.origin + server.rooms
        fill(server.origin, base=server.rooms, times=100, Authorization=bearer)
        before = rss(server.process.pid)
        for _ in range(40):
            client = stack.enter_context(closing(connect(rooms)))
            lines = f"Host: {server.origin.partition('//')[2]}\r\nAuthorization: {bearer}\r\n\r\n"
            client.sendall(f"GET {server.rooms}/messages?limit=200 HTTP/1.1\r\n{lines}".encode())
            assert server.ask("GET", "/bqserver/health").status == 200
        assert rss(server.process.pid) - before < MAX_GROWTH
