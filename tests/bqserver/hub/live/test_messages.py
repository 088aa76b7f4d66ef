"""Live messages: pieces at once, few entries, one end, for members that follow them and for those that do not."""

from __future__ import annotations

import json
import socket

import pytest
from bqserver.auth import tokens
from bqserver.hub.dispatch import submit
from bqserver.hub.hub import Hub
from bqserver.hub.live import saving
from bqserver.hub.live.content import Content
from bqserver.hub.live.message import LiveMessage
from bqserver.storage.memory import MemoryLog
from bqserver.testing import running_server
from bqserver.websocket import flood_control
from support.hub import frames, joined, run, settle
from support.ws_client import append, append_all, changes, ended, member, members, opened, request, until_text

from bqwidget.protocol import Message, Send, StopFrame

TEXT = "One, two, 🦊 three."


@pytest.fixture(params=["memory", "sqlite", pytest.param("nats", marks=pytest.mark.sqlite)])
def traits(request, log_traits, monkeypatch):
    """Of a server that stores a text when its message ends, and not earlier, however long a test takes."""
    monkeypatch.setattr(saving, "SAVE_INTERVAL", 600.0)
    return {**log_traits(request.param), "open": True}


@pytest.fixture
def server(traits):
    with running_server(**traits) as running:
        yield running


def newest(server) -> dict:
    return request(server.url, "GET", "/messages").json[-1]


def log(server) -> list[dict]:
    return request(server.url, "GET", "/rooms/lobby/log?limit=200").json


def kinds(server) -> list[str]:
    return [entry.get("kind", "message") for entry in log(server)]


# ---- growing


def test_pieces_are_passed_on_and_the_log_gets_them_once(server):
    with members(server, "bot", "ada") as (bot, ada):
        seq = opened(bot)
        assert ada.until("message")["entry"]["live"] is True
        append_all(bot, seq, TEXT)
        assert until_text(ada, len(TEXT)) == TEXT
        ended(bot, seq)
        written, end = changes(ada)
        assert (written["kind"], written["offset"], written["length"]) == ("append", 0, len(TEXT))
        assert "text" not in written  # ada was sent the pieces
        assert (end["end"], end["user"]) == ("done", "bot")
    assert kinds(server) == ["message", "append", "end"]
    assert log(server)[1]["text"] == TEXT
    message = newest(server)
    assert (message["text"], message["end"]) == (TEXT, "done")
    assert "live" not in message
    assert "edited" not in message


@pytest.mark.parametrize(
    ("characters", "rate", "longest_wait"),
    [(4, 100, 0.05), (8, 30, 0.12), (8, 100, 0.04), (4, 8, 0.0), (20, 24, 0.0)],
)
def test_members_are_sent_at_most_four_bytes_for_each_of_many_pieces_and_calm_ones_at_once(
    characters: int, rate: int, longest_wait: float
):
    """On the page: with the frame's 55 bytes, and the entry of the log once in two seconds."""
    live, seconds = LiveMessage(Message(seq=41, room="lobby", user="bot", text="", at=0, live=True), 0.0), 10
    frames, waits, waiting = 0, [], []

    def send(now: float) -> None:
        nonlocal frames
        frames, live.sent, live.sent_at = frames + 1, live.newest, now
        waits.extend(now - at for at in waiting)
        waiting.clear()

    for number in range(seconds * rate):
        now = number / rate
        if waiting and live.send_due() <= now:
            send(live.send_due())
        live.newest = Content(live.newest.text + "x" * characters)
        waiting.append(now)
        if live.send_due() <= now:
            send(now)
    size = len(live.newest.text)
    entries = seconds / saving.SAVE_INTERVAL * 150
    assert max(waits) <= longest_wait + 1e-9
    assert rate < 30 or frames * 55 + size + entries <= 4 * size


def test_an_overlap_is_dropped_and_a_piece_beyond_the_text_is_refused(server):
    with members(server, "bot", "ada") as (bot, ada):
        seq = opened(bot, "ab")
        append(bot, seq, 1, "bcd")
        append(bot, seq, 0, "abcd")  # all of it is known
        append(bot, seq, 9, "x")
        error = bot.until("error")
        assert (error["code"], error["target"], error["offset"]) == ("behind", seq, 4)
        append(bot, seq, 4, "e")
        pieces = [ada.until("append")]
        while sum(len(piece["text"]) for piece in pieces) < 3:
            pieces.append(ada.until("append"))
        assert "".join(piece["text"] for piece in pieces) == "cde"
        ended(bot, seq)
    assert newest(server)["text"] == "abcde"


