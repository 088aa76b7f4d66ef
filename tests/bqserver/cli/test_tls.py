"""TLS: the server with a certificate, and a client that checks it and sends no token unencrypted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys

import pytest
from bqserver.cli.certificates import CertificateWatcher
from bqserver.testing import running_server
from bqserver.websocket import connection
from chaos.load.raw_websocket import close_code, upgrade
from chaos.load.server_process import server_process
from support.certificate import self_signed, unverified_context
from support.eventually import eventually
from support.ws_client import member, request
from websockets.asyncio.client import connect

from bqwidget import Room
from bqwidget.errors import BqwidgetError


@pytest.fixture
def server(home, missing):
    cert, key = self_signed(home, missing)
    with running_server(certfile=str(cert), keyfile=str(key)) as running:
        yield running


CLIENT = """
from bqwidget import Room
with Room("lobby", user="bob").wait_open(20) as room:
    sent = room.send("over TLS " + "x" * 10_000)
    received = room.wait_for(lambda message: message.seq == sent.seq, after=0, timeout=20)
    print(len(received.text), len(room.history(limit=5)))
"""


def test_rest_and_rooms_work_over_tls(server, home, home_environ):
    assert server.url.startswith("https://")
    bearer = {"Authorization": f"Bearer {server.token}"}
    assert request(server.url, "POST", "/messages", {"user": "ada", "text": "hi"}, **bearer).status == 201
    trusting = {"SSL_CERT_FILE": str(home / "cert.pem"), "PYTHONPATH": os.pathsep.join(sys.path)}
    meeting = {"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": str(server.token)}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT],
        env={**home_environ, **trusting, **meeting},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["10009", "2"], "")


def test_over_tls_messages_arrive_in_order_and_a_slow_reader_is_disconnected(home, missing, monkeypatch):
    """Under TLS frames are not written directly to the socket; the buffered path keeps the same promises."""
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 600.0)  # the slow reader reads its close frame at the end
    cert, key = self_signed(home, missing)
    with (
        running_server(open=True, certfile=str(cert), keyfile=str(key), buffer=1 << 16) as server,
        contextlib.ExitStack() as stack,
    ):
        plain = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        stalled = stack.enter_context(unverified_context().wrap_socket(plain))
        stalled.sendall(upgrade(server.port, "/rooms/lobby"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += stalled.recv(1)
        url = f"https://127.0.0.1:{server.port}"
        members = [stack.enter_context(member(url, ssl=unverified_context())) for _ in range(3)]
        for one in members:
            one.until("synced")
        received: list[list[str]] = [[] for _ in members]
        for number in range(450):  # 14 MB: more than socket buffers hold for the slow reader
            for who in range(2):
                members[who].say(f"{who} {number} {'x' * 15_000}", cid=f"{who} {number}")
            for texts, one in zip(received, members, strict=True):
                texts += [text.rstrip("x") for text in one.texts(2)]
        assert received == [received[0]] * len(members)
        assert sorted(received[0]) == sorted(f"{who} {number} " for who in range(2) for number in range(450))
        assert close_code(stalled) == 4008


def test_a_clients_close_is_answered_at_once(server, monkeypatch):
    """A closing client waits until the server closes the TCP connection."""
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 600.0)

    async def scenario() -> None:
        address = f"{server.url.replace('http', 'ws', 1)}/rooms/lobby"
        bearer = {"Authorization": f"Bearer {server.token}"}
        trusted = ssl._create_unverified_context()
        async with connect(address, additional_headers=bearer, ssl=trusted, close_timeout=600) as socket:
            assert json.loads(await socket.recv())["type"] == "hello"
            async with asyncio.timeout(30):
                await socket.close()
        assert socket.close_code == 1000

    asyncio.run(scenario())


def test_the_cookie_of_an_https_page_is_secure(server):
    bearer = {"Authorization": f"Bearer {server.token}"}
    code = request(server.url, "POST", "/invites", {}, **bearer).json["code"]
    answer = request(server.url, "POST", "/session", {"invite": code}, Origin=server.url)
    assert "Secure" in answer.headers["Set-Cookie"]
    plain = request(server.url, "POST", "/session", {"invite": "x"}, Origin=server.url.replace("https", "http"))
    assert plain.code == "bad_origin"


def test_the_client_does_not_trust_a_self_signed_certificate(server):
    room = Room("lobby", user="ada", url=server.url, token=server.token)
    try:
        eventually(lambda: "certificate" in str(room.error).lower(), what="the refusal")
        assert room.status == "connecting"
    finally:
        room.close()


def test_plain_http_is_not_answered_on_a_tls_port(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        plain.sendall(
            f"GET /messages HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode()
        )
        with contextlib.suppress(ConnectionResetError):
            assert b"200" not in plain.recv(4096)


def test_only_tls_1_2_and_1_3_are_used(server):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        assert wrapped.version() in ("TLSv1.2", "TLSv1.3")


def served_certificate(port: int) -> str:
    """The certificate that a new connection gets, as PEM."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=20)


def test_a_renewed_certificate_is_used_by_itself_and_a_bad_one_is_not(server, home, missing, caplog):
    cert, key = home / "cert.pem", home / "key.pem"
    first = served_certificate(server.port)
    assert first == cert.read_text()
    with member(server.url, ssl=unverified_context(), Authorization=f"Bearer {server.token}") as one:
        one.until("synced")
        self_signed(home, missing)
        renewed = cert.read_text()
        eventually(lambda: served_certificate(server.port) == renewed, what="the renewed certificate")
        for spoil in (lambda: cert.write_text("no certificate"), key.unlink):
            caplog.clear()
            spoil()
            eventually(lambda: "the former certificate stays in use" in caplog.text)
            assert served_certificate(server.port) == renewed
        one.say("still here")
        one.until("ack")
        self_signed(home, missing)
        eventually(lambda: served_certificate(server.port) == cert.read_text(), what="the next certificate")


def test_a_reload_reads_the_certificate_even_if_it_has_not_changed(home, missing):
    cert, key = self_signed(home, missing)

    async def reloaded() -> list[ssl.SSLContext]:
        contexts: list[ssl.SSLContext] = []
        watcher = CertificateWatcher(str(cert), str(key), contexts.append)
        watcher.reload()
        watcher.close()
        return contexts

    assert len(asyncio.run(reloaded())) == 1


def test_a_certificate_is_renewed_by_sighup_after_a_bad_one(home, missing):
    cert, key = self_signed(home, missing)
    with server_process("memory", f"--certfile={cert}", f"--keyfile={key}") as server:
        cert.write_text("no certificate")
        eventually(lambda: "the former certificate stays in use" in server.stderr_output())
        self_signed(home, missing)
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: served_certificate(server.port) == cert.read_text(), what="the renewed certificate")


@pytest.mark.parametrize("url", ["http://chat.example.org", "ws://192.0.2.7:8765", "http://localhost.evil.example"])
def test_the_client_sends_a_token_unencrypted_only_on_loopback(url):
    with pytest.raises(BqwidgetError, match="not encrypted"):
        Room("lobby", url=url, token="secret")
