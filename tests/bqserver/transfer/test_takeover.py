"""Histories that earlier versions kept for each folder of Jupyter: taken into the user's own, once and completely."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from bqserver.auth.moderation import moderation_path
from bqserver.errors import StorageError
from bqserver.storage.sqlite.lock import HistoryLock
from bqserver.storage.sqlite.schema import connect
from bqserver.testing import running_server
from bqserver.transfer import takeover
from bqserver.transfer.canonical import compute_totals, read_entries
from bqserver.transfer.takeover import take_over_histories
from support.sqlite_logs import fetch_attachments, list_problems, make_log, make_log_with_attachments
from support.ws_client import request

pytestmark = [pytest.mark.sqlite, pytest.mark.slow("kills servers while they start", versions=True)]


def say(path: Path, *texts: str, room: str = "lobby", **more: str) -> None:
    with running_server(log=f"sqlite:{path}", open=True) as server:
        for text in texts:
            body = {"user": "ada", "text": text, **more}
            assert request(server.url, "POST", f"/rooms/{room}/messages", body).status == 201


def messages(path: Path, room: str = "lobby") -> list[dict]:
    with running_server(log=f"sqlite:{path}", open=True) as server:
        return request(server.url, "GET", f"/rooms/{room}/messages?limit=200").json


def texts(path: Path, room: str = "lobby") -> list[str]:
    return [message["text"] for message in messages(path, room)]


def former(folder: Path, number: int) -> Path:
    return folder / f"jupyter-{number:012x}.sqlite"


def test_rooms_are_merged_in_the_order_of_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = tmp_path / "local.sqlite"
    paths = [former(tmp_path, 1), own, former(tmp_path, 2)]
    for number in range(9):
        say(paths[number % 3], str(number))
    say(paths[2], "elsewhere", room="other")
    times = {message["text"]: message["at"] for path in paths for message in messages(path)}
    with caplog.at_level(logging.WARNING):
        take_over_histories(own)
    assert texts(own) == [str(number) for number in range(9)]
    assert {message["text"]: message["at"] for message in messages(own)} == times
    assert texts(own, "other") == ["elsewhere"]
    assert list_problems(own) == []
    (said,) = caplog.messages
    assert "took 10 entries of 2 earlier histories" in said
    assert str(own) in said
    names = {path.name for path in tmp_path.glob("jupyter-*") if not path.name.endswith(".lock")}
    assert names == {f"{former(tmp_path, number).name}.taken-over" for number in (1, 2)}
    take_over_histories(own)
    assert len(texts(own)) == 9


def test_edits_answers_and_votes_keep_their_messages(tmp_path: Path) -> None:
    own = tmp_path / "local.sqlite"
    make_log(former(tmp_path, 1))
    with closing(connect(former(tmp_path, 1))) as db:
        expected = compute_totals(read_entries(db))
    say(own, "before" * 3, room="apart")
    say(own, "newer")
    take_over_histories(own)
    found = {message["text"]: message for message in messages(own)}
    assert found["hello"]["edited"]
    assert found["hello"]["reactions"] == {"👍": ["bob"]}
    assert found["left"]["re"] == found["which?"]["seq"]
    assert list(found)[-1] == "newer"
    with closing(connect(own)) as db:
        assert compute_totals(read_entries(db)).entries == expected.entries + 2


def test_a_single_history_is_the_same_afterwards(tmp_path: Path) -> None:
    make_log(former(tmp_path, 1))
    with closing(connect(former(tmp_path, 1))) as db:
        expected = compute_totals(read_entries(db))
    take_over_histories(tmp_path / "local.sqlite")
    with closing(connect(tmp_path / "local.sqlite")) as db:
        assert compute_totals(read_entries(db)) == expected


def test_two_messages_with_one_cid_are_both_kept(tmp_path: Path) -> None:
    own = tmp_path / "local.sqlite"
    say(former(tmp_path, 1), "one", cid="c1")
    say(former(tmp_path, 2), "two", cid="c1")
    take_over_histories(own)
    assert texts(own) == ["one", "two"]


@pytest.mark.parametrize("is_there", [False, True])
def test_attachments_are_taken_over_once(tmp_path: Path, *, is_there: bool) -> None:
    expected = fetch_attachments(make_log_with_attachments(former(tmp_path, 1)))
    if is_there:
        make_log_with_attachments(tmp_path / "local.sqlite")
    take_over_histories(tmp_path / "local.sqlite")
    assert all(expected)
    assert fetch_attachments(tmp_path / "local.sqlite") == expected * (1 + is_there)


def test_closed_rooms_and_mutes_are_taken_over(tmp_path: Path) -> None:
    path = former(tmp_path, 1)
    say(path, "hi")
    moderation_path(path).write_text('{"closed": {"old": "ada"}, "mutes": []}')
    moderation_path(path).chmod(0o600)
    take_over_histories(tmp_path / "local.sqlite")
    assert '"old": "ada"' in moderation_path(tmp_path / "local.sqlite").read_text()


def test_a_history_in_use_is_taken_over_at_a_later_start(tmp_path: Path) -> None:
    own, path = tmp_path / "local.sqlite", former(tmp_path, 1)
    say(path, "hi")
    lock = HistoryLock(path)
    take_over_histories(own)
    assert (path.exists(), own.exists()) == (True, False)
    lock.release()
    take_over_histories(own)
    assert texts(own) == ["hi"]


def test_a_damaged_history_is_reported_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own, path = tmp_path / "local.sqlite", former(tmp_path, 1)
    say(own, "hi")
    path.write_bytes(b"these are not the bytes of a database" * 100)
    take_over_histories(own)
    assert str(path) in caplog.text
    assert path.exists()
    assert texts(own) == ["hi"]


@pytest.mark.parametrize("step", ["_merge", "_copy_attachments", "sync_file", "replace", "_finish", "_unused"])
def test_a_start_that_is_killed_loses_and_doubles_nothing(tmp_path: Path, step: str) -> None:
    own = tmp_path / "local.sqlite"
    make_log(former(tmp_path, 1))
    make_log_with_attachments(former(tmp_path, 2))
    say(own, "newest")
    code = f"""
import os, sys
from pathlib import Path
from bqserver.transfer import takeover
work, calls = takeover.{step}, []
def killed(*arguments):
    calls.append(1)
    result = work(*arguments)
    if len(calls) == {2 if step in ("_finish", "_unused") else 1}:
        os._exit(9)
    return result
takeover.{step} = killed
takeover.take_over_histories(Path(sys.argv[1]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(own)], check=False, env=dict(os.environ))
    assert done.returncode == 9
    take_over_histories(own)
    found = texts(own)
    assert sorted(text for text in found if text) == ["hello", "left", "newest", "which?"]
    assert len(found) == 7  # a deleted one, and two with attachments
    attachments = fetch_attachments(own)
    assert (len(attachments), all(attachments)) == (2, True)
    assert list_problems(own) == []
    assert not list(tmp_path.glob(takeover.FORMER_HISTORIES))


def test_a_history_that_another_server_has_is_not_touched(tmp_path: Path) -> None:
    own = tmp_path / "local.sqlite"
    say(own, "hi")
    say(former(tmp_path, 1), "there")
    lock = HistoryLock(own)
    with pytest.raises(StorageError, match="in use"):
        take_over_histories(own)
    lock.release()
    assert former(tmp_path, 1).exists()