def test_a_replaced_text_and_a_progress(server):
    with members(server, "bot", "ada") as (bot, ada):
        seq = opened(bot, "1 of 9", progress={"fraction": 0.1})
        append(bot, seq, 0, "2 of 9", replace=True, progress={"fraction": 0.2})
        piece = ada.until("append")
        assert ("1 of 9"[: piece["offset"]] + piece["text"], piece["replace"]) == ("2 of 9", True)
        assert piece["progress"] == {"fraction": 0.2}
        assert newest(server)["progress"] == {"fraction": 0.2}
        ended(bot, seq, text="9 of 9")
        assert changes(ada)[-1]["text"] == "9 of 9"
    assert newest(server)["text"] == "9 of 9"


def test_a_text_of_the_end_replaces_the_whole(server):
    with members(server, "bot", "ada") as (bot, ada):
        seq = opened(bot)
        append(bot, seq, 0, "draft")
        ended(bot, seq, "failed", text="KeyError: 'x'")
        assert changes(ada)[-1]["text"] == "KeyError: 'x'"
    assert kinds(server) == ["message", "end"]  # what was replaced is not written first
    assert (newest(server)["text"], newest(server)["end"]) == ("KeyError: 'x'", "failed")


def test_steps(server):
    with members(server, "bot", "ada") as (bot, ada):
        seq = opened(bot)
        step = {"type": "chat.step", "target": seq, "id": "a", "title": "search", "state": "running"}
        bot.send({**step, "cid": "1"})
        assert bot.until("ack")["dup"] is False
        bot.send({**step, "cid": "2", "state": "done", "text": "3 hits", "ms": 12})
        bot.until("ack")
        assert [change["state"] for change in (ada.until("change")["entry"], ada.until("change")["entry"])] == [
            "running",
            "done",
        ]
        assert newest(server)["steps"] == [{"id": "a", "title": "search", "state": "done", "text": "3 hits", "ms": 12}]
        for number in range(49):
            bot.send({**step, "cid": f"more-{number}", "id": str(number)})
            bot.until("ack")
        bot.send({**step, "cid": "51", "id": "51"})
        assert bot.until("error")["code"] == "too_many_steps"
        bot.send({**step, "cid": "52", "title": "changed"})  # not a new one
        bot.until("ack")
        bot.send({**step, "cid": "53", "title": "x" * 201})
        assert (error := bot.until("error"))["code"] == "too_long"
        assert error["field"] == "title"
        ended(bot, seq)


# ---- who may write


@pytest.mark.parametrize("frame", ["append", "step", "end"])
def test_only_its_author_writes_on_it(server, frame):
    frames = {
        "append": {"type": "chat.append", "offset": 0, "text": "x"},
        "step": {"type": "chat.step", "cid": "c", "id": "a", "title": "t", "state": "done"},
        "end": {"type": "chat.end", "cid": "c", "end": "done"},
    }
    with members(server, "bot", "eve") as (bot, eve):
        seq = opened(bot)
        eve.send({**frames[frame], "target": seq})
        error = eve.until("error")
        assert (error["code"], error["target"]) == ("forbidden", seq)
        ended(bot, seq)
        bot.send({**frames[frame], "cid": "later", "target": seq})
        error = bot.until("error")
        assert (error["code"], error["target"]) == ("not_live", seq)
    assert kinds(server) == ["message", "end"]


def test_an_edit_is_refused_while_it_is_live(server):
    with members(server, "bot") as (bot,):
        seq = opened(bot)
        edit = {"type": "chat.edit", "user": "bot", "target": seq, "text": "other"}
        bot.send({**edit, "cid": "1"})
        assert bot.until("error")["code"] == "live"
        ended(bot, seq)
        bot.send({**edit, "cid": "2"})
        bot.until("ack")
    assert newest(server)["text"] == "other"


