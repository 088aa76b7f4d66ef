"""``bqserver backup``, ``restore`` and ``check``: real files, a real server, the real command."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from bqserver.errors import StorageError
from bqserver.storage.sqlite.attachments import attachments_path
from bqserver.storage.sqlite.backup import backup, restore
from bqserver.storage.sqlite.check import Contents, find_problems
from bqserver.storage.sqlite.schema import connect, read_epoch
from bqserver.testing import running_server
from support.eventually import eventually
from support.pictures import png
from support.ws_client import member, request

pytestmark = pytest.mark.sqlite


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with two rooms, changes and an answered question in it, its server gone."""
    path = tmp_path / "log.sqlite"
    with running_server(log=f"sqlite:{path}", open=True) as server, member(server.url) as one:
        one.say("helo", cid="1")
        one.send({"type": "chat.edit", "cid": "2", "user": "ada", "target": 1, "text": "hello"})
        one.send({"type": "chat.react", "cid": "3", "user": "bob", "target": 1, "emoji": "👍"})
        one.say("which?", cid="4", ask={"choices": ["left", "right"]})
        one.say("left", cid="5", user="bob", re=4, choice="left")
        one.say("gone", cid="6")
        one.send({"type": "chat.delete", "cid": "7", "user": "ada", "target": 6})
        for _ in range(7):
            one.until("ack")
        request(server.url, "POST", "/rooms/other/messages", {"user": "bob", "text": "hi"})
    return path


def told(path: Path) -> list[str]:
    with contextlib.closing(connect(path, readonly=True)) as db:
        return list(find_problems(db))


