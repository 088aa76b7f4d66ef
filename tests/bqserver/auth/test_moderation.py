"""Moderation: only moderators delete messages of others, close rooms and mute members."""

from __future__ import annotations

import time

import pytest
from bqserver.auth import tokens
from bqserver.auth.moderation import ModerationState, Mute
from bqserver.errors import AccessFileError
from bqserver.testing import running_server
from support.ws_client import member, request
from websockets.exceptions import InvalidStatus


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_state_survives_a_restart(tmp_path):
    path = tmp_path / "history.moderation.json"
    state = ModerationState(path, Clock())
    state.close("lobby", "ada")
    state.mute(Mute(room="staff", user="Eve", by="ada"))
    second = ModerationState(path, Clock())
    assert second.is_closed("lobby")
    assert second.find_mute("staff", "eve").by == "ada"
    second.reopen("lobby")
    second.unmute("staff", "EVE")
    third = ModerationState(path, Clock())
    assert not third.is_closed("lobby")
    assert third.find_mute("staff", "eve") is None
    path.write_text("{")
    with pytest.raises(AccessFileError, match=r"history\.moderation\.json"):
        ModerationState(path, Clock())


def test_a_mute_expires():
    clock = Clock()
    state = ModerationState(None, clock)
    state.mute(Mute(room="lobby", user="eve", by="ada", until=60.0))
    clock.now = 59.9
    assert state.find_mute("lobby", "eve")
    clock.now = 60.0
    assert state.find_mute("lobby", "eve") is None


@pytest.fixture
def people(home):
    """Authorization headers of ada, a moderator of all rooms, and of bob and eve, who are not."""
    path = home / "data" / "tokens.json"
    found = {name: {"Authorization": f"Bearer {tokens.add_grant(path, name)[0]}"} for name in ("ada", "bob", "eve")}
    path.with_name("rights.toml").write_text('["*"]\nada = "moderate"\n')
    return found


@pytest.fixture(params=["memory", "sqlite", "nats"])
def server(request, people, log_traits):
    with running_server(**log_traits(request.param)) as running:
        yield running


def post(server, who, text: str, room: str = "lobby"):
    return request(server.url, "POST", f"/rooms/{room}/messages", {"user": "x", "text": text}, **who)


def moderate(server, who, do: str, room: str = "lobby", **more):
    return request(server.url, "POST", f"/rooms/{room}/moderation", {"do": do, **more}, **who)


def test_a_moderator_can_delete_messages_of_others_and_not_edit_them(server, people):
    seq = post(server, people["eve"], "spam").json["seq"]
    with member(server.url, **people["bob"]) as bob:
        bob.send({"type": "chat.delete", "cid": "d1", "user": "eve", "target": seq})
        assert bob.until("error")["code"] == "forbidden"
    with member(server.url, **people["ada"]) as ada:
        ada.send({"type": "chat.edit", "cid": "e1", "user": "eve", "target": seq, "text": "ham"})
        assert ada.until("error")["code"] == "forbidden"
        ada.send({"type": "chat.delete", "cid": "d2", "user": "eve", "target": seq})
        assert ada.until("change")["entry"]["user"] == "ada"
    (left,) = request(server.url, "GET", "/messages", **people["bob"]).json
    assert (left["deleted"], left["text"]) == (True, "")


def test_a_muted_member_can_read_and_not_write(server, people):
    with member(server.url, **people["eve"]) as eve:
        eve.until("synced")
        assert moderate(server, people["ada"], "mute", user="eve", minutes=10).status == 204
        eve.say("let me")
        error = eve.until("error")
        assert (error["code"], "retry_ms" in error) == ("muted", False)
        assert "until 20" in error["message"]
        refused = post(server, people["eve"], "let me")
        assert (refused.status, refused.code) == (403, "muted")
        assert post(server, people["eve"], "elsewhere", "other").status == 201
        assert post(server, people["bob"], "hi").status == 201
        assert eve.texts(1) == ["hi"]
        assert moderate(server, people["ada"], "unmute", user="eve").status == 204
        eve.say("thanks", cid="c2")
        assert eve.texts(1) == ["thanks"]


