"""Live messages whose server, or whose author, is killed: none stays live, and nothing that was saved is lost."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from bqserver.hub.live import saving
from bqserver.storage.sqlite.retention import Retention
from bqserver.testing import RunningServer, running_server
from chaos.load.server_process import ServerProcess, server_process
from support.eventually import eventually
from support.sqlite_logs import list_problems, run_bqserver
from support.ws_client import Member, member, request

HEARTBEAT = 2.0
"""Seconds; for what an author does that is gone. Others have those of a usual server to come back."""
TEXT = "One, two, 🦊 three."


@pytest.fixture
def server(tmp_path: Path):
    with server_process(tmp_path / "log.sqlite") as server:
        yield server


@contextmanager
def members(server: ServerProcess | RunningServer, *names: str):
    with ExitStack() as stack:
        found = [stack.enter_context(member(server.url, query=f"?user={name}&client={name}&live=1")) for name in names]
        for one in found:
            one.until("synced")
        yield found


def opened(bot: Member, cid: str = "open") -> int:
    bot.say("", cid=cid, user="bot", live=True)
    return bot.until("ack")["seq"]


def append(bot: Member, seq: int, offset: int, text: str) -> None:
    bot.send({"type": "chat.append", "target": seq, "offset": offset, "text": text})


def settled(bot: Member, seq: int) -> int:
    """The length of the text at the server, when it has read all pieces."""
    append(bot, seq, 1 << 20, "")
    return bot.until("error")["offset"]


def newest(server: ServerProcess | RunningServer, seq: int) -> dict:
    return next(one for one in messages(server) if one["seq"] == seq)


def messages(server: ServerProcess | RunningServer) -> list[dict]:
    return request(server.url, "GET", "/messages").json


def raw_texts(server: ServerProcess) -> list[str | None]:
    return [entry.get("text") for entry in request(server.url, "GET", "/rooms/lobby/log?after=0").json]


def test_a_server_that_stops_saves_what_was_written(server):
    with members(server, "bot") as (bot,):
        seq = opened(bot)
        append(bot, seq, 0, TEXT)
        assert settled(bot, seq) == len(TEXT)
        assert server.stop()[0] == 0
    server.start()
    assert newest(server, seq)["text"] == TEXT
    with members(server, "bot") as (bot,):  # it is known again
        append(bot, seq, len(TEXT), "!")
        bot.send({"type": "chat.end", "cid": "end", "target": seq, "end": "done"})
        bot.until("ack")
    assert newest(server, seq)["text"] == TEXT + "!"


def test_after_a_crash_the_author_goes_on_from_what_was_saved(server, tmp_path):
    with members(server, "bot") as (bot,):
        seq = opened(bot)
        append(bot, seq, 0, "saved")
        assert bot.until("change")["entry"]["length"] == 5
        append(bot, seq, 5, ", lost")
        settled(bot, seq)
        server.kill()
    server.start()
    saved = newest(server, seq)["text"]
    assert saved in ("saved", "saved, lost")  # all of it if two seconds passed before the crash
    with members(server, "bot", "eve") as (bot, eve):
        append(eve, seq, len(saved), "x")
        assert eve.until("error")["code"] == "forbidden"
        append(bot, seq, len("saved, lost again"), "!")
        error = bot.until("error")
        assert (error["code"], error["offset"]) == ("behind", len(saved))
        append(bot, seq, len(saved), "saved, lost again"[len(saved) :])
        bot.send({"type": "chat.end", "cid": "end", "target": seq, "end": "done"})
        bot.until("ack")
    assert newest(server, seq)["text"] == "saved, lost again"
    server.stop()
    assert list_problems(tmp_path / "log.sqlite") == []


def test_who_joins_after_a_crash_is_sent_what_was_saved(server):
    """What a member has seen beyond it is lost, so that everybody has the same text."""
    with members(server, "bot") as (bot,):
        seq = opened(bot)
        append(bot, seq, 0, "saved")
        bot.until("change")
        server.kill()
    server.start()
    with members(server, "ada") as (ada,):
        assert ada.until("append") == {"type": "append", "target": seq, "offset": 0, "text": "saved", "replace": True}


def test_an_author_that_does_not_come_back_after_a_crash_is_lost(tmp_path):
    with server_process(tmp_path / "log.sqlite", f"--heartbeat={HEARTBEAT}") as server:
        with members(server, "bot") as (bot,):
            first, second = opened(bot), opened(bot, "two")
            append(bot, first, 0, TEXT)
            bot.until("change")
            server.kill()
        server.start()
        with member(server.url, query="?live=1&after=0") as ada:
            ends = {}
            while len(ends) < 2:
                entry = ada.until("change")["entry"]
                if entry["kind"] == "end":
                    ends[entry["target"]] = entry["end"]
            assert ends == {first: "lost", second: "lost"}
        assert newest(server, first)["text"] == TEXT
        server.kill()
        server.start()
        assert "live" not in newest(server, first)


def test_a_message_that_was_deleted_is_not_continued(server):
    with members(server, "bot") as (bot,):
        seq = opened(bot)
        bot.send({"type": "chat.delete", "cid": "d", "user": "bot", "target": seq})
        bot.until("ack")
        server.kill()
    server.start()
    with members(server, "bot") as (bot,):
        append(bot, seq, 0, "x")
        assert bot.until("error")["code"] == "not_live"


def test_kills_of_the_server_while_messages_are_live(server):
    """Ten rounds: the author goes on after each, and everybody has its whole text in the end."""
    with members(server, "bot") as (bot,):
        seq = opened(bot)
    text = ""
    for number in range(10):
        with members(server, "bot") as (bot,):
            piece = f"piece {number} "
            start = settled(bot, seq)
            append(bot, seq, start, (text + piece)[start:])
            text += piece
            assert settled(bot, seq) == len(text)
            server.kill()
        server.start()
    with members(server, "bot", "ada") as (bot, ada):
        start = settled(bot, seq)
        append(bot, seq, start, text[start:])
        bot.send({"type": "chat.end", "cid": "end", "target": seq, "end": "done"})
        bot.until("ack")
        ada.until("change")
    eventually(lambda: newest(server, seq).get("end") == "done")
    assert newest(server, seq)["text"] == text


def test_a_message_that_retention_removes_is_not_live_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its author is told so, and it has not come back after a restart."""
    path = tmp_path / "log.sqlite"
    monkeypatch.setattr(Retention, "interval", 0.05)
    monkeypatch.setattr(saving, "SAVE_INTERVAL", 0.05)
    options = {"log": f"sqlite:{path}", "retain": ["*=1kB"], "open": True}
    with running_server(**options) as server, members(server, "bot", "ada") as (bot, ada):
        seq = opened(bot)
        append(bot, seq, 0, TEXT)
        for number in range(10):
            ada.say("x" * 300, cid=str(number))
        eventually(lambda: all(one["seq"] > seq for one in messages(server)), what="the end of its time")

        def is_over() -> bool:
            append(bot, seq, 0, TEXT + "!" * 1000)
            bot.send({"type": "chat.ping"})
            while (frame := bot.recv())["type"] not in ("synced", "error"):
                pass
            return frame.get("code") == "not_live"

        append(bot, seq, len(TEXT), " More.")
        eventually(is_over, what="the refusal of its pieces")
        bot.send({"type": "chat.end", "cid": "end", "target": seq, "end": "done"})
        while (frame := bot.until("error")).get("cid") != "end":
            pass
        assert frame["code"] in ("not_found", "not_live")
        opened(bot, cid="next")
    assert list_problems(path) == []
    with running_server(**options) as server, members(server, "bot") as (bot,):
        append(bot, seq, 0, TEXT)
        assert bot.until("error")["code"] == "not_live"