def rows(path: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT * FROM entry ORDER BY id").fetchall()


def epoch(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return read_epoch(db)


def bqserver(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bqserver", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# ---- backup


def test_a_backup_is_the_log_in_one_private_file(log: Path, tmp_path: Path):
    target = tmp_path / "new" / "backup"
    assert backup(log, target) == Contents(rooms=2, entries=8)
    assert rows(target) == rows(log)
    assert epoch(target) == epoch(log)
    assert [file.name for file in target.parent.iterdir()] == ["backup"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert told(target) == []


def test_a_backup_under_load_is_one_moment_of_the_log(tmp_path: Path):
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
            marks = []
            for number, copy in enumerate(copies):
                eventually(lambda many=number: len(acked) > many, what="more to have been said")
                marks.append(acked[-1])
                backup(path, copy)
        finally:
            done.set()
            sender.join()
    whole = rows(path)
    for copy, mark in zip(copies, marks, strict=True):
        assert told(copy) == []
        kept = rows(copy)
        assert kept == whole[: len(kept)]
        assert len(kept) >= mark  # what was acknowledged before it began is in it
    assert len(rows(copies[-1])) > len(rows(copies[0]))


def test_a_backup_overwrites_nothing(log: Path, tmp_path: Path):
    for target in (log, tmp_path / "diary"):
        target.touch()
        before = target.read_bytes()
        with pytest.raises(StorageError, match="exists already: give the name of a new file"):
            backup(log, target)
        assert target.read_bytes() == before


def test_a_backup_of_a_damaged_log_is_refused(log: Path, tmp_path: Path):
    damage(log)
    with pytest.raises(StorageError, match="is damaged"):
        backup(log, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    assert not (tmp_path / "backup.part").exists()


def test_a_backup_where_nothing_can_be_written_says_so(log: Path):
    with pytest.raises(StorageError, match="can't be written"):
        backup(log, log / "backup")


# ---- restore


def test_a_restore_is_the_backup_under_a_new_epoch_and_keeps_the_former_log(log: Path, tmp_path: Path):
    target = tmp_path / "backup"
    backup(log, target)
    with running_server(log=f"sqlite:{log}", open=True) as server:
        request(server.url, "POST", "/messages", {"user": "ada", "text": "after the backup"})
    now = rows(log)
    found, former = restore(log, target)
    assert found == Contents(rooms=2, entries=8)
    assert rows(log) == rows(target)
    assert epoch(log) != epoch(target)
    assert former is not None
    assert rows(former) == now
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert told(log) == []


def test_a_restore_over_a_link_replaces_what_it_leads_to(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    link = tmp_path / "elsewhere" / "link.sqlite"
    link.parent.mkdir()
    link.symlink_to(log)
    before = epoch(log)
    restore(link, tmp_path / "backup")
    assert link.is_symlink()
    assert epoch(log) != before


def test_clients_of_a_restored_log_are_told_to_read_anew(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    before = epoch(log)
    restore(log, tmp_path / "backup")
    with (
        running_server(log=f"sqlite:{log}", open=True) as server,
        member(server.url, query=f"?after=5&epoch={before}") as one,
    ):
        hello = one.recv()
        assert hello["resumed"] is False
        assert hello["epoch"] == epoch(log) != before
        gap = one.until("gap")
        assert (gap["reason"], gap["from"], gap["to"]) == ("epoch", 0, hello["seq"])


def test_a_restore_where_there_was_nothing(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    new = tmp_path / "machine" / "log.sqlite"
    assert restore(new, tmp_path / "backup") == (Contents(rooms=2, entries=8), None)
    assert rows(new) == rows(log)


def test_a_restore_over_a_damaged_log_or_one_with_a_torn_write_ahead_log(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    damage(log)
    damaged = log.read_bytes()
    log.with_name("log.sqlite-wal").write_bytes(b"torn" * 1_000)
    _, former = restore(log, tmp_path / "backup")
    assert rows(log) == rows(tmp_path / "backup")
    assert former is not None
    assert former.read_bytes() == damaged


def test_a_restore_never_replays_the_former_write_ahead_log(log: Path, tmp_path: Path):
    """A server that crashed leaves one behind; read into the restored file, it would damage it."""
    backup(log, tmp_path / "backup")
    crashed = sqlite3.connect(log, isolation_level=None)
    crashed.execute("UPDATE entry SET body = '{}'")
    beside = log.with_name("log.sqlite-wal")
    wal, before = beside.read_bytes(), log.read_bytes()
    crashed.close()
    log.write_bytes(before)
    beside.write_bytes(wal)
    restore(log, tmp_path / "backup")
    assert not beside.exists()
    assert rows(log) == rows(tmp_path / "backup")


def test_a_restore_sets_a_write_ahead_log_aside_that_no_longer_fits_its_file(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    crashed = sqlite3.connect(log, isolation_level=None)
    crashed.execute("UPDATE entry SET body = '{}'")
    beside = log.with_name("log.sqlite-wal")
    wal = beside.read_bytes()
    crashed.close()
    log.write_bytes(b"\xa5" * 100 + log.read_bytes()[100:])
    beside.write_bytes(wal)
    _, former = restore(log, tmp_path / "backup")
    assert former is not None
    assert former.with_name(former.name + "-wal").read_bytes() == wal
    assert not beside.exists()
    assert rows(log) == rows(tmp_path / "backup")


def test_a_restore_under_a_running_server_is_refused(log: Path, tmp_path: Path):
    backup(log, tmp_path / "backup")
    with running_server(log=f"sqlite:{log}", open=True) as server:
        with pytest.raises(StorageError, match=r"in use by another bqserver \(process \d+\): stop it"):
            restore(log, tmp_path / "backup")
        assert request(server.url, "POST", "/messages", {"user": "ada", "text": "on"}).status == 201
    assert len(rows(log)) == 9


def foreign(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")


def damage(path: Path) -> None:
    """Its table's first page is noise."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        [(page,)] = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entry'")
    whole = bytearray(path.read_bytes())
    whole[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
    path.write_bytes(whole)


def newer(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def contradict(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM entry WHERE id = (1 << 40 | 5)")
        db.commit()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (Path.unlink, "does not exist"),
        (lambda path: path.write_bytes(b""), "the database of another program"),
        (lambda path: path.write_text("dear diary, " * 999), "is not a bqserver database"),
        (lambda path: [path.unlink(), foreign(path)], "the database of another program"),
        (damage, "is not complete"),
        (contradict, "is not complete"),
        (newer, "upgrade bqwidget"),
    ],
)
def test_a_restore_of_what_is_no_good_backup_leaves_the_log_alone(
    log: Path, tmp_path: Path, spoil: Callable[[Path], object], words: str
):
    bad = tmp_path / "backup"
    backup(log, bad)
    spoil(bad)
    before = rows(log), epoch(log)
    with pytest.raises(StorageError, match=words):
        restore(log, bad)
    assert (rows(log), epoch(log)) == before
    assert not list(tmp_path.glob("*.part"))


def test_a_log_is_not_restored_from_itself(log: Path):
    with pytest.raises(StorageError, match="is the log itself"):
        restore(log, log)


# ---- check


def test_a_good_log_has_no_problems_while_its_server_runs_or_not(log: Path):
    assert told(log) == []
    with running_server(log=f"sqlite:{log}", open=True) as server:
        request(server.url, "POST", "/messages", {"user": "ada", "text": "hi"})
        assert told(log) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DELETE FROM entry WHERE id = (1 << 40 | 3)", "entries before it are missing, from seq 3 on"),
        ("UPDATE entry SET at = at - 100000 WHERE id = (1 << 40 | 4)", "is not after"),
        ("UPDATE entry SET body = '{}' WHERE id = (1 << 40 | 4)", "its body can't be read"),
        ("UPDATE entry SET cid = 'other' WHERE id = (1 << 40 | 4)", "its body says room lobby, seq 4"),
        ("UPDATE entry SET id = (1 << 40 | 9) WHERE id = (1 << 40 | 7)", "its body says room lobby, seq 7"),
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
def test_each_promise_is_checked(log: Path, change: str, words: str):
    with contextlib.closing(sqlite3.connect(log)) as db:
        assert db.execute(change).rowcount == 1
        db.commit()
    assert any(words in problem for problem in told(log)), told(log)


def test_a_damaged_file_has_problems_in_sqlites_words(log: Path):
    damage(log)
    assert told(log)


# ---- the command


def test_the_commands_end_to_end(log: Path, tmp_path: Path):
    target = tmp_path / "backup"
    with running_server(log=f"sqlite:{log}", open=True):
        done = bqserver("backup", target, f"--log=sqlite:{log}")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{log} is backed up in {target}: 2 rooms, 8 entries\n"
        done = bqserver("check", f"--log=sqlite:{log}")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{log} is good: 2 rooms, 8 entries\n", "")
        done = bqserver("restore", target, f"--log=sqlite:{log}")
        assert done.returncode == 1
        assert "in use by another bqserver" in done.stderr
    done = bqserver("restore", target, f"--log=sqlite:{log}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "is kept in" in done.stdout


def test_check_tells_what_is_wrong_and_exits_1(log: Path):
    contradict(log)
    done = bqserver("check", f"--log=sqlite:{log}")
    assert done.returncode == 1
    assert "entries before it are missing, from seq 5 on" in done.stdout
    assert "restore a backup with 'bqserver restore FILE'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["backup"], "name a file: bqserver backup FILE"),
        (["restore"], "name a file: bqserver restore FILE"),
        (["backup", "a", "b"], "b is not understood"),
        (["check", "a"], "a is not understood"),
        (["check", "--lag=sqlite:x"], "did you mean --log?"),
        (["check", "--log=memory"], "--log=memory is no file: give --log=sqlite:PATH"),
    ],
)
def test_a_wrong_command_line_exits_2_and_names_the_word(words: list[str], said: str):
    done = bqserver(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_without_a_log_named_they_mean_the_one_of_the_data_folder(home: Path):
    done = bqserver("check")
    assert done.returncode == 1
    assert f"{home / 'data' / 'history.sqlite'} does not exist" in done.stderr


# ---- attachments


@pytest.fixture
def attached(tmp_path: Path) -> Path:
    """A log with two messages that name attachments, its server gone."""
    path = tmp_path / "live" / "log.sqlite"
    with running_server(log=f"sqlite:{path}", open=True) as server:
        for number in range(2):
            data = png(color=(number, 0, 0))
            part = request(
                server.url, "POST", "/rooms/lobby/parts?name=p.png", data, Content_Type="image/png"
            ).json
            body = {"user": "ada", "text": "", "parts": [part]}
            assert request(server.url, "POST", "/messages", body).status == 201
    return path


def fetched(log: Path) -> list[bytes]:
    """What a server of that log gives for each attachment that its messages name."""
    with running_server(log=f"sqlite:{log}", open=True) as server:
        parts = [
            part for message in request(server.url, "GET", "/messages").json for part in message["parts"]
        ]
        answers = [request(server.url, "GET", f"/rooms/lobby/parts/{part['sha256']}") for part in parts]
        return [answer.body if answer.status == 200 else b"" for answer in answers]


def test_a_backup_holds_the_attachments_and_restore_puts_them_back(attached: Path, tmp_path: Path):
    saved, elsewhere = tmp_path / "usb" / "monday", tmp_path / "new machine" / "log.sqlite"
    assert backup(attached, saved) == Contents(rooms=1, entries=2, attachments=2)
    assert sorted(file.name for file in saved.parent.iterdir()) == ["monday", "monday-parts"]
    assert stat.S_IMODE(attachments_path(saved).stat().st_mode) == 0o600
    found, former = restore(elsewhere, saved)
    assert (found.attachments, former) == (2, None)
    assert fetched(elsewhere) == fetched(attached) == [png(color=(0, 0, 0)), png(color=(1, 0, 0))]


def test_restore_keeps_what_was_attached_since(attached: Path, tmp_path: Path):
    saved = tmp_path / "monday"
    backup(attached, saved)
    with running_server(log=f"sqlite:{attached}", open=True) as server:
        part = request(server.url, "POST", "/rooms/lobby/parts", png(9, 9), Content_Type="image/png").json
        request(server.url, "POST", "/messages", {"user": "ada", "text": "", "parts": [part]})
    _, former = restore(attached, saved)
    assert former is not None
    assert len(fetched(attached)) == 2
    assert fetched(former)[-1] == png(9, 9)


def test_the_commands_say_where_attachments_are_and_which_are_missing(attached: Path, tmp_path: Path):
    saved = tmp_path / "monday"
    done = bqserver("backup", f"--log=sqlite:{attached}", saved)
    assert (done.returncode, done.stdout.count("2 attachments")) == (0, 1)
    assert f"the attachments are in {attachments_path(saved)}: keep both files together" in done.stdout
    good = bqserver("check", f"--log=sqlite:{saved}")
    assert (good.returncode, "2 attachments" in good.stdout) == (0, True)
    attachments_path(saved).rename(tmp_path / "lost")
    assert bqserver("check", f"--log=sqlite:{saved}").returncode == 1
    new = tmp_path / "new.sqlite"
    done = bqserver("restore", f"--log=sqlite:{new}", saved)
    assert f"2 attachments are missing: they belong in {attachments_path(saved)}" in done.stdout
    (tmp_path / "lost").rename(attachments_path(saved))
    assert "missing" not in bqserver("restore", f"--log=sqlite:{new}", saved).stdout
    assert len([body for body in fetched(new) if body]) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE part SET body = x'00' WHERE rowid = 1", "is not what was uploaded"),
        ("DELETE FROM part WHERE rowid = 1", "room lobby, seq 1: its attachment 'p.png' is not in"),
        ("UPDATE part SET room = 'other'", "seq 2: its attachment 'p.png' is not in"),
    ],
)
def test_a_check_sees_an_attachment_that_is_wrong_or_gone(attached: Path, change: str, says: str):
    assert bqserver("check", f"--log=sqlite:{attached}").returncode == 0
    with contextlib.closing(sqlite3.connect(attachments_path(attached), isolation_level=None)) as db:
        db.execute(change)
    checked = bqserver("check", f"--log=sqlite:{attached}")
    assert checked.returncode == 1
    assert says in checked.stdout


def test_damaged_attachments_are_not_backed_up_as_if_they_were_good(attached: Path, tmp_path: Path):
    attachments_path(attached).write_bytes(attachments_path(attached).read_bytes()[:4096] + b"\xff" * 8192)
    with pytest.raises(StorageError):
        backup(attached, tmp_path / "monday")
    assert not list(tmp_path.glob("monday*"))
    assert bqserver("check", f"--log=sqlite:{attached}").returncode == 1
