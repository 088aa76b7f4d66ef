"""``bqserver copy``: a copy there and back is identical, with other seqs in between and after interruptions."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bqserver.auth.moderation import ModerationState, Mute, moderation_path
from bqserver.errors import StorageError
from bqserver.model import Stored, Submission
from bqserver.storage.attachments import StoredAttachment
from bqserver.storage.nats.log import open_log
from bqserver.storage.sqlite.attachments import SqliteAttachments
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.storage.sqlite.schema import connect, read_epoch
from bqserver.testing import running_server
from bqserver.transfer.canonical import compute_totals, read_entries
from bqserver.transfer.copy import from_stream, to_stream
from bqserver.transfer.stream_export import Progress
from hypothesis import given, settings
from hypothesis import strategies as st
from support.forking.server import run
from support.submissions import submissions
from support.ws_client import request

from bqwidget.protocol import Part, Send

ENTRY_COUNT = int(os.environ.get("BQWIDGET_COPY", "3000"))
"""Entries. The documented figures are for 1,000,000, which takes some minutes."""


def run_copy(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run("copy", "--single", *arguments)


def submit(number: int, room: str = "lobby", re: int | None = None) -> Submission:
    return Submission(room, "ada", Send(cid=f"c{number}", user="ada", text=f"message {number}", re=re))


async def write_log(path: Path, batches: list[list[Submission]]) -> None:
    log = SqliteLog(path)
    for batch in batches:
        await log.append(batch)
    await log.close()


def read_rows(path: Path) -> list[tuple[object, ...]]:
    """All entries of a file, byte for byte."""
    with contextlib.closing(connect(path, readonly=True)) as db:
        return db.execute(
            "SELECT name, entry.id & 1099511627775, at, principal, cid, target, body, folded "
            "FROM entry JOIN room ON room.id = entry.room ORDER BY name, entry.id"
        ).fetchall()


def test_rooms_are_compared_by_name(nats_single, tmp_path: Path):
    """Rooms get their numbers in different orders: those with cids are looked up, and numbered, first."""
    first = Submission("a", "ada", Send(cid="", user="ada", text="without a cid"))
    asyncio.run(write_log(tmp_path / "here.sqlite", [[first], [submit(1, "b")]]))
    url = nats_single.log()
    there = run_copy(f"sqlite:{tmp_path / 'here.sqlite'}", url)
    assert there.returncode == 0, there.stderr
    back = run_copy(url, f"sqlite:{tmp_path / 'back.sqlite'}")
    assert back.returncode == 0, back.stderr


@settings(max_examples=8)
@given(drafts=st.lists(submissions(), min_size=1, max_size=40))
def test_a_copy_there_and_back_is_identical(nats_single, tmp_path_factory, drafts):
    folder = tmp_path_factory.mktemp("copy")
    url = nats_single.log()

    async def scenario() -> None:
        await write_log(folder / "here.sqlite", [drafts])
        there = await to_stream(folder / "here.sqlite", url, single=True, credentials="", on_progress=lambda *_: None)
        back = await from_stream(url, folder / "back.sqlite", credentials="", on_progress=lambda *_: None)
        assert there == back

    asyncio.run(scenario())
    assert read_rows(folder / "back.sqlite") == read_rows(folder / "here.sqlite")
    assert not [file for file in folder.iterdir() if file.suffix not in (".sqlite", ".lock")]
    with contextlib.closing(connect(folder / "back.sqlite", readonly=True)) as db:
        back_epoch = read_epoch(db)
    with contextlib.closing(connect(folder / "here.sqlite", readonly=True)) as db:
        assert back_epoch != read_epoch(db)


@pytest.mark.timeout(120 + ENTRY_COUNT // 500)
def test_a_killed_copy_resumes_and_is_served(nats_single, tmp_path: Path):
    path, url = tmp_path / "here.sqlite", nats_single.log()
    rooms = [
        [submit(number, f"room-{room}", re=1 if number else None) for number in range(ENTRY_COUNT // 10)]
        for room in range(10)
    ]
    asyncio.run(write_log(path, rooms))
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", KILLED_COPY, str(path), url, str(ENTRY_COUNT // 2)]
    killed = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    with pytest.raises(StorageError, match="a copy into it is not complete"):
        asyncio.run(open_log(url, tmp_path / "view.sqlite", single=True))
    done = run_copy(f"sqlite:{path}", url)
    assert done.returncode == 0, done.stderr
    assert f"10 rooms, {ENTRY_COUNT:,} entries" in done.stdout

    async def served() -> None:
        log = await open_log(url, tmp_path / "view.sqlite", single=True)
        last = await log.messages("room-7", limit=1)
        assert b"message %d" % (ENTRY_COUNT // 10 - 1) in last[0]
        [repeated] = await log.append([submit(3, "room-7", re=(await log.bounds("room-7")).oldest)])
        assert isinstance(repeated, Stored)
        assert repeated.dup  # the cids were copied
        await log.close()

    asyncio.run(served())
    back = run_copy(url, f"sqlite:{tmp_path / 'back.sqlite'}")
    assert back.returncode == 0, back.stderr
    assert back.stdout.split("sha256 ")[1][:12] == done.stdout.split("sha256 ")[1][:12]
    print(f"there: {done.stdout}and back: {back.stdout}")  # shows the durations with -s
    check = [sys.executable, "-m", "bqserver", "check", f"--log=sqlite:{tmp_path / 'back.sqlite'}"]
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0
    with contextlib.closing(connect(tmp_path / "back.sqlite", readonly=True)) as db:
        assert compute_totals(read_entries(db)).entries == ENTRY_COUNT


KILLED_COPY = """
import asyncio, os, signal, sys
from pathlib import Path
from bqserver.transfer.copy import to_stream
def kill_half_way(done, count):
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(to_stream(Path(sys.argv[1]), sys.argv[2], single=True, credentials="", on_progress=kill_half_way))
"""


def test_attachments_are_copied(nats_single, tmp_path: Path):
    path, url, body = tmp_path / "here.sqlite", nats_single.log(), b"an attachment" * 20_000
    part = Part(mime="text/plain", sha256=hashlib.sha256(body).hexdigest(), size=len(body))

    async def prepare() -> None:
        await write_log(path, [[Submission("lobby", "ada", Send(cid="", user="ada", text="", parts=(part,)))]])
        store = SqliteAttachments(path)
        await store.put("lobby", StoredAttachment(part, body))
        await store.reference("lobby", [part.sha256])
        await store.close()

    asyncio.run(prepare())
    assert run_copy(f"sqlite:{path}", url).returncode == 0
    assert run_copy(url, f"sqlite:{tmp_path / 'back.sqlite'}").returncode == 0

    async def fetch() -> StoredAttachment | None:
        store = SqliteAttachments(tmp_path / "back.sqlite")
        found = await store.get("lobby", part.sha256)
        await store.close()
        return found

    assert asyncio.run(fetch()) == StoredAttachment(part, body)


def test_mutes_and_closed_rooms_are_copied(nats_single, tmp_path: Path):
    """Expired and lifted mutes are not copied."""
    path, url, now = tmp_path / "here.sqlite", nats_single.log(), time.time()
    asyncio.run(write_log(path, [[submit(1)]]))
    state = ModerationState(moderation_path(path), lambda: now - 60)
    state.close("closed", "ada")
    for user, until in (("Eve", None), ("bob", now + 3600), ("early", now - 30), ("lifted", None)):
        state.mute(Mute(room="lobby", user=user, by="ada", until=until))
    state.unmute("lobby", "lifted")
    assert run_copy(f"sqlite:{path}", url).returncode == 0
    with running_server(log=url, single=True, view=str(tmp_path / "view.sqlite"), open=True) as node:
        posted = {
            user: request(node.url, "POST", "/messages", {"user": user, "text": "hi"}).status
            for user in ("eve", "bob", "early", "lifted")
        }
        assert posted == {"eve": 403, "bob": 403, "early": 201, "lifted": 201}
        assert request(node.url, "GET", "/rooms/closed/messages").code == "room_closed"
    assert run_copy(url, f"sqlite:{tmp_path / 'back.sqlite'}").returncode == 0
    back = ModerationState(moderation_path(tmp_path / "back.sqlite"), lambda: now)
    assert back.export_values() == ModerationState(moderation_path(path), lambda: now).export_values()
    assert len(back.export_values()) == 3


def test_an_unreadable_moderation_file_is_an_error(nats_single, tmp_path: Path):
    path = tmp_path / "here.sqlite"
    asyncio.run(write_log(path, [[submit(1)]]))
    moderation_path(path).write_text("{")
    moderation_path(path).chmod(0o600)
    failed = run_copy(f"sqlite:{path}", nats_single.log())
    assert (failed.returncode, "not what bqserver wrote" in failed.stderr) == (1, True)


def test_a_copy_overwrites_nothing(nats_single, tmp_path: Path):
    path, url = tmp_path / "here.sqlite", nats_single.log()
    asyncio.run(write_log(path, [[submit(1)]]))

    async def serve() -> None:
        log = await open_log(url, tmp_path / "view.sqlite", single=True)
        await log.append([submit(2)])
        await log.close()

    asyncio.run(serve())
    there = run_copy(f"sqlite:{path}", url)
    assert (there.returncode, there.stdout) == (1, "")
    assert "exists already: copy into another one" in there.stderr
    back = run_copy(url, f"sqlite:{path}")
    assert back.returncode == 1
    assert "give the name of a new file" in back.stderr


def test_a_log_in_use_is_refused(nats_single, tmp_path: Path):
    async def scenario() -> None:
        log = SqliteLog(tmp_path / "here.sqlite")
        await log.append([submit(1)])
        copied = await asyncio.to_thread(run_copy, f"sqlite:{tmp_path / 'here.sqlite'}", nats_single.log())
        await log.close()
        assert copied.returncode == 1
        assert "in use by another bqserver" in copied.stderr

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "arguments", [[], ["sqlite:a"], ["sqlite:a", "sqlite:b"], ["nats://a", "nats://b"], ["a", "b"]]
)
def test_two_logs_of_different_kinds_are_required(arguments: list[str]):
    failed = run_copy(*arguments)
    assert failed.returncode == 2
    assert "give two logs" in failed.stderr


@pytest.mark.parametrize("interrupted", [2, 5, 8])
def test_a_copy_from_a_stream_resumes(nats_single, tmp_path: Path, interrupted: int):
    """Interrupted while the stream is read, and while the file is written."""
    url = nats_single.log()
    asyncio.run(write_log(tmp_path / "here.sqlite", [[submit(number) for number in range(2_100)]]))
    assert run_copy(f"sqlite:{tmp_path / 'here.sqlite'}", url).returncode == 0
    calls: list[tuple[int, int]] = []

    def interrupt(done: int, count: int) -> None:
        calls.append((done, count))
        if len(calls) == interrupted:
            raise OverflowError("enough")

    def copy(progress: Progress) -> None:
        asyncio.run(from_stream(url, tmp_path / "back.sqlite", credentials="", on_progress=progress))

    with pytest.raises(OverflowError, match="enough"):
        copy(interrupt)
    assert not (tmp_path / "back.sqlite").exists()
    before = len(calls)
    copy(lambda done, count: calls.append((done, count)))
    assert len(calls) - before < 10  # finished work is not repeated
    assert read_rows(tmp_path / "back.sqlite") == read_rows(tmp_path / "here.sqlite")
