"""Every origin with every credential on every route; the expected answers follow from a few rules, stated here.

The rules are the contract; none of them is taken from what the server answered.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import product
from typing import NamedTuple

import pytest
from bqserver.auth import tokens
from bqserver.testing import RunningServer, running_server
from support.pictures import png
from support.ws_client import Answer, request

SECRET = "between us"
PICTURE = png() + SECRET.encode()
LISTED = "https://app.example"

ORIGINS = {
    "none": None,
    "own": "http://{host}",
    "listed": LISTED,
    "null": "null",
    "foreign": "https://evil.example",
    "other-port": "http://127.0.0.1:1",
    "other-scheme": "https://{host}",
    "look-alike": "http://{host}.evil.example",
}
WELCOME = {"own", "listed"}
"""A program needs no Origin; a credential that a browser sends by itself (a cookie) may omit it only for reading."""

CREDENTIALS = ("none", "wrong", "revoked", "shared", "session", "reader", "moderator")
KNOWN = {"shared", "session", "reader", "moderator"}
WRITERS = {"shared", "session", "moderator"}
INVITERS = {"shared", "moderator"}
MODERATORS = {"moderator"}
EVERYONE = set(CREDENTIALS)


class Route(NamedTuple):
    """``may``: the credentials whose request succeeds; other known ones get 403, unknown ones 401."""

    method: str
    path: str
    may: set[str]
    done: int
    body: dict[str, object] | bytes | None = None
    upgrade: bool = False
    kind: str | None = None


ROUTES = {
    "health": Route("GET", "/health", EVERYONE, 200),
    "static": Route("GET", "/static/page.js", EVERYONE, 200),
    "page": Route("GET", "/rooms/lobby", EVERYONE, 200),
    "used invite": Route("POST", "/session", set(), 204, {"invite": "used"}),
    "list": Route("GET", "/messages", KNOWN, 200),
    "list room": Route("GET", "/rooms/lobby/messages", KNOWN, 200),
    "knock": Route("GET", "/rooms/lobby/join", KNOWN, 204),
    "log": Route("GET", "/rooms/lobby/log", KNOWN, 200),
    "search": Route("GET", "/rooms/lobby/search?q=between", KNOWN, 200),
    "rooms": Route("GET", "/rooms", KNOWN, 200),
    "join": Route("GET", "/rooms/lobby?after=0", KNOWN, 101, upgrade=True),
    "post": Route("POST", "/messages", WRITERS, 201, {"user": "eve", "text": "hi"}),
    "post room": Route("POST", "/rooms/lobby/messages", WRITERS, 201, {"user": "eve", "text": "hi"}),
    "upload": Route("POST", "/rooms/lobby/parts", WRITERS, 201, PICTURE, kind="image/png"),
    "download": Route("GET", f"/rooms/lobby/parts/{sha256(PICTURE).hexdigest()}", KNOWN, 200),
    "invite": Route("POST", "/invites", INVITERS, 201, {}),
    "read": Route("POST", "/rooms/lobby/read", {"reader", "moderator"}, 200, {"seq": 1}),
    "moderate": Route("POST", "/rooms/lobby/moderation", MODERATORS, 204, {"do": "unmute", "user": "eve"}),
    "moderation": Route("GET", "/rooms/lobby/moderation", MODERATORS, 200),
}


def expected(origin: str, credential: str, route: Route) -> int:
    safe = route.method == "GET" and not route.upgrade
    welcome = origin in WELCOME or (origin == "none" and (safe or credential != "session"))
    if not welcome:
        return 403
    if credential in route.may:
        return route.done
    if route.path == "/session":
        return 403  # the invite decides, and this one is used up
    return 403 if credential in KNOWN else 401


class World(NamedTuple):
    server: RunningServer
    credentials: dict[str, dict[str, str]]

    def ask(self, origin: str, credential: str, route: Route, **more: str) -> Answer:
        host = self.server.url.partition("//")[2]
        headers = {**self.credentials[credential], **more}
        if template := ORIGINS[origin]:
            headers["Origin"] = template.format(host=host)
        if route.kind is not None:
            headers["Content-Type"] = route.kind
        if route.upgrade:
            headers |= {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
                "Sec_WebSocket_Version": "13",
            }
        return request(self.server.url, route.method, route.path, route.body, **headers)

    def count(self) -> int:
        shared = self.credentials["shared"]
        return len(request(self.server.url, "GET", "/messages?limit=200", **shared).json)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    named = folder / "tokens.json"
    made = {
        "moderator": tokens.add_grant(named, "ada")[0],
        "reader": tokens.add_grant(named, "bob", read_only=True)[0],
        "revoked": tokens.add_grant(named, "carol", expires=datetime.now(UTC) + timedelta(days=1))[0],
        "wrong": "a-guess",
    }
    tokens.revoke_grants(named, "carol")
    (folder / "rights.toml").write_text('["*"]\nada = "moderate"\n')
    (folder / "token").write_text("the-shared-token")
    (folder / "token").chmod(0o600)
    with running_server(
        named_tokens=str(named),
        rights=str(folder / "rights.toml"),
        token_file=str(folder / "token"),
        allow_origin=[LISTED],
    ) as server:
        made["shared"] = str(server.token)
        credentials = {name: {"Authorization": f"Bearer {token}"} for name, token in made.items()}
        shared = credentials["shared"]
        request(server.url, "POST", "/messages", {"user": "ada2", "text": SECRET}, **shared)
        assert (
            request(server.url, "POST", "/rooms/lobby/parts", PICTURE, **shared, Content_Type="image/png").status == 201
        )
        code = request(server.url, "POST", "/invites", {}, **shared).json["code"]
        swapped = request(server.url, "POST", "/session", {"invite": code}, Origin=server.url)
        cookie = swapped.headers["Set-Cookie"].partition(";")[0]
        yield World(server, {**credentials, "none": {}, "session": {"Cookie": cookie}})


def test_the_matrix_has_the_expected_size():
    assert (len(ORIGINS), len(CREDENTIALS)) == (8, 7)
    cells = list(product(ORIGINS, CREDENTIALS, ROUTES.values()))
    assert len(cells) >= 250
    assert {expected(*cell) for cell in cells} == {101, 200, 201, 204, 401, 403}


@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("origin", ORIGINS)
def test_each_route_answers_as_the_rules_say(world: World, origin: str, credential: str):
    answers = {name: world.ask(origin, credential, route) for name, route in ROUTES.items()}
    statuses = {name: answer.status for name, answer in answers.items()}
    assert statuses == {name: expected(origin, credential, route) for name, route in ROUTES.items()}
    for answer in answers.values():
        check(answer, origin, credential)


def check(answer: Answer, origin: str, credential: str) -> None:
    """That an answer reveals nothing, and to no page that is not listed."""
    if answer.status >= 400:
        assert answer.json["error"].keys() == {"code", "message"}
    if answer.status >= 400 or credential not in KNOWN:
        assert SECRET.encode() not in answer.body
        assert b"ada2" not in answer.body
    readable = answer.headers.get("Access-Control-Allow-Origin")
    assert readable == (LISTED if origin == "listed" and answer.status != 101 else None)
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_only_the_cells_that_may_write_have_written(world: World):
    before = world.count()
    post = ROUTES["post"]
    may = {cell for cell in product(ORIGINS, CREDENTIALS) if expected(*cell, post) == 201}
    assert len(may) == 3 * 2 + 2  # three writers from two origins, and two programs from none
    written = {cell for cell in product(ORIGINS, CREDENTIALS) if world.ask(*cell, post).status == 201}
    assert written == may
    assert world.count() - before == len(may)


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "[::2]:80", ""])
def test_a_rebound_host_name_gets_nothing_with_any_credential(world: World, name: str, host: str):
    for credential in CREDENTIALS:
        answer = world.ask("none", credential, ROUTES[name], Host=host)
        assert (answer.status, answer.code) == (403, "bad_host"), credential
        assert SECRET.encode() not in answer.body


def test_a_preflight_permits_only_allowed_origins(world: World):
    for origin, name in product(ORIGINS, ROUTES):
        answer = world.ask(origin, "none", ROUTES[name]._replace(method="OPTIONS", body=None, upgrade=False))
        assert answer.status == (204 if origin in {"none", *WELCOME} else 403)
        assert ("Access-Control-Allow-Origin" in answer.headers) == (origin == "listed")
