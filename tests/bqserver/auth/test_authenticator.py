"""Tokens, invites and sessions: first the authenticator alone, then a real server."""

from __future__ import annotations

import pytest
from bqserver.auth.authenticator import NO_TOKEN, SESSION_ENDED, WRONG_TOKEN, Authenticator
from bqserver.auth.identity import Identity
from bqserver.testing import running_server
from support.ports import free_port
from support.ws_client import member, request
from websockets.exceptions import InvalidStatus


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make_authenticator(token: str | None = "secret", *, is_open: bool = False) -> tuple[Authenticator, Clock]:
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
def test_credentials_are_mapped_to_identities(authorization, session, expected):
    assert make_authenticator()[0].identify(authorization, session) == expected


def test_an_open_server_accepts_every_credential_and_none():
    authenticator, _ = make_authenticator(None, is_open=True)
    assert authenticator.identify(None, None) == Identity()
    assert authenticator.identify("Bearer anything", None) == Identity(is_program=True)


def test_an_invite_can_be_used_as_often_as_it_says():
    authenticator, _ = make_authenticator()
    code = authenticator.create_local_invite(uses=2, minutes=1)
    assert [authenticator.redeem_local_invite(code) for _ in range(3)] == ["member", "member", None]


def test_an_invite_expires():
    authenticator, clock = make_authenticator()
    code = authenticator.create_local_invite(uses=5, minutes=1)
    clock.now = 59.9
    assert authenticator.redeem_local_invite(code)
    clock.now = 60.0
    assert not authenticator.redeem_local_invite(code)


def test_an_invite_is_not_a_token_and_a_token_is_not_an_invite():
    authenticator, _ = make_authenticator()
    assert not authenticator.is_shared_token(authenticator.create_local_invite(uses=1, minutes=1))
    assert not authenticator.redeem_local_invite("secret")


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
def test_every_route_needs_a_token_in_the_header(server, method, path):
    body = {"user": "eve", "text": "hi"} if method == "POST" else None
    answer = request(server.url, method, path, body)
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert request(server.url, method, path, body, Authorization="Bearer wrong").status == 401
    assert request(server.url, method, f"{path}?token={server.token}", body).status == 401


def test_a_token_reads_writes_and_joins(server):
    assert request(server.url, "POST", "/messages", {"user": "a", "text": "b"}, **bearer(server)).status == 201
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


def test_an_invite_is_exchanged_once_for_a_session(server):
    made = request(server.url, "POST", "/invites", {}, **bearer(server)).json
    assert made["uses"] == 1
    swap = lambda: request(server.url, "POST", "/session", {"invite": made["code"]}, Origin=server.url)  # noqa: E731
    assert swap().status == 204
    assert (swap().status, swap().code) == (403, "bad_invite")


def test_a_session_writes_and_joins_only_with_the_servers_origin(server):
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


def test_a_session_can_not_create_invites(server):
    cookie = session_cookie(server)
    answer = request(server.url, "POST", "/invites", {}, Cookie=cookie, Origin=server.url)
    assert (answer.status, answer.code) == (403, "forbidden")


@pytest.mark.parametrize("form", ["{}", "a=b; {}", "{};a", 'a="\\";  {} ', "x{}; {}", "; ;{};;"])
def test_a_session_is_found_among_other_cookies(server, form):
    name, _, value = session_cookie(server).partition("=")
    cookies = form.replace("{}", f"{name}={value}")
    assert request(server.url, "GET", "/messages", Cookie=cookies).status == 200
    assert request(server.url, "GET", "/messages", Cookie=cookies.replace(f"{name}=", "other=")).status == 401


def test_a_forged_session_cookie_is_rejected(server):
    cookie = session_cookie(server)
    assert request(server.url, "GET", "/messages", Cookie=cookie[:-1] + "x").status == 401


@pytest.mark.parametrize("body", [{"uses": 0}, {"uses": 1000}, {"minutes": 0}, {"minutes": -1}, {"uses": "x"}])
def test_an_invite_with_invalid_limits_is_rejected(server, body):
    assert request(server.url, "POST", "/invites", body, **bearer(server)).status == 400


def test_a_session_survives_a_restart(home, tmp_path):
    port = free_port()  # no other program is given it meanwhile
    with running_server(port=port) as first:
        cookie = session_cookie(first)
    with running_server(port=port) as second:
        assert request(second.url, "GET", "/messages", Cookie=cookie).status == 200


@pytest.mark.parametrize("path", ["/messages", "/rooms/lobby", "/static/page.js", "/nowhere", "/session"])
def test_an_unknown_host_is_rejected_on_every_route(server, path):
    answer = request(server.url, "GET", path, Host="evil.example", **bearer(server))
    assert (answer.status, answer.code) == (403, "bad_host")


def test_a_listed_origin_gets_cors_headers(home):
    with running_server(allow_origin=["https://app.example"]) as server:
        headers = {"Origin": "https://app.example"}
        preflight = request(server.url, "OPTIONS", "/messages", **headers)
        assert preflight.status == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
        answer = request(server.url, "GET", "/messages", **headers, **bearer(server))
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert request(server.url, "OPTIONS", "/messages", Origin="https://evil.example").status == 403
