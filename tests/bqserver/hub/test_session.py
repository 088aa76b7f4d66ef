"""The WebSocket side of the contract, over a real server."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from importlib import import_module

import pytest
from bqserver.hub import dispatch
from bqserver.hub.dispatch import MAX_CONSECUTIVE_REJECTIONS
from bqserver.storage.memory import MemoryLog
from bqserver.testing import running_server
from support.eventually import eventually
from support.processes import bqserver, listening
from support.ws_client import member, request
from websockets.exceptions import InvalidStatus


@pytest.fixture(params=["memory", "sqlite", "nats"])
def server(request, log_traits):
    with running_server(**log_traits(request.param), open=True) as running:
        yield running


def fill(server, count: int, room: str = "lobby") -> list[int]:
    with member(server.url, room) as one:
        one.until("synced")
        for number in range(count):
            one.say(str(number), cid=f"fill-{number}")
        return [one.until("ack")["seq"] for _ in range(count)]


# ---- joining


def test_hello_has_the_room_its_log_and_the_limits(server):
    with member(server.url, "a-room_1") as one:
        assert one.socket.subprotocol == "chat.v1"
        hello = one.recv()
        assert hello == {
            "type": "hello",
            "room": "a-room_1",
            "epoch": hello["epoch"],
            "seq": 0,
            "oldest": 0,
            "resumed": False,
            "limits": {
                "text": 32_000,
                "user": 64,
                "frame": 262_144,
                "rate": 0,
                "rate_ms": 10_000,
                "room": 64,
                "buffer": 1_048_576,
                "part": 10_485_760,
            },
            "heartbeat_ms": 20_000,
            "now": hello["now"],
        }
        assert one.recv() == {"type": "synced", "seq": 0}


@pytest.mark.parametrize("kind", ["memory", "sqlite", "nats"])
def test_a_member_that_sends_at_once_gets_hello_first_and_its_own_message(log_traits, monkeypatch, kind):
    """However long the log takes to read its bounds, the entry is newer than the seq in hello."""
    kwargs = log_traits(kind)
    module, name = {
        "memory": ("memory", "MemoryLog"),
        "sqlite": ("sqlite.log", "SqliteLog"),
        "nats": ("nats.log", "NatsLog"),
    }[kind]
    log_class = getattr(import_module(f"bqserver.storage.{module}"), name)
    bounds = log_class.bounds

    async def slow(log, room: str, *, min_seq: int = 0):
        await asyncio.sleep(0.2)  # the message arrives meanwhile
        return await bounds(log, room, min_seq=min_seq)

    monkeypatch.setattr(log_class, "bounds", slow)
    with running_server(**kwargs, open=True) as server, member(server.url) as ada:
        ada.say("")
        ada.say("hello")
        hello, *others = [ada.recv() for _ in range(5)]
    assert hello["type"] == "hello"
    assert sorted(frame["type"] for frame in others) == ["ack", "error", "message", "synced"]
    assert hello["seq"] < next(frame["entry"]["seq"] for frame in others if frame["type"] == "message")


@pytest.mark.slow("waits for longer than a silent member is waited for")
def test_a_member_that_waits_for_hello_is_read_meanwhile(monkeypatch):
    """Waiting for the log does not count as silence: pings are answered both ways."""
    bounds, asked = MemoryLog.bounds, threading.Event()

    async def slow(log, room: str, *, min_seq: int = 0):
        while not asked.is_set():
            await asyncio.sleep(0.05)
        return await bounds(log, room, min_seq=min_seq)

    monkeypatch.setattr(MemoryLog, "bounds", slow)
    with running_server(open=True, heartbeat=1) as server, member(server.url) as ada:
        for _ in range(50):  # longer than a silent member is waited for
            assert ada.socket.ping().wait(10)
            threading.Event().wait(0.05)
        with member(server.url) as bob:
            assert bob.socket.ping().wait(10)
        eventually(lambda: request(server.url, "GET", "/rooms").json[0]["members"] == 1)
        asked.set()
        assert ada.recv()["type"] == "hello"


@pytest.mark.parametrize("room", ["a.b", "r" * 65, "%F0%9F%98%80"])
def test_a_bad_room_is_rejected_before_the_upgrade(server, room):
    with pytest.raises(InvalidStatus) as refused, member(server.url, room):
        pass
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body)["error"]["code"] == "bad_room"


@pytest.mark.parametrize("query", ["?after=x", "?after=-1"])
def test_a_bad_cursor_is_rejected_before_the_upgrade(server, query):
    with pytest.raises(InvalidStatus) as refused, member(server.url, query=query):
        pass
    assert refused.value.response.status_code == 400


def test_an_upgrade_without_a_key_is_rejected_in_json(server):
    answer = request(server.url, "GET", "/rooms/lobby", Upgrade="websocket", Connection="Upgrade")
    assert (answer.status, answer.code) == (400, "bad_handshake")


# ---- sending


def test_a_message_reaches_only_the_members_of_its_room(server):
    with member(server.url) as ada, member(server.url) as bob, member(server.url, "other") as eve:
        for one in (ada, bob, eve):
            one.until("synced")
        ada.say("hello")
        ack = ada.recv()
        entry = ada.recv()["entry"]
        assert ack == {"type": "ack", "cid": "c1", "seq": entry["seq"], "at": entry["at"], "dup": False}
        assert bob.recv() == {"type": "message", "entry": entry, "prev": 0}
        eve.send({"type": "chat.ping"})
        assert eve.recv() == {"type": "synced", "seq": 0}


def test_a_rest_post_reaches_the_live_members(server):
    with member(server.url) as ada:
        ada.until("synced")
        entry = request(server.url, "POST", "/messages", {"user": "bob", "text": "by post"}).json
        assert ada.recv() == {"type": "message", "entry": entry, "prev": 0}


def test_prev_chains_the_entries(server):
    with member(server.url) as ada:
        ada.until("synced")
        for number in range(5):
            ada.say(str(number), cid=f"c{number}")
        frames = [ada.until("message") for _ in range(5)]
        seqs = [0, *(frame["entry"]["seq"] for frame in frames)]
        assert [frame["prev"] for frame in frames] == seqs[:-1]


def test_the_same_cid_is_acknowledged_again_and_delivered_once(server):
    with member(server.url) as ada:
        ada.until("synced")
        ada.say("once")
        ada.say("once")
        ada.say("twice", cid="c2")
        acks = [ada.until("ack") for _ in range(3)]  # a cluster may answer the second "once" last
        first, again = [ack for ack in acks if ack["cid"] != "c2"]
        (other,) = [ack for ack in acks if ack["cid"] == "c2"]
        assert (first["dup"], again["dup"], other["dup"]) == (False, True, False)
        assert first["seq"] == again["seq"] < other["seq"]
    assert [m["text"] for m in request(server.url, "GET", "/messages").json] == ["once", "twice"]


def test_the_same_cid_from_two_senders_is_two_messages(server):
    with member(server.url) as one:
        one.until("synced")
        one.say("mine", user="ada")
        one.say("mine", user="bob")
        assert not any(one.until("ack")["dup"] for _ in range(2))


@pytest.mark.parametrize(
    ("frame", "code", "names"),
    [
        ({"user": "ada", "text": "x" * 32_001}, "too_long", "32,000"),
        ({"user": "ada", "text": ""}, "empty", "text"),
        ({"user": "ada"}, "bad_field", "text"),
        ({"user": 7, "text": "x"}, "bad_field", "user"),
        ({"user": "ada", "text": "x", "ask": {"choices": "yes"}}, "bad_field", "ask.choices"),
    ],
)
def test_a_bad_send_is_rejected_under_its_cid(server, frame, code, names):
    with member(server.url) as ada:
        ada.until("synced")
        ada.send({"type": "chat.send", "cid": "bad", **frame})
        error = ada.recv()
        assert (error["type"], error["code"], error["cid"]) == ("error", code, "bad")
        assert names in error["message"]
        ada.say("still here")
        assert ada.recv()["type"] == "ack"


@pytest.mark.parametrize("frame", [{"type": "dance"}, {"x": 1}, [1, 2], "text", 3, None, {"type": 5}])
def test_any_other_frame_is_echoed(server, frame):
    with member(server.url) as ada:
        ada.until("synced")
        ada.send(json.dumps(frame))
        assert ada.recv() == {"type": "echo", "message": frame}


def test_text_that_is_not_json_is_echoed(server):
    with member(server.url) as ada:
        ada.until("synced")
        ada.send("{not json")
        assert ada.recv() == {"type": "echo", "message": "{not json"}


def test_a_ping_is_answered_with_the_last_seq(server):
    last = fill(server, 3)[-1]
    with member(server.url) as ada:
        ada.until("synced")
        ada.send({"type": "chat.ping"})
        assert ada.recv() == {"type": "synced", "seq": last}


# ---- changes


def test_only_the_author_may_edit_and_delete(server):
    with member(server.url) as one:
        one.until("synced")
        one.say("mine")
        seq = one.until("ack")["seq"]
        one.send({"type": "chat.edit", "cid": "e", "user": "bob", "target": seq, "text": "yours"})
        assert one.until("error")["code"] == "forbidden"
        one.send({"type": "chat.delete", "cid": "d", "user": "bob", "target": seq})
        assert one.until("error")["code"] == "forbidden"
        one.send({"type": "chat.delete", "cid": "d", "user": "ada", "target": seq})
        change = one.until("change")
        assert (change["entry"]["kind"], change["entry"]["target"], change["prev"]) == ("delete", seq, seq)
        one.send({"type": "chat.edit", "cid": "f", "user": "ada", "target": 99, "text": "no"})
        assert one.until("error")["code"] == "not_found"


# ---- resuming


def test_after_replays_missed_entries_and_goes_live(server):
    seqs = fill(server, 5)
    with member(server.url, query=f"?after={seqs[1]}") as one:
        hello = one.recv()
        assert (hello["resumed"], hello["seq"]) == (True, seqs[-1])
        frames = [one.recv() for _ in range(3)]
        assert [frame["entry"]["text"] for frame in frames] == ["2", "3", "4"]
        assert frames[0]["prev"] == seqs[1]
        assert one.recv() == {"type": "synced", "seq": seqs[-1]}
        one.say("live")
        assert one.until("message")["prev"] == seqs[-1]


def test_nothing_is_replayed_if_nothing_was_missed(server):
    seqs = fill(server, 3)
    with member(server.url, query=f"?after={seqs[-1]}") as one:
        assert [one.recv()["type"] for _ in range(2)] == ["hello", "synced"]


@pytest.mark.parametrize("query", ["?after=2&epoch=another", "?after=999"])
def test_another_epoch_is_a_gap(server, query):
    seqs = fill(server, 3)
    with member(server.url, query=query) as one:
        assert one.recv()["resumed"] is False
        assert one.recv() == {"type": "gap", "from": 0, "to": seqs[-1], "reason": "epoch"}
        assert one.recv() == {"type": "synced", "seq": seqs[-1]}


def test_resuming_before_the_first_entry_is_a_gap(server):
    seqs = fill(server, 2)
    with member(server.url) as one:
        one.until("synced")
        one.send({"type": "chat.resume", "after": -1})
        assert one.recv() == {"type": "gap", "from": 0, "to": seqs[-1], "reason": "epoch"}


def test_the_right_epoch_resumes(server):
    seqs = fill(server, 3)
    with member(server.url) as one:
        epoch = one.recv()["epoch"]
    with member(server.url, query=f"?after={seqs[0]}&epoch={epoch}") as one:
        assert one.texts(2) == ["1", "2"]


def test_a_long_absence_is_a_gap(server):
    seqs = fill(server, 502)
    with member(server.url, query="?after=0") as one:
        one.until("hello")
        assert one.recv() == {"type": "gap", "from": 0, "to": seqs[-1], "reason": "long"}
        assert one.recv() == {"type": "synced", "seq": seqs[-1]}
    with member(server.url, query=f"?after={seqs[1]}") as one:
        assert one.texts(500)[-1] == "501"


def test_resume_on_a_live_connection(server):
    seqs = fill(server, 4)
    with member(server.url) as one:
        one.until("synced")
        one.send({"type": "chat.resume", "after": seqs[1]})
        assert one.texts(2) == ["2", "3"]
        assert one.recv() == {"type": "synced", "seq": seqs[-1]}


def test_no_entry_falls_between_replay_and_live(server):
    """Readers join at any moment of a stream of sends: each sees every message once, in order."""
    with member(server.url) as ada:
        ada.until("synced")
        readers = []
        try:
            for number in range(40):
                ada.say(str(number), cid=f"c{number}")
                if number % 4 == 0:
                    context = member(server.url, query="?after=0")
                    readers.append((context, context.__enter__()))
            for _, reader in readers:
                assert reader.texts(40) == [str(n) for n in range(40)]
        finally:
            for context, _ in readers:
                context.__exit__(None, None, None)


# ---- the end of a connection


def test_a_binary_frame_closes_with_1003(server):
    with member(server.url) as one:
        one.until("synced")
        one.send(b"\x00\x01")
        assert one.close_code() == 1003


def test_a_frame_that_is_too_long_closes_with_1009(server):
    with member(server.url) as one:
        one.until("synced")
        one.send("x" * (256 * 1024 + 1))
        assert one.close_code() == 1009


def test_a_stopping_server_sends_bye_and_closes_with_1001(server):
    with member(server.url) as one:
        one.until("synced")
        server.app.stop()
        bye = one.until("bye")
        assert bye["code"] == 1001
        assert bye["retry_ms"] > 0
        assert one.close_code() == 1001


# ---- rates, presence, heartbeat


def test_too_many_messages_are_rejected_with_a_time_to_wait():
    with running_server(open=True, rate_limit=3, rate_seconds=600) as server, member(server.url) as one:
        assert one.recv()["limits"]["rate"] == 3
        for number in range(4):
            one.say(str(number), cid=f"c{number}")
        error = one.until("error")
        assert (error["code"], error["cid"]) == ("rate", "c3")
        assert 0 < error["retry_ms"] <= 600_000
        answer = request(server.url, "POST", "/messages", {"user": "ada", "text": "by post"})
        assert (answer.status, answer.code) == (429, "rate")
        assert 1 <= int(answer.headers["Retry-After"]) <= 600


def test_a_member_that_ignores_the_rate_limit_is_closed_with_4029():
    with running_server(open=True, rate_limit=1, rate_seconds=600) as server, member(server.url) as one:
        for number in range(1 + MAX_CONSECUTIVE_REJECTIONS + 1):  # one more could find the connection closed
            one.say(str(number), cid=f"c{number}")
        assert one.close_code() == 4029


def test_presence_shows_members_joining_typing_and_leaving(server):
    ada = {"user": "ada"}
    bot = {"user": "bot", "kind": "kernel"}
    with member(server.url, query="?user=ada") as one:
        shown = lambda members: until_members(one, members)  # noqa: E731
        shown([ada])
        with member(server.url, query="?user=bot&kind=kernel") as other:
            shown([ada, bot])
            other.send({"type": "chat.typing"})
            shown([ada, bot | {"typing": True}])
        shown([ada])


@pytest.mark.parametrize("end", ["time", "send"])
def test_the_end_of_typing_is_announced(monkeypatch, end):
    """After its time, or when the member sends, without anything else happening in the room."""
    monkeypatch.setattr(dispatch, "TYPING_TIMEOUT", 600.0)
    with (
        running_server(open=True) as server,
        member(server.url, query="?user=ada") as one,
        member(server.url, query="?user=bob") as other,
    ):
        other.send({"type": "chat.typing"})
        until_members(one, [{"user": "ada"}, {"user": "bob", "typing": True}])
        if end == "send":
            other.say("hi", user="bob")
        else:
            monkeypatch.setattr(dispatch, "TYPING_TIMEOUT", 0.5)
            other.send({"type": "chat.typing"})  # for the last time
        until_members(one, [{"user": "ada"}, {"user": "bob"}])


def test_typing_under_a_name_that_is_too_long_is_ignored():
    with running_server(open=True) as server, member(server.url, query="?user=ada") as one:
        until_members(one, [{"user": "ada"}])
        with member(server.url) as other:
            other.send({"type": "chat.typing", "user": "x" * 100_000})
            other.send({"type": "chat.typing", "user": "x" * 64})
            until_members(one, [{"user": "ada"}, {"user": "x" * 64, "typing": True}])


def until_members(one, members: list[dict]) -> None:
    """A slow machine may send an earlier state once more before this one."""
    while one.until("presence")["members"] != members:
        pass


@pytest.mark.slow("suspends a server for four seconds")
def test_a_server_that_was_suspended_keeps_its_members():
    """A laptop that slept: the members could not be pinged meanwhile, so their silence means nothing."""
    with bqserver("--port=0", "--open", "--log=memory", "--heartbeat=1") as server, member(listening(server)) as one:
        one.until("synced")
        server.send_signal(signal.SIGSTOP)
        threading.Event().wait(4)  # longer than a silent member is waited for
        server.send_signal(signal.SIGCONT)
        one.say("still here")
        one.until("ack")
        for _ in range(3):
            one.until("synced")


def test_the_heartbeat_sends_the_last_seq_and_drops_dead_peers():
    with running_server(open=True, heartbeat=1) as server, member(server.url) as one:
        assert one.until("synced")["seq"] == 0
        assert one.until("synced")["seq"] == 0
        with member(server.url) as silent:
            silent.until("synced")
            silent.socket.socket.settimeout(None)
            silent.socket.protocol.receive_data = lambda data: None  # pings go unanswered
            silent.socket.recv_events_thread.join(60)
            assert not silent.socket.recv_events_thread.is_alive()
