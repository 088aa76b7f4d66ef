"""The SQLite log: its file, its queue and disk errors. Its contract as a MessageLog: test_interface.py."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from bqserver.errors import QueueFull, StorageError
from bqserver.model import Bounds, Rejected, Stored, Submission
from bqserver.storage.sqlite import schema
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.testing import running_server
from support.eventually import eventually
from support.ws_client import member, request

from bqwidget.protocol import Ask, React, Send


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


def hi(text: str = "hi", cid: str = "", **more: object) -> Submission:
    return Submission("lobby", "ada", Send(cid=cid, user="ada", text=text, **more))


def run_scenario(path: Path, scenario: Callable[[SqliteLog], Awaitable[None]], **options: int) -> None:
    async def main() -> None:
        log = SqliteLog(path, **options)
        try:
            await scenario(log)
        finally:
            await log.close()

    asyncio.run(main())


def open_error(path: Path) -> str:
    """The message of the StorageError that opening raises."""

    async def scenario(_: SqliteLog) -> None:
        pass

    with pytest.raises(StorageError) as caught:
        run_scenario(path, scenario)
    return str(caught.value)


# ---- the file


def test_acknowledged_entries_are_there_after_reopening(path: Path):
    results: list[object] = []

    async def write(log: SqliteLog) -> None:
        outcomes = await log.append([hi("1", "a"), hi("2"), hi("3", "b")])
        outcomes += await log.append([Submission("lobby", "bob", React(cid="", user="bob", target=1, emoji="x"))])
        results.extend([log.epoch, await log.messages("lobby", limit=9), outcomes])

    async def read(log: SqliteLog) -> None:
        epoch, messages, outcomes = results
        assert (log.epoch, await log.messages("lobby", limit=9)) == (epoch, messages)
        assert await log.entries("lobby", after=0, upto=9, limit=9) == outcomes
        [repeated] = await log.append([hi("1", "a")])
        assert isinstance(repeated, Stored)
        assert (repeated.seq, repeated.dup) == (1, True)
        [new] = await log.append([hi("4")])
        assert isinstance(new, Stored)
        assert (new.prev, new.seq) == (4, 5)

    run_scenario(path, write)
    run_scenario(path, read)


def test_at_increases_across_restarts_even_if_the_clock_goes_back(path: Path, monkeypatch: pytest.MonkeyPatch):
    ats = []

    async def scenario(log: SqliteLog) -> None:
        [outcome] = await log.append([hi()])
        assert isinstance(outcome, Stored)
        ats.append(outcome.at)

    for clock in (2_000.0, 1_000.0, 3_000.0):
        monkeypatch.setattr(time, "time", lambda now=clock: now)
        run_scenario(path, scenario)
    assert ats == [2_000_000, 2_000_001, 3_000_000]


def test_commits_are_synced_before_they_are_acknowledged(path: Path):
    async def scenario(log: SqliteLog) -> None:
        assert log._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert log._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL; tests/chaos/ simulates power cuts

    run_scenario(path, scenario)


def test_readers_cannot_write(path: Path):
    async def scenario(_: SqliteLog) -> None:
        reader = schema.connect(path, readonly=True)
        with contextlib.closing(reader), pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM meta")

    run_scenario(path, scenario)


def test_the_file_and_its_folder_are_private(tmp_path: Path):
    path = tmp_path / "new" / "folders" / "log.sqlite"

    async def scenario(log: SqliteLog) -> None:
        await log.append([hi()])
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}

    run_scenario(path, scenario)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_duplicates_are_found_by_the_index(path: Path):
    plans = []

    async def scenario(log: SqliteLog) -> None:
        await log.append([hi("1", "a"), hi("2", "b")])

    run_scenario(path, scenario)
    with contextlib.closing(sqlite3.connect(path)) as db:
        plans = db.execute(
            "EXPLAIN QUERY PLAN WITH wanted(room, principal, cid) AS (VALUES (1, 'ada', 'a'), (1, 'ada', 'b')) "
            "SELECT id FROM wanted JOIN entry USING (room, principal, cid)"
        ).fetchall()
    assert any("SEARCH entry USING" in row[-1] and "once" in row[-1] for row in plans), plans


def test_appends_queued_during_a_commit_form_the_next_one(path: Path):
    async def scenario(log: SqliteLog) -> None:
        commits: list[int] = []
        log.subscribe(lambda entries: commits.append(len(entries)))
        await log.append([hi("first")])
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # the first of them waits, as for a slow disk
            waiting = [log.append([hi(str(number))]) for number in range(300)]
            other.execute("ROLLBACK")
        await asyncio.gather(*waiting)
        assert sum(commits) == 301
        assert len(commits) <= 3

    run_scenario(path, scenario)


# ---- the queue


def test_a_full_queue_raises_until_it_is_written(path: Path):
    async def scenario(log: SqliteLog) -> None:
        waiting = [log.append([hi(str(number))]) for number in range(10)]
        with pytest.raises(QueueFull, match="try again in 1 s") as full:
            log.append([hi("one too many")])
        assert full.value.retry_after == 1.0
        await asyncio.gather(*waiting)
        await log.append([hi("now it fits")])
        assert await log.bounds("lobby") == Bounds(1, 11)

    run_scenario(path, scenario, max_pending=10)


def test_the_queue_is_limited_in_bytes_too(path: Path):
    async def scenario(log: SqliteLog) -> None:
        long = hi("x" * 10_000)
        waiting = [log.append([long]) for _ in range(9)]
        with pytest.raises(QueueFull):
            log.append([long])
        with pytest.raises(QueueFull):
            log.append([hi("x", ask=Ask(choices=("y" * 20_000,)))])
        waiting.append(log.append([hi("a short one still fits")]))
        await asyncio.gather(*waiting)
        await log.append([long])

    run_scenario(path, scenario, max_pending_bytes=100_000)


def test_an_empty_queue_accepts_a_batch_above_its_limits(path: Path):
    async def scenario(log: SqliteLog) -> None:
        outcomes = await log.append([hi(str(number)) for number in range(50)])
        assert all(isinstance(one, Stored) for one in outcomes)

    run_scenario(path, scenario, max_pending=10, max_pending_bytes=100)


@pytest.mark.sqlite
def test_a_server_with_a_full_queue_answers_503_and_retry_ms(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(SqliteLog.__init__, "__kwdefaults__", {**DEFAULTS, "max_pending": 1})
    with running_server(log=f"sqlite:{path}", open=True) as server, member(server.url) as one:
        one.until("synced")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # the writer waits, as for a slow disk
            one.say("first", cid="first")
            errors = []
            while not errors:
                one.say("more", cid="more")
                one.send({"type": "chat.ping"})
                frame = one.recv()
                errors = [frame] if frame["type"] == "error" else []
            answer = request(server.url, "POST", "/messages", {"user": "ada", "text": "hi"})
            other.execute("ROLLBACK")
        assert errors[0].items() >= {"code": "overload", "cid": "more", "retry_ms": 1_000}.items()
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "overload", "1")
        one.until("ack")
        one.say("more", cid="again")
        assert one.until("ack")["cid"] in ("more", "again")


DEFAULTS = SqliteLog.__init__.__kwdefaults__


# ---- closing


def test_close_finishes_pending_appends_and_rejects_later_ones(path: Path):
    async def scenario(log: SqliteLog) -> None:
        assert await log.bounds("lobby") == Bounds(0, 0)
        appended = [log.append([hi(str(number))]) for number in range(50)]
        closing = asyncio.ensure_future(log.close())
        await asyncio.sleep(0)
        [late] = await log.append([hi("late")])
        assert isinstance(late, Rejected)
        assert (late.code, late.status) == ("restart", 503)
        with pytest.raises(StorageError, match="stopping"):
            await log.bounds("lobby")
        await closing
        assert all(isinstance(one, Stored) for done in appended for one in done.result())

    async def main() -> None:
        await scenario(SqliteLog(path))

    asyncio.run(main())
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM entry").fetchone() == (50,)
    assert sorted(file.name for file in path.parent.iterdir()) == ["log.sqlite", "log.sqlite.lock"]


# ---- unusable files


def test_a_second_server_is_refused_and_the_error_names_the_process(path: Path):
    async def scenario(log: SqliteLog) -> None:
        with pytest.raises(StorageError, match=rf"in use by another bqserver \(process {os.getpid()}\): stop it"):
            SqliteLog(path)
        await log.append([hi()])  # the first one is not affected

    run_scenario(path, scenario)


def test_a_second_server_is_refused_through_a_symlink_too(path: Path):
    link = path.with_name("link.sqlite")
    link.symlink_to(path)

    async def scenario(_: SqliteLog) -> None:
        with pytest.raises(StorageError, match="in use by another bqserver"):
            SqliteLog(link)

    run_scenario(path, scenario)


def test_a_database_of_another_program_is_not_changed(path: Path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
        db.commit()
    before = path.read_bytes()
    assert "the database of another program" in open_error(path)
    assert path.read_bytes() == before


def test_an_empty_database_of_another_program_is_refused(path: Path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id = 77")
    assert "the database of another program" in open_error(path)


def test_a_file_that_is_not_a_database_is_not_changed(path: Path):
    path.write_text("dear diary, " * 1_000)
    assert "is not a bqserver database: give another file with --log=sqlite:PATH" in open_error(path)
    assert path.read_text().startswith("dear diary")


def test_a_database_of_a_newer_version_is_refused(path: Path):
    async def scenario(_: SqliteLog) -> None:
        pass

    run_scenario(path, scenario)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    text = open_error(path)
    assert "newer bqserver (schema 99, this one knows" in text
    assert text.endswith("upgrade bqwidget")


def test_the_error_for_a_damaged_file_names_check_and_restore(path: Path):
    async def scenario(log: SqliteLog) -> None:
        await log.append([hi("x" * 1_000) for _ in range(100)])

    run_scenario(path, scenario)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * 4_000 + whole[4_100:])
    text = open_error(path)
    assert "is damaged" in text
    assert "bqserver check" in text
    assert "bqserver restore" in text


def test_a_file_in_place_of_a_folder_is_an_error(path: Path):
    path.write_text("")
    assert "can't be written" in open_error(path / "log.sqlite")


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """Drop root's permissions, which allow writing everywhere."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="folders there have no such modes")
def test_a_folder_without_write_permission_is_an_error(tmp_path: Path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    folder.chmod(0o500)
    with without_root():
        text = open_error(folder / "log.sqlite")
    assert "can't be written (Permission denied): give another file with --log=sqlite:PATH" in text


def test_a_failed_open_releases_the_lock(path: Path):
    path.write_text("dear diary, " * 1_000)
    open_error(path)
    path.unlink()

    async def scenario(log: SqliteLog) -> None:
        await log.append([hi()])

    run_scenario(path, scenario)


# ---- older files


def test_an_older_file_is_upgraded_and_keeps_its_entries(path: Path, monkeypatch):
    async def write(log: SqliteLog) -> None:
        await log.append([hi("from before", "a")])

    async def read(log: SqliteLog) -> None:
        assert len(await log.messages("lobby", limit=9)) == 1

    run_scenario(path, write)
    steps = [*schema.MIGRATIONS, "ALTER TABLE room ADD COLUMN topic TEXT", lambda db: db.execute("SELECT 1")]
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    run_scenario(path, read)
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(steps),)
        assert "topic" in [row[1] for row in db.execute("PRAGMA table_info(room)")]


