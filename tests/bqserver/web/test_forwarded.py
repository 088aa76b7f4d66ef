"""``--behind-proxy``: the address and the scheme come from the last value of two headers, and from nothing else."""

from __future__ import annotations

import json
import socket

import pytest
from bqserver.testing import running_server
from bqserver.web.requests import forwarded_address
from support.eventually import eventually
from support.ws_client import member, request

PROXY = "127.0.0.1"
CLIENT = "192.0.2.7"


@pytest.fixture
def audit(home):
    return home / "audit.jsonl"


@pytest.fixture
def server(audit):
    with running_server(behind_proxy=True, failure_limit=2, audit_log=str(audit)) as running:
        yield running


def addresses(audit, what: str) -> list[str]:
    """The addresses in the audit log, which is written just after the answer."""

    def look() -> list[str]:
        lines = [json.loads(line) for line in audit.read_text().splitlines()]
        return [line["address"] for line in lines if line["what"].startswith(what)]

    return eventually(look, what=what)


def raw(server, *lines: str) -> int:
    """Send a request with these header lines, which may repeat a name. Returns the status."""
    head = "\r\n".join(["GET /messages HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Connection: close", *lines])
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"X-Forwarded-For: {CLIENT}"], CLIENT),
        ([f"X-Forwarded-For: 6.6.6.6, {CLIENT}"], CLIENT),
        (["X-Forwarded-For: 6.6.6.6", f"X-Forwarded-For: {CLIENT}"], CLIENT),
        ([f"X-Forwarded-For: {CLIENT}", "X-Real-IP: 6.6.6.6"], CLIENT),
        ([f"X-Forwarded-For: {CLIENT}", "Forwarded: for=6.6.6.6", "X-Client-IP: 6.6.6.6"], CLIENT),
        (["X-Real-IP: 6.6.6.6"], PROXY),
        ([f"X-Forwarded-For: {CLIENT}:4711"], CLIENT),
        (["X-Forwarded-For: [2001:DB8::1]:4711"], "2001:db8::1"),
        (["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
        ([f"X-Forwarded-For: ::ffff:{CLIENT}"], CLIENT),
        ([f"X-Forwarded-For: {CLIENT}, unknown"], PROXY),
        ([f"X-Forwarded-For: {CLIENT},"], PROXY),
        (["X-Forwarded-For: 1.2.3.4.5"], PROXY),
        (["X-Forwarded-For:"], PROXY),
    ],
    ids=lambda value: " | ".join(value) if isinstance(value, list) else value,
)
def test_the_address_is_the_last_forwarded_one(server, audit, lines, expected):
    key = f"Authorization: Bearer {server.token}"
    assert raw(server, key, *lines) == 200
    assert addresses(audit, "GET /messages") == [expected]


def test_values_that_are_no_address():
    for text in ("", "unknown", "_hidden", "1.2.3", "010.0.0.1", "1.2.3.4:x", "::1]:x", "a:b:c", "\x00", "9" * 999):
        assert forwarded_address(text) is None, text
    assert forwarded_address("fe80::1%eth0") == "fe80::1"


def test_a_client_can_not_get_around_the_lock(server):
    """Each try claims another address in the headers that a proxy passes on unchanged."""
    statuses = [
        request(
            server.url,
            "GET",
            "/messages",
            Authorization="Bearer guess",
            X_Real_IP=f"6.6.6.{number}",
            X_Forwarded_For=f"6.6.6.{number}, {CLIENT}",
        ).status
        for number in range(3)
    ]
    assert statuses == [401, 401, 429]
    other = request(server.url, "GET", "/messages", Authorization="Bearer guess", X_Forwarded_For="192.0.2.8")
    assert other.status == 401


def test_a_websocket_and_its_messages_have_the_forwarded_address(server, audit):
    headers = {"Authorization": f"Bearer {server.token}", "X_Real_IP": "6.6.6.6", "X_Forwarded_For": CLIENT}
    with member(server.url, **headers) as one:
        one.say("hi")
        one.until("ack")
    assert addresses(audit, "join") == addresses(audit, "send") == [CLIENT]


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [
        (["X-Forwarded-Proto: https"], "https"),
        (["X-Forwarded-Proto: http, https"], "https"),
        (["X-Forwarded-Proto: http", "X-Forwarded-Proto: https"], "https"),
        (["X-Forwarded-Proto: WSS"], "https"),
        (["X-Forwarded-Proto: https, junk"], "http"),
        (["X-Scheme: https"], "http"),
        (["X-Forwarded-Proto: http", "X-Scheme: https"], "http"),
    ],
    ids=lambda value: " | ".join(value) if isinstance(value, list) else value,
)
def test_the_scheme_is_the_last_forwarded_one(server, lines, scheme):
    """A page of the server's own origin may ask, one of the other scheme may not."""
    key = f"Authorization: Bearer {server.token}"
    for page, status in ((scheme, 200), ({"http": "https", "https": "http"}[scheme], 403)):
        assert raw(server, key, f"Origin: {page}://127.0.0.1:{server.port}", *lines) == status