def test_deleting_it_ends_it(server):
    with members(server, "bot", "ada") as (bot, ada):
        seq = opened(bot)
        append(bot, seq, 0, "secret")
        bot.send({"type": "chat.delete", "cid": "d", "user": "bot", "target": seq})
        bot.until("ack")
        append(bot, seq, 6, "x")
        assert bot.until("error")["code"] == "not_live"
        ada.until("change")
    assert newest(server)["deleted"] is True
    assert "secret" not in json.dumps(log(server))


def test_a_repeated_end_is_a_duplicate(server):
    with members(server, "bot") as (bot,):
        seq = opened(bot)
        first = ended(bot, seq)
        assert ended(bot, seq) == {**first, "dup": True}


def test_a_live_message_needs_a_websocket(server):
    answer = request(server.url, "POST", "/messages", {"user": "bot", "text": "", "live": True})
    assert (answer.status, answer.code, answer.json["error"]["field"]) == (400, "bad_field", "live")


def test_clients_can_not_say_that_the_author_is_lost(server):
    with members(server, "bot") as (bot,):
        seq = opened(bot)
        bot.send({"type": "chat.end", "cid": "e", "target": seq, "end": "lost"})
        assert (error := bot.until("error"))["code"] == "bad_field"
        assert error["field"] == "end"


def test_the_limit_of_a_text():
    with running_server(open=True, text_limit=10) as server, members(server, "bot") as (bot,):
        seq = opened(bot, "12345")
        append(bot, seq, 5, "6789012")
        error = bot.until("error")
        assert (error["code"], error["target"], error["field"]) == ("too_long", seq, "text")
        append(bot, seq, 5, "67890")
        ended(bot, seq)
        assert newest(server)["text"] == "1234567890"


def test_pieces_count_by_their_bytes(server, monkeypatch):
    """As frames they would exceed what a connection may send at once, and it would wait for hours."""
    monkeypatch.setattr(flood_control, "FRAMES_PER_SECOND", 0.001)
    with members(server, "bot") as (bot,):
        seq = opened(bot)
        append_all(bot, seq, "x" * 3 * flood_control.BURST_FRAMES, size=1)
        ended(bot, seq)
    assert len(newest(server)["text"]) == 3 * flood_control.BURST_FRAMES


def test_a_muted_author_may_only_end_it(home):
    path = home / "data" / "tokens.json"
    bot_key, boss_key = ({"Authorization": f"Bearer {tokens.add_grant(path, name)[0]}"} for name in ("bot", "boss"))
    path.with_name("rights.toml").write_text('["*"]\nboss = "moderate"\nbot = "write"\n')
    with running_server() as server, member(server.url, query="?client=b&live=1", **bot_key) as bot:
        bot.until("synced")
        seq = opened(bot)
        order = {"do": "mute", "user": "bot", "minutes": 10}
        assert request(server.url, "POST", "/rooms/lobby/moderation", order, **boss_key).status < 300
        append(bot, seq, 0, "x")
        assert (error := bot.until("error"))["code"] == "muted"
        assert error["target"] == seq
        bot.send({"type": "chat.end", "cid": "1", "target": seq, "end": "done", "text": "x"})
        assert bot.until("error")["code"] == "muted"
        ended(bot, seq)
        [message] = request(server.url, "GET", "/messages", **boss_key).json
        assert (message["text"], message["end"]) == ("", "done")


def test_a_client_of_another_member_is_not_the_author(home):
    """Of the same name for itself: the server knows them apart by their tokens."""
    path = home / "data" / "tokens.json"
    bot_key, eve_key = ({"Authorization": f"Bearer {tokens.add_grant(path, name)[0]}"} for name in ("bot", "eve"))
    with (
        running_server() as server,
        member(server.url, query="?client=b&live=1", **bot_key) as bot,
        member(server.url, query="?client=b&live=1", **eve_key) as eve,
    ):
        bot.until("synced")
        seq = opened(bot)
        append(eve, seq, 0, "x")
        assert eve.until("error")["code"] == "forbidden"


def test_too_many_at_once_are_refused(server, monkeypatch):
    monkeypatch.setattr("bqserver.hub.live.quota.MAX_LIVE_MESSAGES", 2)
    with members(server, "bot", "ada") as (bot, ada):
        first, _ = opened(bot, cid="1"), opened(bot, cid="2")
        bot.say("", cid="3", user="bot", live=True)
        assert bot.until("error")["code"] == "too_many_live"
        opened(ada, cid="4")
        ended(bot, first)
        opened(bot, cid="3")


