"""WebSockets through the front door: the local server gets their connections, or else Jupyter passes their bytes on."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import psutil
import pytest
from chaos.load.raw_websocket import frame, frames, upgrade
from support import raw_http
from support.certificate import self_signed, unverified_context
from support.eventually import eventually
from support.jupyter_server import JupyterServer
from support.ws_client import member, request
from websockets.exceptions import ConnectionClosed, InvalidStatus

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets on this system")


def local(home: Path) -> dict:
    return json.loads((home / "runtime" / "server.json").read_text())


def members(home: Path) -> int:
    """How many the local server has in its lobby."""
    running = local(home)
    rooms = request(running["url"], "GET", "/rooms", Authorization=f"Bearer {running['token']}").json
    return sum(room["members"] for room in rooms if room["name"] == "lobby")


def owners(port: int, *pids: int) -> list[int]:
    """Which of the processes have the server's end of the connection from ``port``."""
    return [pid for pid in pids if any(one.raddr and one.raddr.port == port for one in connections(pid))]


def connections(pid: int) -> list:
    return psutil.Process(pid).net_connections("tcp")


@pytest.fixture(params=["handed over", "without the socket", "over TLS"])
def way(request, home, home_environ, missing, jupyter_server):
    """``server, options, is_handed_over``; ``options``: of ``member``."""
    args: list[str] = []
    if request.param == "over TLS":
        cert, key = self_signed(home, missing)
        args = [f"--ServerApp.certfile={cert}", f"--ServerApp.keyfile={key}"]
    with jupyter_server(home, home_environ, *args) as server:
        if request.param == "without the socket":
            (home / "runtime" / "server.socket").unlink()
        options = {"ssl": unverified_context() if args else None, "Authorization": f"token {server.token}"}
        yield server, options, request.param == "handed over"


def test_members_talk_and_go_when_jupyter_is_killed(way: tuple[JupyterServer, dict, bool], home: Path):
    server, options, is_handed_over = way
    url = server.origin + server.rooms
    with member(url, **options) as one, member(url, **options) as other:
        one.until("synced")
        other.until("synced")
        port = one.socket.socket.getsockname()[1]
        local_pid = local(home)["pid"]
        owner = local_pid if is_handed_over else server.process.pid
        eventually(lambda: owners(port, local_pid, server.process.pid) == [owner], what="one owner of the connection")
        one.say("x" * 30_000)
        assert one.until("ack")["seq"] == other.until("message")["entry"]["seq"]
        other.socket.close()
        eventually(lambda: members(home) == 1, what="the end of one connection")
        server.process.kill()
        with pytest.raises(ConnectionClosed):
            one.until("nothing")
    eventually(lambda: members(home) == 0, what="the end of the other")


def test_a_refused_join_is_answered_and_ends_the_connection(way: tuple[JupyterServer, dict, bool]):
    server, options, _ = way
    with pytest.raises(InvalidStatus) as refused, member(server.origin + server.rooms, query="?after=x", **options):
        pass
    answer = refused.value.response
    assert (answer.status_code, json.loads(answer.body)["error"]["code"]) == (400, "bad_after")


@pytest.fixture
def handed_over(home, home_environ, jupyter_server):
    with jupyter_server(home, home_environ) as server:
        yield server


def open_raw(server: JupyterServer, more: bytes, query: str = "") -> socket.socket:
    raw = raw_http.connect(server.origin)
    port = int(server.origin.rpartition(":")[2])
    raw.sendall(upgrade(port, f"{server.rooms}/rooms/lobby{query}", server.token) + more)
    return raw


def test_what_follows_a_request_goes_to_the_server_with_it(handed_over: JupyterServer):
    text = b'{"type": "chat.send", "cid": "c1", "user": "ada", "text": "early"}'
    with open_raw(handed_over, frame(1, text)) as raw:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += raw.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert next(body for _, body in frames(raw) if b'"ack"' in body)


def test_after_a_refusal_the_server_reads_no_further_request(handed_over: JupyterServer, home: Path):
    """It would not pass the front door."""
    running = local(home)
    host = running["url"].rpartition("/")[2]
    second = f"GET /rooms HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {running['token']}\r\n\r\n".encode()
    with open_raw(handed_over, second, "?after=x") as raw:
        answer = raw_http.read_to_end(raw)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "sent", [b"", b"\0\0\0\x04HTTP", b"\xff\xff\xff\xffHTTP"], ids=["nothing", "no fd", "too long"]
)
def test_what_is_no_handover_is_closed(handed_over: JupyterServer, home: Path, sent: bytes):
    with socket.socket(socket.AF_UNIX) as other:
        other.settimeout(30)
        other.connect(str(home / "runtime" / "server.socket"))
        other.sendall(sent)
        if sent:
            assert other.recv(1) == b""
    with member(handed_over.origin + handed_over.rooms, Authorization=f"token {handed_over.token}") as one:
        one.until("synced")
