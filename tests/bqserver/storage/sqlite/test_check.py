"""Checks of the SQLite log and its attachments: every kind of corruption is found."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from bqserver.model import Submission
from bqserver.storage.sqlite.attachments import attachments_path
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.testing import running_server
from support.sqlite_logs import (
    corrupt,
    list_problems,
    make_log,
    make_log_with_attachments,
    run_bqserver,
)
from support.ws_client import request

from bqwidget.protocol import Append, End, Send

pytestmark = pytest.mark.sqlite


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return make_log(tmp_path / "log.sqlite")


@pytest.fixture
def log_with_attachments(tmp_path: Path) -> Path:
    return make_log_with_attachments(tmp_path / "live" / "log.sqlite")


def test_a_good_log_has_no_problems(log: Path):
    assert list_problems(log) == []
    with running_server(log=f"sqlite:{log}", open=True) as server:
        request(server.url, "POST", "/messages", {"user": "ada", "text": "hi"})
        assert list_problems(log) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("DELETE FROM entry WHERE id = (1 << 40 | 3)", "entries before it are missing, from seq 3 on"),
        ("UPDATE entry SET at = at - 100000 WHERE id = (1 << 40 | 4)", "is not after"),
        ("UPDATE entry SET body = '{}' WHERE id = (1 << 40 | 4)", "its body can't be read"),
        ("UPDATE entry SET cid = 'other' WHERE id = (1 << 40 | 4)", "its body says room lobby, seq 4"),
        (
            "UPDATE entry SET id = (1 << 40 | 9) WHERE id = (1 << 40 | 7)",
            "its body says room lobby, seq 7",
        ),
        (
            "UPDATE entry SET folded = NULL WHERE id = (1 << 40 | 1)",
            "seq 1: its folded text does not match its changes",
        ),
        (
            "UPDATE entry SET folded = body WHERE id = (1 << 40 | 6)",
            "seq 6: its folded text does not match its changes",
        ),
        (
            "UPDATE entry SET folded = NULL WHERE id = (1 << 40 | 4)",
            "seq 4: its folded text does not match its changes",
        ),
        (
            "UPDATE entry SET folded = '{}' WHERE id = (1 << 40 | 5)",
            "seq 5: its folded text does not match its changes",
        ),
        ("UPDATE entry SET target = 4 WHERE id = (1 << 40 | 2)", "its target is 4, its body says 1"),
        ("DELETE FROM entry WHERE id = (1 << 40 | 1)", "it refers to message 1, which does not exist"),
        ("UPDATE room SET name = 'no name' WHERE name = 'other'", "not a room name"),
        ("DELETE FROM meta WHERE name = 'epoch'", "the file has no epoch"),
        ("UPDATE entry SET room = 2 WHERE id = (1 << 40 | 7)", "it is stored among the entries of room 1"),
    ],
)
def test_each_rule_is_checked(log: Path, change: str, text: str):
    with contextlib.closing(sqlite3.connect(log)) as db:
        assert db.execute(change).rowcount == 1
        db.commit()
    assert any(text in problem for problem in list_problems(log)), list_problems(log)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "DELETE FROM live WHERE id = (1 << 40 | 1)",
            "room lobby, seq 1: it is being written, and is not noted as such",
        ),
        ("INSERT INTO live VALUES (1 << 40 | 3, '')", "room lobby, seq 3: it is noted as being written, and is not"),
    ],
)
def test_live_messages_are_checked(tmp_path: Path, change: str, problem: str):
    async def write() -> None:
        log = SqliteLog(tmp_path / "log.sqlite")
        drafts = [
            Send(cid="1", user="ada", text="", live=True),
            Append(target=1, offset=0, text="one"),
            Send(cid="2", user="ada", text="", live=True),
            End(cid="3", target=3, end="done"),
        ]
        await log.append([Submission("lobby", "ada", draft) for draft in drafts])
        await log.close()

    asyncio.run(write())
    path = tmp_path / "log.sqlite"
    assert list_problems(path) == []
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute(change).rowcount == 1
        db.commit()
    assert list_problems(path) == [problem]


def test_a_damaged_file_has_problems(log: Path):
    corrupt(log)
    assert list_problems(log)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("UPDATE part SET body = x'00' WHERE rowid = 1", "is not what was uploaded"),
        ("DELETE FROM part WHERE rowid = 1", "room lobby, seq 1: its attachment 'p.png' is not in"),
        ("UPDATE part SET room = 'other'", "seq 2: its attachment 'p.png' is not in"),
    ],
)
def test_a_wrong_or_missing_attachment_is_a_problem(log_with_attachments: Path, change: str, text: str):
    assert run_bqserver("check", f"--log=sqlite:{log_with_attachments}").returncode == 0
    with contextlib.closing(sqlite3.connect(attachments_path(log_with_attachments), isolation_level=None)) as db:
        db.execute(change)
    checked = run_bqserver("check", f"--log=sqlite:{log_with_attachments}")
    assert checked.returncode == 1
    assert text in checked.stdout
