"""``--retain`` of a SQLite log: its files, its attachments and its search; what the commands make of what is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bqserver.hub import catch_up
from bqserver.model import Stored, Submission
from bqserver.storage.sqlite import compaction, retention
from bqserver.storage.sqlite.backup import backup as make_backup
from bqserver.storage.sqlite.backup import restore
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.testing import running_server
from bqserver.transfer.copy import from_stream, to_stream
from support.eventually import eventually
from support.pictures import png
from support.processes import server_process
from support.sqlite_logs import delete_entry, list_problems
from support.ws_client import Member, member, request

from bqwidget.protocol import Send

SECRET = "mango7"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old messages are looked for several times a second."""
    monkeypatch.setattr(retention.Retention, "interval", 0.1)


@contextlib.contextmanager
def serving(path: Path, **options: Any) -> Iterator[tuple[str, Member]]:
    with running_server(log=f"sqlite:{path}", open=True, **options) as server, member(server.url) as one:
        yield server.url, one


def say(one: Member, text: str, **more: Any) -> int:
    one.say(text, cid=f"c-{text[:20]}", **more)
    return int(one.until("ack")["seq"])


def log_entries(url: str, room: str = "lobby") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = request(url, "GET", f"/rooms/{room}/log?limit=200").json
    return found


def fill(one: Member, count: int = 60, start: int = 0) -> int:
    """Messages with numbers from ``start`` on; 60 of them are more than 20 kB. Returns the last seq."""
    return [say(one, f"filler {number} " + "x" * 500) for number in range(start, start + count)][-1]


def wait_for_trim(url: str, seq: int) -> None:
    eventually(lambda: log_entries(url)[0]["seq"] > seq, what="the trim")


def change(one: Member, kind: str, target: int, **more: Any) -> None:
    one.send({"type": f"chat.{kind}", "cid": f"{kind}-{target}", "user": "ada", "target": target, **more})
    one.until("ack")


@pytest.mark.usefixtures("often")
def test_an_attachment_goes_with_the_last_message_that_references_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COMPACTION_DELAY", "SEARCH_COMPACTION_DELAY", "RETRY_INTERVAL"):
        monkeypatch.setattr(compaction, name, 0.5)  # less would stop the writer most of the time
    monkeypatch.setattr("bqserver.storage.sqlite.attachments.REMOVAL_DELAY", 0.0)
    pictures = [png(64, 64, color=(number, 2, 3)) for number in range(2)]
    with serving(path, retain=["lobby=20kB"]) as (url, one):
        kept, gone = (
            request(url, "POST", "/rooms/lobby/parts?name=p.png", data, Content_Type="image/png").json
            for data in pictures
        )
        request(url, "POST", "/rooms/other/parts?name=p.png", pictures[1], Content_Type="image/png")
        last = say(one, SECRET, parts=[kept, gone])
        request(url, "POST", "/rooms/other/messages", {"user": "ada", "text": "", "parts": [gone]})
        assert request(url, "GET", f"/rooms/lobby/search?q={SECRET}").json[0]["seq"] == last
        fill(one, 30)
        again = say(one, "again", parts=[kept])
        fill(one, 20, 30)  # "again" is still within 20 kB, so that what it references is there
        say(one, "third", parts=[kept])
        fill(one, 20, 50)
        wait_for_trim(url, again)
        assert log_entries(url)[-1]["text"].startswith("filler 69")
        eventually(lambda: request(url, "GET", f"/rooms/lobby/parts/{gone['sha256']}").status == 404)
        assert request(url, "GET", f"/rooms/lobby/parts/{kept['sha256']}").body == pictures[0]
        assert request(url, "GET", f"/rooms/other/parts/{gone['sha256']}").body == pictures[1]
        assert request(url, "GET", f"/rooms/lobby/search?q={SECRET}").json == []
        with contextlib.closing(sqlite3.connect(f"{path}-parts")) as db:
            eventually(lambda: db.execute("SELECT count(*) FROM part").fetchone() == (2,))
        files = [file for file in path.parent.iterdir() if file.is_file()]
        eventually(lambda: not any(SECRET.encode() in file.read_bytes() for file in files), what="the end of the text")
    assert list_problems(path) == []