def test_the_frames_of_one_turn_are_one_write() -> None:
    """To a member without direct writes, the entries come after the pieces."""

    async def scenario() -> None:
        hub = Hub(MemoryLog())
        follower, other = await joined(hub, follows_live=True), await joined(hub)
        for user in ("ada", "bob"):
            hub.live.stop("lobby", StopFrame(target=1, user=user))
        submit(hub, other, Send(cid="1", user="ada", text="x"))
        await settle()
        first, *_ = follower.connection.writes
        assert [each["user"] for each in frames(first)] == ["ada", "bob"]
        assert [each["type"] for each in frames(b"".join(follower.connection.writes))] == ["stop", "stop", "message"]
        assert all(each["type"] != "stop" for each in frames(b"".join(other.connection.writes)))

    run(scenario)


def test_one_member_has_half_of_the_quota(home, monkeypatch):
    """Whatever clients it has; a place is free again when the message has ended, or was not stored."""
    monkeypatch.setattr("bqserver.hub.live.quota.MAX_LIVE_MESSAGES_IN_ALL", 4)
    path = home / "data" / "tokens.json"
    bot_key, eve_key = ({"Authorization": f"Bearer {tokens.add_grant(path, name)[0]}"} for name in ("bot", "eve"))
    with (
        running_server() as server,
        member(server.url, query="?client=a&live=1", **bot_key) as one,
        member(server.url, query="?client=b&live=1", **bot_key) as other,
        member(server.url, query="?client=c&live=1", **eve_key) as eve,
    ):
        first = opened(one, cid="1")
        one.say("", cid="1", user="bot", live=True)
        assert one.until("ack")["dup"]
        opened(other, cid="2")
        other.say("", cid="3", user="bot", live=True)
        assert other.until("error")["code"] == "too_many_live"
        opened(eve, cid="4")
        ended(one, first)
        opened(other, cid="3")


def test_a_search_finds_it_when_it_has_ended(server):
    def found() -> list[str]:
        return [message["text"] for message in request(server.url, "GET", "/rooms/lobby/search?q=needle").json]

    with members(server, "bot") as (bot,):
        seq = opened(bot, "needle")
        bot.send({"type": "chat.step", "cid": "s", "target": seq, "id": "a", "title": "t", "state": "done"})
        bot.until("ack")
        assert found() == []
        append(bot, seq, 6, " in a haystack")
        ended(bot, seq)
        assert found() == ["needle in a haystack"]


# ---- stopping


def test_anyone_who_may_write_stops_it(server):
    with members(server, "bot", "ada") as (bot, ada), member(server.url) as plain:
        plain.until("synced")
        seq = opened(bot)
        ada.send({"type": "chat.stop", "target": seq, "user": "ada"})
        assert bot.until("stop") == ada.until("stop") == {"type": "stop", "target": seq, "user": "ada"}
        ended(bot, seq, "stopped", stopped_by="ada")
        plain.send({"type": "chat.stop", "target": seq, "user": "eve"})
        assert (error := plain.until("error"))["code"] == "not_live"
        assert error["target"] == seq
    assert newest(server)["stopped_by"] == "ada"


def test_readers_can_not_stop_it(home):
    path = home / "data" / "tokens.json"
    bot_key, eve_key = ({"Authorization": f"Bearer {tokens.add_grant(path, name)[0]}"} for name in ("bot", "eve"))
    path.with_name("rights.toml").write_text('["*"]\neve = "read"\nbot = "write"\n')
    with (
        running_server() as server,
        member(server.url, query="?client=b&live=1", **bot_key) as bot,
        member(server.url, query="?live=1", **eve_key) as eve,
    ):
        bot.until("synced")
        seq = opened(bot)
        eve.send({"type": "chat.stop", "target": seq, "user": "eve"})
        assert (error := eve.until("error"))["code"] == "read_only"
        assert error["target"] == seq


# ---- who sees what


