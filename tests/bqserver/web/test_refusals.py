"""Every refusal of a real server, and what a Room does then: stop with the reason, or wait as asked and join again.

The window's half of it is js/tests/transport/socket-source.test.ts and e2e/test_refusals_in_a_browser.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from bqserver.auth import admission, tokens
from bqserver.testing import RunningServer, running_server
from bqserver.websocket import connection
from support.eventually import eventually
from support.ports import free_port
from support.sqlite_logs import drop_entries
from support.ws_client import member, request

from bqwidget import ConnectionRefused, MessageRefused, Room, RoomClosed
from bqwidget._client.session_task import SessionTask
from bqwidget.protocol import Send

RIGHTS = """
["*"]
ada = "moderate"

[secret]
"*" = "none"
"""


class Stage:
    """A server with rights, moderator ada, and what a case needs; everything ends with the test."""

    def __init__(self, home: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hours_later = 0
        self.monkeypatch = monkeypatch
        clock = SimpleNamespace(time=lambda: time.time() + 3600 * self.hours_later)
        monkeypatch.setattr("bqserver.cli.settings.time", clock)  # by which tokens expire
        self.home = home
        self.stack = stack
        self.file = home / "data" / "tokens.json"
        self.rights = home / "data" / "rights.toml"
        self.ada = self.token("ada")
        self.rights.write_text(RIGHTS)
        self.server: RunningServer

    def token(self, name: str, **options: object) -> str:
        return tokens.add_grant(self.file, name, **options)[0]

    def start(self, **traits: object) -> None:
        self.server = self.stack.enter_context(running_server(**traits))

    def room(self, token: str | None = None, name: str = "lobby", user: str = "bob") -> Room:
        token = token or self.server.token
        return self.stack.enter_context(Room(name, user=user, url=self.server.url, token=token))

    def order(self, do: str, **more: object) -> None:
        bearer = {"Authorization": f"Bearer {self.ada}"}
        assert request(self.server.url, "POST", "/rooms/lobby/moderation", {"do": do, **more}, **bearer).status == 204


@pytest.fixture
def stage(home, monkeypatch) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(home, stack, monkeypatch)


def ended(room: Room) -> bool:
    """Nothing tries again."""
    return room._connection._ended.wait(20)


# ---- joins that are refused finally ---------------------------------------------------------------


def unknown(stage: Stage) -> Room:
    stage.start()
    return stage.room("guess")


def expired(stage: Stage) -> Room:
    token = stage.token("bob", expires=datetime.now(UTC) - timedelta(seconds=1))
    stage.start()
    return stage.room(token)


def revoked(stage: Stage) -> Room:
    token = stage.token("bob")
    tokens.revoke_grants(stage.file, "bob")
    stage.start()
    return stage.room(token)


def without_the_right(stage: Stage) -> Room:
    stage.start()
    return stage.room(name="secret")


def for_other_rooms(stage: Stage) -> Room:
    token = stage.token("bob", rooms=["class-*"])
    stage.start()
    return stage.room(token)


def closed(stage: Stage) -> Room:
    stage.start()
    stage.order("close")
    return stage.room()


def under_anothers_name(stage: Stage) -> Room:
    stage.start()
    return stage.room(user="Ada")


class Final(NamedTuple):
    make: Callable[[Stage], Room]
    status: int
    code: str
    says: str


FINAL = [
    Final(unknown, 401, "unauthorized", "not known here"),
    Final(expired, 401, "token_expired", "ask for a new one"),
    Final(revoked, 401, "token_revoked", "ask for a new one"),
    Final(without_the_right, 403, "forbidden", "room secret"),
    Final(for_other_rooms, 403, "forbidden", "room lobby"),
    Final(closed, 403, "room_closed", "closed by a moderator"),
    Final(under_anothers_name, 403, "name_taken", "use another name"),
]


@pytest.mark.parametrize("case", FINAL, ids=lambda case: case.make.__name__)
def test_a_join_that_is_refused_finally_stops_with_the_reason(stage, case):
    room = case.make(stage)
    with pytest.raises(ConnectionRefused, match=case.says) as told:
        room.wait_open(20)
    assert (told.value.status, told.value.code, told.value.retry_after) == (case.status, case.code, None)
    assert (room.status, room.error) == ("closed", told.value)
    assert ended(room)
    with pytest.raises(RoomClosed, match=case.says):
        room.send("hi")


# ---- joins that are refused for now ----------------------------------------------------------------


def after_brute_force(stage: Stage) -> Room:
    stage.start(failure_limit=1)
    assert request(stage.server.url, "GET", "/rooms", Authorization="Bearer guess").status == 401
    return stage.room()


def where_all_places_are_taken(stage: Stage) -> Room:
    stage.start(max_connections=1)
    stage.room(stage.ada).wait_open(20)
    return stage.room()


def from_a_crowded_address(stage: Stage) -> Room:
    stage.start(max_connections_each=1)
    stage.room(stage.ada).wait_open(20)
    return stage.room()


def again_too_soon(stage: Stage) -> Room:
    stage.monkeypatch.setattr(admission, "JOIN_PERIOD", 60.0)
    token = stage.token("bob")
    stage.start(join_limit=1)
    stage.room(token, "other").wait_open(20)
    return stage.room(token)


class Passing(NamedTuple):
    make: Callable[[Stage], Room]
    status: int
    code: str
    wait: float
    """Seconds that it must wait at least."""


PASSING = [
    Passing(after_brute_force, 429, "too_many_failures", 50),
    Passing(where_all_places_are_taken, 503, "full", 10),
    Passing(from_a_crowded_address, 429, "too_many_connections", 10),
    Passing(again_too_soon, 429, "too_many_joins", 10),
]


@pytest.mark.parametrize("case", PASSING, ids=lambda case: case.make.__name__)
def test_a_join_that_is_refused_for_now_waits_as_long_as_asked(stage, case):
    began = time.time()
    room = case.make(stage)
    eventually(lambda: room._connection.retry_at is not None, what="the first refusal")
    error = room.error
    assert isinstance(error, ConnectionRefused)
    assert (error.status, error.code, room.status) == (case.status, case.code, "connecting")
    assert error.retry_after >= case.wait
    assert room._connection.retry_at >= (began + error.retry_after - 1) * 1000
    assert room.reconnect_attempts == 1


def test_a_full_server_is_joined_when_there_is_room(stage, monkeypatch):
    monkeypatch.setattr("bqserver.auth.admission.FULL_RETRY_INTERVAL", 1.0)
    stage.start(max_connections=1)
    with stage.room(stage.ada) as ada:
        ada.wait_open(20)
        waiting = stage.room()
        eventually(lambda: waiting._connection.retry_at is not None)
    assert waiting.wait_open(20).send("in").text == "in"


# ---- messages that are refused ---------------------------------------------------------------------


def reader(stage: Stage) -> Room:
    token = stage.token("bob", read_only=True)
    stage.start()
    return stage.room(token)


def muted(stage: Stage) -> Room:
    token = stage.token("bob")
    stage.start()
    stage.order("mute", user="bob", minutes=5)
    return stage.room(token)


@pytest.mark.parametrize(("make", "code"), [(reader, "read_only"), (muted, "muted")])
def test_a_rejected_message_raises_the_reason_and_the_room_stays(stage, make, code):
    room = make(stage).wait_open(20)
    with pytest.raises(MessageRefused) as told:
        room.send("hi")
    assert (told.value.code, room.status, room.queued) == (code, "open", 0)
    with stage.room(stage.ada) as ada:
        sent = ada.send("bob hears")
        assert room.wait_for(lambda message: message.seq == sent.seq, after=0, timeout=20)


def test_too_fast_waits_and_loses_nothing(stage):
    stage.start(rate_limit=4, rate_seconds=1)
    room = stage.room().wait_open(20)
    began = time.monotonic()
    sent = [room.send(f"m{number}", wait=False) for number in range(10)]
    assert [sending.result(30).text for sending in sent] == [f"m{number}" for number in range(10)]
    assert time.monotonic() - began >= 2  # ten at four a second
    assert room.error is None


# ---- connections that end --------------------------------------------------------------------------


def on_revocation(stage: Stage) -> tuple[Room, Callable[[], object]]:
    token = stage.token("bob")
    stage.start()
    return stage.room(token), lambda: tokens.revoke_grants(stage.file, "bob")


def on_expiry(stage: Stage) -> tuple[Room, Callable[[], object]]:
    token = stage.token("bob", expires=datetime.now(UTC) + timedelta(hours=1))
    stage.start()
    return stage.room(token), lambda: setattr(stage, "hours_later", 2)


def on_a_right_that_is_taken(stage: Stage) -> tuple[Room, Callable[[], object]]:
    stage.start()
    return stage.room(), lambda: stage.rights.write_text(RIGHTS + '[lobby]\n"*" = "none"\n')


def on_the_rooms_end(stage: Stage) -> tuple[Room, Callable[[], object]]:
    stage.start()
    return stage.room(), lambda: stage.order("close")


@pytest.mark.parametrize(
    ("make", "says", "close_code"),
    [
        (
            on_revocation,
            "revoked",
            None,
        ),  # 4401: it fetches a token once more, and the join gives the reason
        (on_expiry, "expired", None),
        (on_a_right_that_is_taken, "your access to it was revoked", 4403),
        (on_the_rooms_end, "closed it permanently", 4404),
    ],
)
def test_a_connection_closed_finally_is_not_made_again(stage, make, says, close_code):
    room, end = make(stage)
    room.wait_open(20)
    end()
    assert ended(room)
    assert room.status == "closed"
    with pytest.raises(RoomClosed, match=says) as told:
        room.send("hi")
    assert told.value.close_code == close_code
    assert says in str(room.error)


def flood(stage: Stage, room: Room) -> None:
    """More than a Room sends by itself: its own outbox obeys the limit."""
    frames = [Send(cid=f"f{number}", user="bob", text="flood") for number in range(40)]
    room._connection.call_soon(room._connection._websocket.send, frames)


def too_big(stage: Stage, room: Room) -> None:
    frame = Send(cid="big", user="bob", text="x" * 300_000)
    room._connection.call_soon(room._connection._websocket.send, [frame])


def too_slow(stage: Stage, room: Room) -> None:
    """One turn of a room's thread that hangs while more arrives than the system buffers."""
    stage.monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 600.0)  # it reads the close frame when it goes on
    reading = threading.Event()
    room._connection.call_soon(reading.wait, 100)
    with member(stage.server.url, Authorization=f"Bearer {stage.ada}") as ada:
        ada.until("synced")
        for first in range(0, 900, 5):  # a few at a time, so that ada herself is not too slow
            for number in range(first, first + 5):
                ada.say("x" * 50_000, cid=f"c{number}")
            for _ in range(5):
                ada.until("ack")
    reading.set()