@pytest.mark.usefixtures("often")
def test_check_backup_and_copy_take_what_is_left(path: Path, tmp_path: Path, nats_single: Any) -> None:
    """Of a removed message there are still an edit, a reaction, an answer and a delete."""
    with serving(path) as (url, one):
        first, asked, third = say(one, "first"), say(one, "which?", ask={"choices": ["a", "b"]}), say(one, "third")
        fill(one, 30)
        change(one, "edit", first, text="edited")
        change(one, "react", asked, emoji="👍")
        say(one, "b", re=asked, choice="b")
        change(one, "delete", third)
        answer = say(one, "the last", re=first)
        change(one, "edit", answer, text="the very last")
    with serving(path, retain=["*=20kB"]) as (url, _):
        wait_for_trim(url, third)
        left = log_entries(url)
        assert {entry.get("target") for entry in left} >= {first, asked, third, answer}
    backup, back, cluster = tmp_path / "backup.sqlite", tmp_path / "back.sqlite", nats_single.log()
    assert list_problems(path) == []
    make_backup(path, backup)
    restore(path, backup)
    assert list_problems(path) == []
    asyncio.run(to_stream(path, cluster, single=True, credentials="", on_progress=lambda *_: None))
    asyncio.run(from_stream(cluster, back, credentials="", on_progress=lambda *_: None))
    assert list_problems(back) == []
    with serving(path) as (url, one):
        assert log_entries(url) == left
        assert one.recv()["oldest"] == left[0]["seq"]
        assert say(one, "after it") == left[-1]["seq"] + 1
    with serving(back) as (url, _):
        messages = request(url, "GET", "/messages").json
        assert messages[-1]["text"] == "the very last"
        assert [entry["text"] for entry in messages] == [
            entry["text"] if entry["text"] != "the last" else "the very last" for entry in left if "target" not in entry
        ][-50:]


def test_check_reports_an_entry_below_what_was_removed(path: Path) -> None:
    with serving(path) as (_, one):
        fill(one, 5)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO trimmed VALUES ('lobby', 1)")
    [problem] = list_problems(path)
    assert problem == "room lobby, seq 1: it is among the entries that were removed"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM entry WHERE id = (1 << 40 | 1)")
    assert list_problems(path) == []
    delete_entry(path)
    delete_entry(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM entry WHERE id = (1 << 40 | 3)")
    [problem] = list_problems(path)
    assert "entries before it are missing, from seq 3 on" in problem


def test_a_real_server_removes_at_its_start_what_is_too_much(path: Path) -> None:
    with serving(path) as (_, one):
        last = fill(one)
    with server_process(f"--log=sqlite:{path}", "--open", "--retain=lobby=20kB") as server:
        wait_for_trim(server.url, last - 40)
        found = log_entries(server.url)
        assert found[-1]["seq"] == last
        assert sum(len(json.dumps(entry)) for entry in found) < 20_000


def test_messages_are_stored_between_the_batches_of_a_large_trim(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MAX_TRIM_ENTRIES", 10)
    events: list[object] = []

    async def scenario() -> None:
        log = SqliteLog(path)
        texts = [Submission("lobby", "ada", Send(cid=f"c{number}", user="ada", text="x")) for number in range(1_000)]
        *_, last = await log.append(texts[:500])
        assert isinstance(last, Stored)

        async def trim(room: str, upto: int) -> None:
            await log._trim(room, upto)
            events.append(upto)

        sweeper = retention.Retention(
            [retention.Rule("*", 60.0)], log._readers, trim, lambda: (last.at + 1.5) / 1000 + 60
        )
        sweep = asyncio.create_task(sweeper.sweep())
        number = 500
        while not sweep.done():
            [entry] = await log.append([texts[number]])
            assert isinstance(entry, Stored)
            events.append("sent")
            number += 1
        assert await sweep == {"lobby": last.seq}
        bounds = await log.bounds("lobby")
        assert (bounds.oldest, bounds.seq) == (last.seq + 1, number)
        await log.close()

    asyncio.run(scenario())
    assert [one for one in events if one != "sent"] == list(range(10, 501, 10))
    assert events.count("sent") >= 25


def test_a_member_whose_replay_is_overtaken_by_a_trim_receives_a_gap(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(path) as (_, one):
        hello = one.recv()
        fill(one, 40)
    monkeypatch.setattr(catch_up, "FIRST_CHUNK_ENTRIES", 5)
    entries = SqliteLog.entries

    async def trimming(log: SqliteLog, room: str, *, after: int, upto: int, limit: int) -> list[Stored]:
        if after == 5:
            await log._trim(room, 20)
        if after >= 25:
            await log._trim(room, 40)
        return await entries(log, room, after=after, upto=upto, limit=min(limit, 5))

    monkeypatch.setattr(SqliteLog, "entries", trimming)
    with (
        running_server(log=f"sqlite:{path}", open=True) as server,
        member(server.url, query=f"?after=0&epoch={hello['epoch']}") as one,
    ):
        frames = []
        while (frame := one.recv())["type"] != "synced":
            frames.append(frame)
    gaps = [(frame["from"], frame["to"], frame["reason"]) for frame in frames if frame["type"] == "gap"]
    assert gaps == [(5, 20, "trimmed"), (25, 40, "trimmed")]
    assert [frame["entry"]["seq"] for frame in frames if frame["type"] == "message"] == [*range(1, 6), *range(21, 26)]


def test_a_file_of_the_version_before_opens(path: Path) -> None:
    """Also a replica's, which had the table for what was removed already."""
    with serving(path) as (_, one):
        fill(one, 5)
    for statement in ("", "DROP TABLE trimmed"):
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("PRAGMA user_version = 2")
            db.execute("DROP INDEX addition")
            db.execute("DROP TABLE live")
            db.execute("DROP TABLE read_position")
            db.execute(statement)
        assert list_problems(path) == []
        with serving(path) as (url, _):
            assert len(log_entries(url)) == 5
