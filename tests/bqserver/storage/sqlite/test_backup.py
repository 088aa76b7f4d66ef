"""Backups of the SQLite log, and restoring them, with real files and a real server."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from bqserver.errors import StorageError
from bqserver.storage.sqlite.attachments import attachments_path
from bqserver.storage.sqlite.backup import backup, restore
from bqserver.storage.sqlite.check import Contents
from bqserver.storage.sqlite.schema import read_epoch
from bqserver.testing import running_server
from support.eventually import eventually
from support.pictures import png
from support.sqlite_logs import (
    corrupt,
    delete_entry,
    fetch_attachments,
    list_problems,
    make_log,
    make_log_with_attachments,
    run_bqserver,
)
from support.ws_client import member, request

pytestmark = pytest.mark.sqlite


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return make_log(tmp_path / "log.sqlite")


@pytest.fixture
def log_with_attachments(tmp_path: Path) -> Path:
    return make_log_with_attachments(tmp_path / "live" / "log.sqlite")


def stored_rows(path: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT * FROM entry ORDER BY id").fetchall()


def stored_epoch(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return read_epoch(db)


# ---- backup


def test_a_backup_is_one_private_file_with_the_whole_log(log: Path, tmp_path: Path):
    target = tmp_path / "new" / "backup"
    assert backup(log, target) == Contents(rooms=2, entries=8)
    assert stored_rows(target) == stored_rows(log)
    assert stored_epoch(target) == stored_epoch(log)
    assert [file.name for file in target.parent.iterdir()] == ["backup"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list_problems(target) == []


def test_a_backup_under_load_is_consistent(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    copies = [tmp_path / f"backup-{number}" for number in range(5)]
    with running_server(log=f"sqlite:{path}", open=True) as server:
        done, acked = threading.Event(), []

        def send() -> None:
            with member(server.url) as one:
                one.until("synced")
                while not done.is_set():
                    for number in range(50):
                        one.say(str(number), cid=f"{len(acked)}-{number}")
                    acked.append([one.until("ack")["seq"] for _ in range(50)][-1])

        sender = threading.Thread(target=send)
        sender.start()
        try:
            marks, before = [], 0
            for copy in copies:
                eventually(lambda many=before: len(acked) > many, what="more acks")
                marks.append(acked[-1])
                backup(path, copy)
                before = len(acked)
        finally:
            done.set()
            sender.join()
    whole = stored_rows(path)
    for copy, mark in zip(copies, marks, strict=True):
        assert list_problems(copy) == []
        copied = stored_rows(copy)
        assert copied == whole[: len(copied)]
        assert len(copied) >= mark  # it has every entry acknowledged before it started
    assert len(stored_rows(copies[-1])) > len(stored_rows(copies[0]))


def test_a_backup_overwrites_no_file(log: Path, tmp_path: Path):
    for target in (log, tmp_path / "diary"):
        target.touch()
        before = target.read_bytes()
        with pytest.raises(StorageError, match="exists already: give the name of a new file"):
            backup(log, target)
        assert target.read_bytes() == before


def test_a_backup_of_a_damaged_log_is_refused(log: Path, tmp_path: Path):
    corrupt(log)
    with pytest.raises(StorageError, match="is damaged"):
        backup(log, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    assert not (tmp_path / "backup.part").exists()


def test_a_backup_to_an_unwritable_place_is_an_error(log: Path):
    with pytest.raises(StorageError, match="can't be written"):
        backup(log, log / "backup")


# ---- restore


def test_a_restored_log_has_a_new_epoch_and_the_former_log_is_kept(log: Path, tmp_path: Path):
    target = tmp_path / "backup"
    backup(log, target)
    with running_server(log=f"sqlite:{log}", open=True) as server:
        request(server.url, "POST", "/messages", {"user": "ada", "text": "after the backup"})
    now = stored_rows(log)
    found, former = restore(log, target)
    assert found == Contents(rooms=2, entries=8)
    assert stored_rows(log) == stored_rows(target)
    assert stored_epoch(log) != stored_epoch(target)
    assert former is not None
    assert stored_rows(former) == now
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert list_problems(log) == []


def test_a_restore_through_a_symlink_replaces_its_target(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    link = tmp_path / "elsewhere" / "link.sqlite"
    link.parent.mkdir()
    link.symlink_to(log)
    before = stored_epoch(log)
    restore(link, tmp_path / "backup")
    assert link.is_symlink()
    assert stored_epoch(log) != before


def test_clients_of_a_restored_log_get_a_gap_with_reason_epoch(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    before = stored_epoch(log)
    restore(log, tmp_path / "backup")
    with (
        running_server(log=f"sqlite:{log}", open=True) as server,
        member(server.url, query=f"?after=5&epoch={before}") as one,
    ):
        hello = one.recv()
        assert hello["resumed"] is False
        assert hello["epoch"] == stored_epoch(log) != before
        gap = one.until("gap")
        assert (gap["reason"], gap["from"], gap["to"]) == ("epoch", 0, hello["seq"])


def test_a_restore_creates_a_missing_log(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    new = tmp_path / "machine" / "log.sqlite"
    assert restore(new, tmp_path / "backup") == (Contents(rooms=2, entries=8), None)
    assert stored_rows(new) == stored_rows(log)


def test_a_restore_over_a_damaged_log_with_a_torn_write_ahead_log(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    corrupt(log)
    damaged = log.read_bytes()
    log.with_name("log.sqlite-wal").write_bytes(b"torn" * 1_000)
    _, former = restore(log, tmp_path / "backup")
    assert stored_rows(log) == stored_rows(tmp_path / "backup")
    assert former is not None
    assert former.read_bytes() == damaged


def test_a_restore_does_not_apply_the_former_write_ahead_log(log: Path, tmp_path: Path):
    """A crashed server leaves a write-ahead log, which would damage the restored file."""
    backup(log, tmp_path / "backup")
    crashed = sqlite3.connect(log, isolation_level=None)
    crashed.execute("UPDATE entry SET body = '{}'")
    wal_file = log.with_name("log.sqlite-wal")
    wal, before = wal_file.read_bytes(), log.read_bytes()
    crashed.close()
    log.write_bytes(before)
    wal_file.write_bytes(wal)
    restore(log, tmp_path / "backup")
    assert not wal_file.exists()
    assert stored_rows(log) == stored_rows(tmp_path / "backup")


def test_a_restore_keeps_a_write_ahead_log_that_cannot_be_merged(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    crashed = sqlite3.connect(log, isolation_level=None)
    crashed.execute("UPDATE entry SET body = '{}'")
    wal_file = log.with_name("log.sqlite-wal")
    wal = wal_file.read_bytes()
    crashed.close()
    log.write_bytes(b"\xa5" * 100 + log.read_bytes()[100:])
    wal_file.write_bytes(wal)
    _, former = restore(log, tmp_path / "backup")
    assert former is not None
    assert former.with_name(former.name + "-wal").read_bytes() == wal
    assert not wal_file.exists()
    assert stored_rows(log) == stored_rows(tmp_path / "backup")


def test_a_restore_under_a_running_server_is_refused(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    with running_server(log=f"sqlite:{log}", open=True) as server:
        with pytest.raises(StorageError, match=r"in use by another bqserver \(process \d+\): stop it"):
            restore(log, tmp_path / "backup")
        assert request(server.url, "POST", "/messages", {"user": "ada", "text": "on"}).status == 201
    assert len(stored_rows(log)) == 9


def create_foreign_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")


def set_newer_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("make_unusable", "text"),
    [
        (Path.unlink, "does not exist"),
        (lambda path: path.write_bytes(b""), "the database of another program"),
        (lambda path: path.write_text("dear diary, " * 999), "is not a bqserver database"),
        (lambda path: [path.unlink(), create_foreign_database(path)], "the database of another program"),
        (corrupt, "is not complete"),
        (delete_entry, "is not complete"),
        (set_newer_version, "upgrade bqwidget"),
    ],
)
def test_a_restore_of_an_unusable_backup_leaves_the_log_unchanged(
    log: Path, tmp_path: Path, make_unusable: Callable[[Path], object], text: str
):
    bad = tmp_path / "backup"
    backup(log, bad)
    make_unusable(bad)
    before = stored_rows(log), stored_epoch(log)
    with pytest.raises(StorageError, match=text):
        restore(log, bad)
    assert (stored_rows(log), stored_epoch(log)) == before
    assert not list(tmp_path.glob("*.part"))


def test_a_restore_from_the_log_itself_is_refused(log: Path):
    with pytest.raises(StorageError, match="is the log itself"):
        restore(log, log)


# ---- attachments


def test_attachments_are_backed_up_and_restored(log_with_attachments: Path, tmp_path: Path):
    saved, elsewhere = tmp_path / "usb" / "monday", tmp_path / "new machine" / "log.sqlite"
    assert backup(log_with_attachments, saved) == Contents(rooms=1, entries=2, attachments=2)
    assert sorted(file.name for file in saved.parent.iterdir()) == ["monday", "monday-parts"]
    assert stat.S_IMODE(attachments_path(saved).stat().st_mode) == 0o600
    found, former = restore(elsewhere, saved)
    assert (found.attachments, former) == (2, None)
    pictures = [png(color=(0, 0, 0)), png(color=(1, 0, 0))]
    assert fetch_attachments(elsewhere) == fetch_attachments(log_with_attachments) == pictures


def test_a_restore_keeps_the_attachments_of_the_former_log(log_with_attachments: Path, tmp_path: Path):
    saved = tmp_path / "monday"
    backup(log_with_attachments, saved)
    with running_server(log=f"sqlite:{log_with_attachments}", open=True) as server:
        part = request(server.url, "POST", "/rooms/lobby/parts", png(9, 9), Content_Type="image/png").json
        request(server.url, "POST", "/messages", {"user": "ada", "text": "", "parts": [part]})
    _, former = restore(log_with_attachments, saved)
    assert former is not None
    assert len(fetch_attachments(log_with_attachments)) == 2
    assert fetch_attachments(former)[-1] == png(9, 9)


def test_damaged_attachments_are_not_backed_up(log_with_attachments: Path, tmp_path: Path):
    attachments_path(log_with_attachments).write_bytes(
        attachments_path(log_with_attachments).read_bytes()[:4096] + b"\xff" * 8192
    )
    with pytest.raises(StorageError):
        backup(log_with_attachments, tmp_path / "monday")
    assert not list(tmp_path.glob("monday*"))
    assert run_bqserver("check", f"--log=sqlite:{log_with_attachments}").returncode == 1