@pytest.mark.parametrize(
    ("disturb", "code", "traits"),
    [
        (flood, 4029, {"rate_limit": 5, "rate_seconds": 3}),
        (too_big, 1009, {}),
        (too_slow, 4008, {"text_limit": 60_000}),
    ],
)
def test_a_connection_closed_for_now_is_made_again(stage, disturb, code, traits):
    seen: list[int | None] = []
    wait = SessionTask._wait_for_retry

    async def waits(task: SessionTask, retry_ms: int | None) -> None:
        seen.append(getattr(task.error, "code", None))
        await wait(task, retry_ms)

    stage.monkeypatch.setattr(SessionTask, "_wait_for_retry", waits)  # observers may miss a short one
    stage.start(**traits)
    room = stage.room().wait_open(20)
    disturb(stage, room)
    eventually(lambda: code in seen, what=f"close code {code}, not {seen}")
    assert room.wait_open(30).send("back").text == "back"
    assert room.error is None
    everything = [message.seq for message in room.history(limit=1000)]
    eventually(lambda: [message.seq for message in room.messages] == everything, what="all messages")


def test_after_a_flood_it_waits_as_long_as_asked(stage):
    stage.start(rate_limit=5, rate_seconds=30)
    room = stage.room().wait_open(20)
    flood(stage, room)
    eventually(lambda: room._connection.retry_at is not None, what="the end of the flood")
    assert room.error.code == 4029
    assert room._connection.retry_at - time.time() * 1000 > 20_000


