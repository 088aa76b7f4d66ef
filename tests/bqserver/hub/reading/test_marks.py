"""How far verified members have read: kept by every engine, told to all their windows, counted in the list of rooms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from bqserver.auth.tokens import add_grant
from bqserver.testing import RunningServer, running_server
from support.ws_client import Answer, Member, member, request

Start = Callable[[], AbstractContextManager[RunningServer]]


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    return {name: add_grant(tmp_path / "tokens.json", name)[0] for name in ("ada", "bob")}


@pytest.fixture(params=["memory", "sqlite", "nats"])
def start(request: pytest.FixtureRequest, tmp_path: Path, log_traits, tokens: dict[str, str]) -> Start:
    traits = log_traits(request.param)
    return lambda: running_server(named_tokens=str(tmp_path / "tokens.json"), **traits)


@pytest.fixture
def server(start: Start) -> Iterator[RunningServer]:
    with start() as running:
        yield running


def as_user(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def window(server: RunningServer, token: str, room: str = "lobby") -> AbstractContextManager[Member]:
    return member(server.url, room, **as_user(token))


def say(server: RunningServer, token: str, *texts: str, room: str = "lobby") -> int:
    """The seq of the last one."""
    for text in texts:
        answer = request(server.url, "POST", f"/rooms/{room}/messages", {"user": "", "text": text}, **as_user(token))
    return answer.json["seq"]


def rooms(server: RunningServer, token: str) -> dict[str, tuple[int, int]]:
    """The unread messages and the mentions in each room."""
    listed = request(server.url, "GET", "/rooms", **as_user(token)).json
    return {room["name"]: (room["unread"], room["mentions"]) for room in listed}


def post_read(server: RunningServer, token: str, body: object, room: str = "lobby") -> Answer:
    headers = {**as_user(token), "Content-Type": "application/json"}
    return request(server.url, "POST", f"/rooms/{room}/read", body, **headers)


def test_a_position_is_told_to_all_windows_of_the_member_and_to_nobody_else(server, tokens):
    last = say(server, tokens["bob"], "one", "two")
    with (
        window(server, tokens["ada"]) as desk,
        window(server, tokens["ada"]) as phone,
        window(server, tokens["bob"]) as bob,
    ):
        assert [each.until("hello")["read"] for each in (desk, phone, bob)] == [0, 0, 0]
        for each in (desk, phone, bob):
            each.until("synced")
        desk.send({"type": "chat.read", "seq": last})
        assert phone.until("read") == desk.until("read") == {"type": "read", "seq": last}
        bob.send({"type": "chat.ping"})
        assert "read" not in [frame["type"] for frame in iter(bob.recv, {"type": "synced", "seq": last})]
    with window(server, tokens["ada"]) as again:
        assert again.until("hello")["read"] == last


def test_a_position_never_moves_back_and_never_beyond_the_log(server, tokens):
    last = say(server, tokens["bob"], "one", "two", "three")
    with window(server, tokens["ada"]) as ada:
        ada.until("synced")
        for seq in (last - 1, last + 1_000, 1, -5):
            ada.send({"type": "chat.read", "seq": seq})
        while ada.until("read")["seq"] < last:
            pass
    assert post_read(server, tokens["ada"], {"seq": 1}).json == {"seq": last}
    with window(server, tokens["ada"]) as ada:
        assert ada.until("hello")["read"] == last


@pytest.mark.parametrize("start", ["sqlite", "nats"], indirect=True)
def test_positions_survive_a_restart(start, tokens):
    with start() as server:
        last = say(server, tokens["bob"], "one", "two")
        assert post_read(server, tokens["ada"], {"seq": last}).json == {"seq": last}
        with window(server, tokens["bob"]) as bob:
            bob.until("synced")
            bob.send({"type": "chat.read", "seq": last - 1})  # saved when the server stops
            bob.send({"type": "chat.ping"})
            bob.until("synced")
    with start() as server:
        for name, read in (("ada", last), ("bob", last - 1)):
            with window(server, tokens[name]) as again:
                assert again.until("hello")["read"] == read


def test_the_rooms_tell_what_is_unread_and_what_mentions_the_member(server, tokens):
    say(server, tokens["bob"], "hi", "look @ada", "not @adalbert")
    say(server, tokens["ada"], "own")
    last = say(server, tokens["bob"], "@Ada again", room="other")
    assert rooms(server, tokens["ada"]) == {"lobby": (3, 1), "other": (1, 1)}
    assert rooms(server, tokens["bob"]) == {"lobby": (1, 0), "other": (0, 0)}
    post_read(server, tokens["ada"], {"seq": last}, room="other")
    say(server, tokens["bob"], "more", room="other")
    assert rooms(server, tokens["ada"]) == {"lobby": (3, 1), "other": (1, 0)}


def test_an_unverified_member_is_refused_and_has_no_counts():
    with running_server() as server:
        shared = as_user(server.token or "")
        with member(server.url, **shared) as ada:
            assert "read" not in ada.until("hello")
            ada.until("synced")
            ada.send({"type": "chat.read", "seq": 1})
            assert ada.until("error")["code"] == "unverified"
        assert request(server.url, "POST", "/messages", {"user": "ada", "text": "hi"}, **shared).status == 201
        assert post_read(server, server.token or "", {"seq": 1}).status == 403
        assert [sorted(room) for room in request(server.url, "GET", "/rooms", **shared).json] == [
            ["members", "name", "seq"]
        ]


@pytest.mark.parametrize("body", [b"", b"[]", {}, {"seq": "1"}, {"seq": 1.5}, {"seq": None}])
def test_a_wrong_body_is_refused(server, tokens, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = post_read(server, tokens["ada"], data)
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad_json")