def test_a_backup_taken_while_a_message_is_live_restores_it_live(server: ServerProcess, tmp_path: Path) -> None:
    """Its author, whose text is longer, is told where to go on; one that does not come back is lost."""
    log, backup = tmp_path / "log.sqlite", tmp_path / "backup"
    with members(server, "bot", "other") as (bot, other):
        seq, orphaned = opened(bot), opened(other, cid="other")
        append(bot, seq, 0, TEXT)
        eventually(lambda: raw_texts(server) == ["", "", TEXT], what="the saved text")
        run_bqserver("backup", f"--log=sqlite:{log}", backup).check_returncode()
        append(bot, seq, len(TEXT), " More.")
        bot.send({"type": "chat.end", "cid": "end", "target": seq, "end": "done"})
        bot.until("ack")
        assert server.stop()[0] == 0
    run_bqserver("restore", f"--log=sqlite:{log}", backup).check_returncode()
    assert list_problems(log) == []
    server.start()
    with members(server, "bot") as (bot,):
        assert newest(server, seq)["live"]
        append(bot, seq, len(TEXT) + 6, "!")
        assert bot.until("error")["offset"] == len(TEXT)
        append(bot, seq, len(TEXT), " More.!")
        bot.send({"type": "chat.end", "cid": "end", "target": seq, "end": "done"})
        assert not bot.until("ack")["dup"]
        assert newest(server, seq)["text"] == TEXT + " More.!"
    assert server.stop()[0] == 0
    with running_server(log=f"sqlite:{log}", open=True, heartbeat=HEARTBEAT) as again:
        eventually(lambda: newest(again, orphaned).get("end") == "lost", what="the end of the other one")
    assert list_problems(log) == []