def test_a_failed_migration_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch):
    async def scenario(log: SqliteLog) -> None:
        await log.append([hi()])

    run_scenario(path, scenario)
    released = len(schema.MIGRATIONS)
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, "CREATE TABLE new (a); NOT SQL"])
    assert f"could not be upgraded to schema {released + 1} and is unchanged" in open_error(path)
    monkeypatch.undo()
    run_scenario(path, scenario)
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'new'").fetchone() == (0,)


# ---- full disks


@contextlib.contextmanager
def full_disk(path: Path, spare: int) -> Iterator[None]:
    """Limit the files of this process to the size of the log's largest one plus ``spare`` bytes.

    The kernel then says EFBIG where a full disk says ENOSPC; both reach SQLite as a write that fails.
    """
    import resource  # Unix only

    sizes = [file.stat().st_size for file in path.parent.iterdir()]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) + spare, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.fixture
def no_preallocation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start with an empty write-ahead log, so that a full disk has an effect at once."""
    monkeypatch.setattr("bqserver.storage.sqlite.schema.preallocate_wal", lambda _: None)


def test_the_write_ahead_log_is_preallocated(path: Path):
    async def scenario(log: SqliteLog) -> None:
        await log.append([hi("1")])
        size = path.with_name(path.name + "-wal").stat().st_size
        assert size >= schema.WAL_INITIAL_BYTES
        for number in range(100):
            await log.append([hi("x" * 1_000, str(number))])
        assert path.with_name(path.name + "-wal").stat().st_size == size
        assert log._db.execute("SELECT count(*) FROM meta WHERE name = 'room'").fetchone() == (0,)

    run_scenario(path, scenario)


@pytest.mark.sqlite
@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
@pytest.mark.usefixtures("no_preallocation")
def test_a_full_disk_rejects_appends_serves_reads_and_recovers(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bqserver.storage.sqlite.log.PROBE_INTERVAL", 0.05)
    is_full, probe = threading.Event(), SqliteLog._probe
    # What the server writes to try it is small: a few times it would fit.
    monkeypatch.setattr(SqliteLog, "_probe", lambda log: None if is_full.is_set() else probe(log))
    with running_server(log=f"sqlite:{path}", open=True) as server, member(server.url) as one:
        one.until("synced")

        def post(text: str) -> int:
            return request(server.url, "POST", "/messages", {"user": "ada", "text": text}).status

        assert post("before") == 201
        is_full.set()
        with full_disk(path, 64 * 1024):
            statuses = [post(f"{number} {'x' * 10_000}") for number in range(20)]
            stored = 1 + statuses.count(201)
            assert set(statuses) == {201, 503}
            rejected = request(server.url, "POST", "/messages", {"user": "ada", "text": "x" * 10_000})
            assert (rejected.status, rejected.code) == (503, "unavailable")
            assert int(rejected.headers["Retry-After"]) > 0
            one.say("x" * 10_000, cid="mine")
            assert one.until("error").items() >= {"code": "unavailable", "cid": "mine", "retry_ms": 5_000}.items()
            assert request(server.url, "GET", "/health").status == 503
            assert len(request(server.url, "GET", "/messages").json) == stored
            with member(server.url, query="?after=0") as reader:
                assert len(reader.texts(stored)) == stored
        is_full.clear()
        eventually(lambda: request(server.url, "GET", "/health").status == 200, what="health to come back by itself")
        assert post("after") == 201
        one.say("x" * 10_000, cid="mine")
        assert one.until("ack").items() >= {"cid": "mine", "dup": False}.items()
        seqs = [entry["seq"] for entry in request(server.url, "GET", "/rooms/lobby/log?limit=200").json]
        assert seqs == list(range(1, stored + 3))


@pytest.mark.usefixtures("no_preallocation")
def test_a_failed_commit_and_the_recovery_are_logged_once(path: Path, caplog: pytest.LogCaptureFixture, monkeypatch):
    monkeypatch.setattr("bqserver.storage.sqlite.log.PROBE_INTERVAL", 600.0)  # what it tries would fit

    async def scenario(log: SqliteLog) -> None:
        log._db.execute("PRAGMA max_page_count = 1")
        for _ in range(5):
            outcomes = await log.append([hi("x" * 100_000)])
            assert isinstance(outcomes[0], Rejected)
            assert "full" in outcomes[0].message
        log._db.execute("PRAGMA max_page_count = 1000000")
        await log.append([hi("x" * 100_000)])
        assert log.healthy()

    run_scenario(path, scenario)
    assert [record.getMessage() for record in caplog.records] == [
        f"messages can't be stored: the disk of {path} is full: free some space",
        "messages can be stored again",
    ]


@pytest.mark.usefixtures("no_preallocation")
def test_a_failed_batch_leaves_nothing_behind(path: Path):
    async def scenario(log: SqliteLog) -> None:
        await log.append([hi("1")])
        log._db.execute("PRAGMA max_page_count = 1")
        received: list[Stored] = []
        log.subscribe(received.extend)
        rejected = await log.append([hi("x" * 100_000, "a"), Submission("new-room", "ada", hi("2").draft)])
        assert [type(one) for one in rejected] == [Rejected, Rejected]
        log._db.execute("PRAGMA max_page_count = 1000000")
        [outcome, other] = await log.append([hi("again", "a"), Submission("new-room", "ada", hi("2").draft)])
        assert isinstance(outcome, Stored)
        assert isinstance(other, Stored)
        assert (outcome.prev, outcome.seq, outcome.dup, other.seq) == (1, 2, False, 1)
        assert [entry.seq for entry in received] == [2, 1]
        [body] = await log.messages("new-room", limit=9)
        assert json.loads(body)["text"] == "2"

    run_scenario(path, scenario)
