"""Tokens, invites and sessions: pure first, then over a real server."""

from __future__ import annotations

import stat

import pytest
from bqserver.auth.authenticator import NO_TOKEN, SESSION_ENDED, WRONG_TOKEN, Authenticator
from bqserver.auth.identity import Identity, shorten_name
from bqserver.auth.token_file import read_or_create_token, read_token
from bqserver.errors import AccessFileError
from bqserver.testing import running_server
from support.ws_client import member, request
from websockets.exceptions import InvalidStatus


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def gate(token: str | None = "secret", *, is_open: bool = False) -> tuple[Authenticator, Clock]:
    clock = Clock()
    return Authenticator(token=token, is_open=is_open, clock=clock), clock


@pytest.mark.parametrize(
    ("authorization", "session", "expected"),
    [
        ("Bearer secret", None, Identity(is_program=True)),
        ("bearer  secret ", None, Identity(is_program=True)),
        ("Bearer wrong", None, WRONG_TOKEN),
        ("Bearer ", None, WRONG_TOKEN),
        ("Basic secret", None, WRONG_TOKEN),
        ("secret", None, WRONG_TOKEN),
        ("Bearer wrong", b"member", WRONG_TOKEN),
        (None, b"member", Identity()),
        (None, b"guest:unknown", SESSION_ENDED),
        (None, None, NO_TOKEN),
    ],
)
def test_who_is_let_in(authorization, session, expected):
    assert gate()[0].identify(authorization, session) == expected


def test_an_open_gate_lets_everyone_in():
    opened, _ = gate(None, is_open=True)
    assert opened.identify(None, None) == Identity()
    assert opened.identify("Bearer anything", None) == Identity(is_program=True)


def test_an_invite_counts_its_uses():
    closed, _ = gate()
    code = closed.create_local_invite(uses=2, minutes=1)
    assert [closed.redeem_local_invite(code) for _ in range(3)] == ["member", "member", None]


def test_an_invite_expires():
    closed, clock = gate()
    code = closed.create_local_invite(uses=5, minutes=1)
    clock.now = 59.9
    assert closed.redeem_local_invite(code)
    clock.now = 60.0
    assert not closed.redeem_local_invite(code)


def test_an_invite_is_no_token_and_a_token_no_invite():
    closed, _ = gate()
    assert not closed.is_shared_token(closed.create_local_invite(uses=1, minutes=1))
    assert not closed.redeem_local_invite("secret")