def test_only_moderators_can_use_a_closed_room(server, people):
    post(server, people["bob"], "before")
    with member(server.url, **people["bob"]) as bob, member(server.url, **people["ada"]) as ada:
        bob.until("synced")
        ada.until("synced")
        assert moderate(server, people["ada"], "close").status == 204
        assert bob.close_code() == 4404
        ada.say("closed for today")
        assert ada.texts(1) == ["closed for today"]
    for answer in (
        post(server, people["bob"], "again"),
        request(server.url, "GET", "/messages", **people["bob"]),
        request(server.url, "GET", "/rooms/lobby", **people["bob"]),
    ):
        assert (answer.status, answer.code) == (403, "room_closed")
    with pytest.raises(InvalidStatus) as refused, member(server.url, **people["bob"]):
        pass
    assert refused.value.response.status_code == 403
    assert request(server.url, "GET", "/rooms", **people["bob"]).json == []
    assert moderate(server, people["ada"], "reopen").status == 204
    assert post(server, people["bob"], "again").status == 201


def test_moderators_are_told_their_role_and_what_is_in_force(server, people):
    with member(server.url, **people["ada"]) as ada, member(server.url, **people["bob"]) as bob:
        assert (ada.until("hello").get("role"), bob.until("hello").get("role")) == ("moderate", None)

    def in_force(room: str = "lobby"):
        return request(server.url, "GET", f"/rooms/{room}/moderation", **people["ada"]).json

    assert in_force() == {"closed": False, "mutes": []}
    before = time.time()
    for order in ({"do": "close"}, {"do": "mute", "user": "eve"}, {"do": "mute", "user": "bob", "minutes": 10}):
        assert moderate(server, people["ada"], **order).status == 204
    now = in_force()
    until = now["mutes"][0].pop("until")
    assert now == {"closed": True, "mutes": [{"user": "bob", "by": "ada"}, {"user": "eve", "by": "ada"}]}
    assert before + 590 < until / 1000 < time.time() + 610
    assert in_force("other") == {"closed": False, "mutes": []}
    assert request(server.url, "GET", "/rooms/lobby/moderation", **people["bob"]).status == 403


@pytest.mark.parametrize("do", ["close", "reopen", "mute", "unmute"])
def test_only_moderators_can_moderate(server, people, do):
    for who in (people["bob"], {"Authorization": f"Bearer {server.token}"}):
        refused = moderate(server, who, do, user="ada")
        assert (refused.status, refused.code) == (403, "forbidden")
    assert moderate(server, {}, do).status == 401


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "bad_json"),
        ({"do": "ban"}, "bad_json"),
        ({"do": "mute"}, "bad_field"),
        ({"do": "close", "user": "eve"}, "bad_field"),
        ({"do": "mute", "user": "eve", "minutes": -1}, "bad_field"),
        ({"do": "unmute", "user": "eve", "minutes": 1}, "bad_field"),
    ],
)
def test_an_invalid_request_is_rejected(server, people, body, code):
    answer = request(server.url, "POST", "/rooms/lobby/moderation", body, **people["ada"])
    assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize("minutes", [5e9, 1e300])
def test_a_mute_without_an_end_has_no_minutes(people, minutes):
    with running_server(log="memory") as server:
        order = {"do": "mute", "user": "bob", "minutes": minutes}
        refused = request(server.url, "POST", "/rooms/lobby/moderation", order, **people["ada"])
        assert (refused.status, refused.code) == (400, "bad_field")
        assert "without it a mute has no end" in refused.json["error"]["message"]


def test_a_stored_mute_of_an_earlier_release_may_end_after_the_year_9999(people, tmp_path):
    mute = Mute(room="lobby", user="bob", by="ada", until=5e9 * 60)
    ModerationState(tmp_path / "history.moderation.json", Clock()).mute(mute)
    with running_server(log=f"sqlite:{tmp_path / 'history.sqlite'}") as server:
        refused = request(server.url, "POST", "/messages", {"user": "bob", "text": "hi"}, **people["bob"])
        assert (refused.status, refused.code) == (403, "muted")
