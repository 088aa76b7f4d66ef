"""Connections take descriptors: strangers that hold many of them stop neither members nor requests."""

from __future__ import annotations

import asyncio
import json
import resource
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from bqserver.testing import running_server
from bqserver.web.fastpath import connections
from chaos.load.raw_websocket import join
from chaos.load.server_process import ServerProcess, server_process
from support.eventually import eventually
from support.ws_client import member, request
from tornado.iostream import IOStream

FILES = 256


@contextmanager
def few_files(log: Path, *options: str) -> Iterator[ServerProcess]:
    """A server process that may open ``FILES`` files."""
    limited = ("sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh")
    with server_process(log, *options, prefix=limited) as server:
        yield server


def connect(port: int, count: int, stack: ExitStack) -> list[socket.socket]:
    return [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(count)]


def closed(clients: Iterable[socket.socket]) -> list[socket.socket]:
    """Those that the server has closed. They have received nothing."""
    return select.select(list(clients), [], [], 0)[0]


def open_files(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def test_idle_connections_leave_descriptors_for_members_requests_and_the_log(tmp_path: Path):
    with few_files(tmp_path / "log.sqlite") as server, member(server.url) as ada, ExitStack() as stack:
        ada.until("synced")
        idle = connect(server.port, 400, stack)
        for number in range(3):
            ada.say("still here", cid=f"c{number}", user="ada")
            assert ada.until("ack")["cid"] == f"c{number}"
            assert request(server.url, "GET", "/health").status == 200
            assert request(server.url, "POST", "/messages", {"user": "bob", "text": "hi"}).status == 201
            found = request(server.url, "GET", "/rooms/lobby/search?q=still")  # opens files of its own
            assert len(found.json) == number + 1
        assert open_files(server) < FILES - 40
        assert len(closed(idle)) > 200
        assert server.stop()[0] == 0
        assert server.stderr_output() == ""


def test_without_descriptors_the_server_waits_and_says_so_once(tmp_path: Path):
    with server_process(tmp_path / "log.sqlite") as server, member(server.url) as ada, ExitStack() as stack:
        ada.until("synced")
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (open_files(server) + 10, limits[1]))
        connect(server.port, 100, stack)
        eventually(lambda: "connections have to wait" in server.stderr_output(), what="a line in the log")
        for number in range(100):
            ada.say("still here", cid=f"c{number}", user="ada")
            ada.until("ack")
        assert request(server.url, "GET", "/health").status == 200  # in the place of an idle connection
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        assert request(server.url, "GET", "/health").status == 200
        assert server.stop()[0] == 0
        assert len(server.stderr_output().splitlines()) == 1


def test_a_server_that_is_full_of_members_says_so(tmp_path: Path):
    with few_files(tmp_path / "log.sqlite", "--ChatServer.max_connections=0") as server, ExitStack() as stack:
        for _ in range(FILES - 64):
            stack.enter_context(join(server.url))
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
                head, _, body = client.recv(1000).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 10" in head
            assert json.loads(body)["error"]["code"] == "full"
        assert server.stop()[0] == 0
        assert server.stderr_output().count("the server is full") == 1


def test_connections_of_one_address_are_limited_and_the_silent_ones_go_first():
    with (
        running_server(open=True, max_connections_each=1) as server,
        member(server.url) as ada,
        ExitStack() as stack,
    ):
        ada.until("synced")
        idle = connect(server.port, 100, stack)
        eventually(lambda: len(closed(idle)) >= 100 - 37, what="the end of the oldest connections")
        assert idle[-1] not in closed(idle)
        assert request(server.url, "GET", "/health").status == 200
        ada.say("still here", cid="c", user="ada")
        assert ada.until("ack")["cid"] == "c"


def test_behind_a_proxy_all_connections_come_from_one_address():
    with running_server(behind_proxy=True, max_connections_each=1) as server, ExitStack() as stack:
        idle = connect(server.port, 100, stack)
        assert request(server.url, "GET", "/health").status == 200
        assert closed(idle) == []


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\n", b"POST /messages HTTP/1.1\r\nHost: a\r\n"])
def test_a_connection_without_a_whole_head_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "SWEEP_INTERVAL", 0.05)
    with running_server(open=True) as server, ExitStack() as stack, member(server.url) as ada:
        ada.until("synced")
        (working,) = connect(server.port, 1, stack)
        working.sendall(b"POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        working.sendall(b"Content-Length: 29\r\n\r\n")
        assert request(server.url, "GET", "/health").status == 200  # what came before it has been read
        monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.2)
        (slow,) = connect(server.port, 1, stack)
        with suppress(ConnectionError):  # closed already, on a busy machine
            slow.sendall(sent)
        ended = False
        while not ended:  # a header line at a time, until the server closes the connection
            try:
                if sent:
                    slow.sendall(b"X: y\r\n")
                slow.settimeout(0.05)
                ended = slow.recv(1) == b""
            except TimeoutError:
                pass
            except ConnectionError:
                ended = True
        working.sendall(b'{"user": "bob", "text": "hi"}')
        assert working.recv(100).startswith(b"HTTP/1.1 201 ")
        ada.say("still here", cid="c", user="ada")
        assert ada.until("ack")["cid"] == "c"


def test_a_connection_between_two_requests_may_be_silent_for_longer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "SWEEP_INTERVAL", 0.05)
    get = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = b'{"user": "bob", "text": "hi"}'
    post = (
        b"POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    )
    with running_server(open=True) as server, ExitStack() as stack:
        used = connect(server.port, 2, stack)
        for client, sent in zip(used, (get, post % (len(body), body)), strict=True):
            client.sendall(sent)
            assert client.recv(1000).startswith(b"HTTP/1.1 20")
        monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.2)
        (new,) = connect(server.port, 1, stack)
        assert new.recv(1) == b""  # later than the others, and closed
        assert closed(used) == []


def test_a_body_that_keeps_coming_may_take_longer_than_a_silence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "SWEEP_INTERVAL", 0.05)
    monkeypatch.setattr("bqserver.app.HTTP_IDLE_TIMEOUT", 3.0)
    body = b'{"user": "bob", "text": "hi"}'
    head = b"POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with running_server(open=True) as server, ExitStack() as stack:
        steady, silent = connect(server.port, 2, stack)
        steady.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")  # the fast path takes no such body
        silent.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        while not select.select([silent], [], [], 0.1)[0]:  # until it is closed
            steady.sendall(b"1\r\n \r\n")
        steady.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert steady.recv(100).startswith(b"HTTP/1.1 201 ")


def test_a_connection_that_is_followed_holds_no_larger_dict_than_tornados():
    async def scenario() -> None:
        with ExitStack() as stack:
            ends = [stack.enter_context(one) for one in socket.socketpair()]
            plain, followed = IOStream(ends[0]), connections.TrackedStream(ends[1])
            connections.OpenConnections().add(followed, "127.0.0.1")
            assert vars(followed).keys() == vars(plain).keys()
            followed.close()
            plain.close()

    asyncio.run(scenario())