def test_a_token_is_made_once_and_kept_private(tmp_path):
    path = tmp_path / "deep" / "token"
    token = read_or_create_token(path)
    assert read_or_create_token(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 43


def test_a_token_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "token"
    path.write_text("secret\n")
    path.chmod(0o644)
    with pytest.raises(AccessFileError, match="chmod 600"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == "secret"
    path.write_text("")
    with pytest.raises(AccessFileError, match="empty"):
        read_token(path)
    with pytest.raises(AccessFileError, match="does not exist"):
        read_token(tmp_path / "none")


# ---- over a real server


@pytest.fixture
def server(home):
    with running_server() as running:
        yield running


def bearer(server) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.token}"}


PATHS = [
    ("GET", "/messages"),
    ("GET", "/rooms/lobby/messages"),
    ("GET", "/rooms/lobby/log"),
    ("GET", "/rooms"),
    ("POST", "/messages"),
    ("POST", "/invites"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_nothing_without_a_token(server, method, path):
    body = {"user": "eve", "text": "hi"} if method == "POST" else None
    answer = request(server.url, method, path, body)
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert request(server.url, method, path, body, Authorization="Bearer wrong").status == 401
    assert request(server.url, method, f"{path}?token={server.token}", body).status == 401


def test_a_token_reads_writes_and_joins(server):
    assert (
        request(server.url, "POST", "/messages", {"user": "a", "text": "b"}, **bearer(server)).status == 201
    )
    with member(server.url, **bearer(server)) as one:
        assert one.recv()["seq"] == 1


def test_a_join_without_a_token_is_refused_before_the_upgrade(server):
    with pytest.raises(InvalidStatus) as refused, member(server.url):
        pass
    assert refused.value.response.status_code == 401


def test_the_page_is_an_empty_shell_without_a_session(server):
    request(server.url, "POST", "/messages", {"user": "ada", "text": "between us"}, **bearer(server))
    answer = request(server.url, "GET", "/rooms/lobby")
    assert answer.status == 200
    assert b'data-session="no"' in answer.body
    assert b"between us" not in answer.body
    assert b"ada" not in answer.body


def session_cookie(server) -> str:
    made = request(server.url, "POST", "/invites", {"uses": 1, "minutes": 5}, **bearer(server))
    assert made.status == 201
    answer = request(server.url, "POST", "/session", {"invite": made.json["code"]}, Origin=server.url)
    assert answer.status == 204
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    return cookie.partition(";")[0]


def test_an_invite_is_swapped_once_for_a_session(server):
    made = request(server.url, "POST", "/invites", {}, **bearer(server)).json
    assert made["uses"] == 1
    swap = lambda: request(server.url, "POST", "/session", {"invite": made["code"]}, Origin=server.url)  # noqa: E731
    assert swap().status == 204
    assert (swap().status, swap().code) == (403, "bad_invite")


def test_a_session_reads_writes_and_joins_with_its_origin_only(server):
    cookie = session_cookie(server)
    post = lambda **headers: request(  # noqa: E731
        server.url, "POST", "/messages", {"user": "ada", "text": "hi"}, Cookie=cookie, **headers
    )
    assert post(Origin=server.url).status == 201
    assert post().code == "bad_origin"
    assert post(Origin="http://evil.example").code == "bad_origin"
    assert request(server.url, "GET", "/messages", Cookie=cookie).status == 200
    with member(server.url, Cookie=cookie, Origin=server.url) as one:
        assert one.recv()["seq"] == 1
    for origin in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        with pytest.raises(InvalidStatus) as refused, member(server.url, Cookie=cookie, **origin):
            pass
        assert refused.value.response.status_code == 403


def test_a_session_makes_no_invites(server):
    cookie = session_cookie(server)
    answer = request(server.url, "POST", "/invites", {}, Cookie=cookie, Origin=server.url)
    assert (answer.status, answer.code) == (403, "forbidden")


def test_a_forged_session_is_none(server):
    cookie = session_cookie(server)
    assert request(server.url, "GET", "/messages", Cookie=cookie[:-1] + "x").status == 401


@pytest.mark.parametrize(
    "body", [{"uses": 0}, {"uses": 1000}, {"minutes": 0}, {"minutes": -1}, {"uses": "x"}]
)
def test_a_bad_invite_is_refused(server, body):
    assert request(server.url, "POST", "/invites", body, **bearer(server)).status == 400


def test_a_session_outlives_a_restart(home, tmp_path):
    with running_server() as first:
        cookie, port = session_cookie(first), first.port
    with running_server(port=port) as second:
        assert request(second.url, "GET", "/messages", Cookie=cookie).status == 200


@pytest.mark.parametrize("path", ["/messages", "/rooms/lobby", "/static/page.js", "/nowhere", "/session"])
def test_a_foreign_host_gets_nothing_anywhere(server, path):
    answer = request(server.url, "GET", path, Host="evil.example", **bearer(server))
    assert (answer.status, answer.code) == (403, "bad_host")


def test_a_listed_page_may_read_and_is_told_so(home):
    with running_server(allow_origin=["https://app.example"]) as server:
        headers = {"Origin": "https://app.example"}
        preflight = request(server.url, "OPTIONS", "/messages", **headers)
        assert preflight.status == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
        answer = request(server.url, "GET", "/messages", **headers, **bearer(server))
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert request(server.url, "OPTIONS", "/messages", Origin="https://evil.example").status == 403


def test_two_long_names_that_begin_alike_are_two():
    first, second = shorten_name("a" * 64 + "x"), shorten_name("a" * 64 + "y")
    assert len({first, second, "a" * 64}) == 3
    assert max(len(first), len(second)) <= 64
    assert shorten_name("ada") == "ada"