def test_a_plain_client_gets_it_once_when_it_has_ended(server):
    with members(server, "bot") as (bot,), member(server.url) as plain:
        plain.until("synced")
        seq = opened(bot)
        append(bot, seq, 0, TEXT)
        bot.send({"type": "chat.step", "cid": "s", "target": seq, "id": "a", "title": "t", "state": "done"})
        bot.until("ack")
        plain.say("hi", cid="p", user="ada")
        entry = plain.until("message")["entry"]
        assert entry["text"] == "hi"
        ended(bot, seq)
        frame = plain.recv() if (frame := plain.recv())["type"] != "message" else frame
        while frame["type"] != "message":
            frame = plain.recv()
        assert frame == {"type": "message", "entry": newest_of(server, seq)}
        plain.say("bye", cid="q", user="ada")
        assert plain.until("message")["entry"]["text"] == "bye"


def newest_of(server, seq: int) -> dict:
    return next(message for message in request(server.url, "GET", "/messages").json if message["seq"] == seq)


def test_a_plain_client_that_resumes_gets_it_once(server):
    with members(server, "bot") as (bot,):
        bot.say("before", cid="before", user="bot")
        after = bot.until("ack")["seq"]
        seq = opened(bot)
        append(bot, seq, 0, TEXT)
        with member(server.url, query=f"?after={after}") as plain:
            plain.until("hello")
            assert plain.recv()["type"] == "synced"  # nothing of it
        ended(bot, seq)
    with member(server.url, query=f"?after={after}") as plain:
        plain.until("hello")
        assert plain.recv() == {"type": "message", "entry": newest_of(server, seq)}
        assert plain.recv()["type"] == "synced"


def test_who_joins_in_the_middle_gets_the_tail(server):
    with members(server, "bot") as (bot,):
        seq = opened(bot)
        append(bot, seq, 0, TEXT)
        append(bot, seq, 99, "")  # answered, so what was sent before it has arrived
        bot.until("error")
        with member(server.url, query="?live=1&after=0") as late:
            late.until("hello")
            assert late.recv()["entry"]["live"] is True
            assert late.recv()["type"] == "synced"
            assert late.recv() == {"type": "append", "target": seq, "offset": 0, "text": TEXT}
            assert newest(server)["text"] == TEXT
            append(bot, seq, len(TEXT), "!")
            assert late.until("append") == {"type": "append", "target": seq, "offset": len(TEXT), "text": "!"}


# ---- the end of its author


def test_an_author_that_is_gone_is_lost(traits):
    with running_server(**traits, heartbeat=2.0) as server:
        with members(server, "ada") as (ada,):
            with members(server, "bot") as (bot,):
                seq = opened(bot)
                append(bot, seq, 0, TEXT)
                ada.until("append")
                bot.socket.socket.shutdown(socket.SHUT_RDWR)
            end = changes(ada)[-1]
            assert (end["end"], end["target"], end["user"]) == ("lost", seq, "bot")
        assert (newest(server)["text"], newest(server)["end"]) == (TEXT, "lost")


def test_an_author_that_comes_back_goes_on(server):
    with members(server, "bot") as (bot,):
        seq = opened(bot)
        append(bot, seq, 0, "One, ")
        append(bot, seq, 99, "")
        bot.until("error")
    with members(server, "bot") as (bot,):
        append(bot, seq, 5, TEXT[5:])
        ended(bot, seq)
    assert (newest(server)["text"], newest(server)["end"]) == (TEXT, "done")


# ---- agents


def test_the_log_says_which_messages_are_an_agent_s(server):
    """Of a live message too, and after the agent has left; a kernel and a person of that name are none."""
    for kind in ("agent", "kernel", "person"):
        with member(server.url, query=f"?user=bot&client={kind}&kind={kind}&live=1") as bot:
            bot.until("synced")
            bot.say("hi", cid=f"{kind}-1", user="bot")
            bot.until("ack")
            seq = opened(bot, "live", cid=f"{kind}-2", stoppable=kind == "kernel")
            bot.send({"type": "chat.end", "cid": f"{kind}-3", "target": seq, "end": "done"})
            bot.until("ack")
    found = [message for message in request(server.url, "GET", "/messages").json if message["user"] == "bot"]
    assert [message.get("author_kind") for message in found] == ["agent", "agent", None, None, None, None]
    assert [message.get("stoppable") for message in found] == [None, False, None, None, None, False]
    assert [entry.get("author_kind") for entry in log(server) if "kind" not in entry] == [
        message.get("author_kind") for message in found
    ]