def test_a_restarted_server_is_joined_again(stage):
    port = free_port()  # no other program is given it meanwhile
    stage.start(port=port)
    room = stage.room().wait_open(20)
    stage.server.stop()
    eventually(lambda: room.status == "reconnecting")
    assert getattr(room.error, "code", 1001) == 1001 or "can't be joined" in str(room.error)
    stage.start(port=port)
    assert room.wait_open(30).send("back").text == "back"


def test_an_unreadable_log_is_read_again_later(stage):
    stage.start(log=f"sqlite:{stage.home / 'log.sqlite'}")
    drop_entries(stage.server)
    room = stage.room()
    eventually(lambda: room.reconnect_attempts > 1)
    assert (room.status, room.error.code) == ("connecting", 1013)


# ---- one-time links --------------------------------------------------------------------------------


def test_an_invite_link_works_once(stage):
    stage.start()
    code = stage.room().wait_open(20).invite(uses=1).partition("#invite=")[2]
    swap = [request(stage.server.url, "POST", "/session", {"invite": code}, Origin=stage.server.url) for _ in range(2)]
    assert [answer.status for answer in swap] == [204, 403]
    assert (swap[1].code, "Set-Cookie" in swap[1].headers) == ("bad_invite", False)
    assert "ask for a new one" in swap[1].json["error"]["message"]
