"""The files of a running server: removed, moved and replaced ones are noticed, and no second server uses them."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from bqserver.errors import StorageError
from bqserver.files import LockFile
from bqserver.storage.sqlite.backup import backup
from bqserver.testing import running_server
from support.eventually import eventually
from support.processes import bqserver, listening, run_to_exit
from support.ws_client import request

pytestmark = pytest.mark.sqlite

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


@pytest.fixture
def log(home: Path) -> Path:
    return home / "data" / "history.sqlite"


class Served:
    """``errors``: what the server has logged."""

    def __init__(self, url: str, errors: Callable[[], str]) -> None:
        self.url = url
        self.errors = errors

    def post(self, text: str = "hi") -> int:
        return request(self.url, "POST", "/messages", {"user": "ada", "text": text}).status

    def upload(self) -> int:
        return request(self.url, "POST", "/rooms/lobby/parts", PNG, Content_Type="image/png").status

    def health(self) -> int:
        return request(self.url, "GET", "/health").status

    def texts(self) -> list[str]:
        return [message["text"] for message in request(self.url, "GET", "/messages").json]


@pytest.fixture
def served(log: Path, caplog: pytest.LogCaptureFixture) -> Callable[[], AbstractContextManager[Served]]:
    @contextmanager
    def start() -> Iterator[Served]:
        with running_server(log=f"sqlite:{log}", open=True) as server:
            yield Served(server.url, lambda: caplog.text)

    return start


@pytest.fixture
def process(log: Path, home: Path) -> Iterator[Served]:
    """A server in a process of its own, which stops cleanly at the end."""
    errors = home / "errors"
    with (
        errors.open("w") as stderr,
        bqserver("--port=0", "--open", f"--log=sqlite:{log}", stderr=stderr) as running,
    ):
        yield Served(listening(running), errors.read_text)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


def remove_all(log: Path) -> None:
    for file in log.parent.iterdir():
        file.unlink()


def remove_history(log: Path) -> None:
    log.unlink()


def remove_wal(log: Path) -> None:
    log.with_name(f"{log.name}-wal").unlink()


def remove_shm(log: Path) -> None:
    log.with_name(f"{log.name}-shm").unlink()


def replace_history(log: Path) -> None:
    new = log.with_name("new")
    shutil.copy(log, new)
    new.replace(log)


def empty_history(log: Path) -> None:
    os.truncate(log, 0)


def move_folder(log: Path) -> None:
    log.parent.rename(log.parent.with_name("moved"))


SLIPS = [remove_all, remove_history, remove_wal, remove_shm, replace_history, empty_history, move_folder]


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip.__name__)
def test_a_missing_file_is_noticed(log: Path, served, slip: Callable[[Path], None]):
    with served() as server:
        assert (server.post("before"), server.health()) == (201, 200)
        slip(log)
        eventually(lambda: server.health() == 503, what="health")
        assert server.post("after") == 503
        [line] = [line for line in server.errors().splitlines() if "messages can't be stored" in line]
        assert f"{log}" in line
        assert "was removed or replaced while the server uses it" in line


@pytest.mark.alone
def test_a_missing_file_is_noticed_within_a_second(log: Path, served):
    with served() as server:
        assert server.post("before") == 201
        remove_history(log)
        removed = time.monotonic()
        eventually(lambda: server.health() == 503, what="health")
        assert time.monotonic() - removed < 2  # some 0.5 s on a quiet machine


def test_a_folder_that_is_put_back_is_used_again(log: Path, served):
    with served() as server:
        assert server.post("before") == 201
        move_folder(log)
        eventually(lambda: server.health() == 503)
        assert server.post("lost") == 503
        log.parent.with_name("moved").rename(log.parent)
        eventually(lambda: server.health() == 200)
        assert server.post("after") == 201
    with served() as server:
        assert server.texts() == ["before", "after"]


def test_missing_attachments_are_noticed(log: Path, served):
    with served() as server:
        assert (server.upload(), server.health()) == (201, 200)
        log.with_name(f"{log.name}-parts").unlink()
        assert server.upload() == 503
        eventually(lambda: server.health() == 503)
        assert server.post() == 201  # it would survive a restart
        assert "attachments can't be stored or read" in server.errors()
    with served() as server:
        assert (server.upload(), server.texts()) == (201, ["hi"])


def test_a_second_server_is_refused_through_a_link_and_without_its_lock_file(log: Path, home: Path, process: Served):
    def check_refused(*command: str, path: Path) -> None:
        status, error = run_to_exit(*command, f"--log=sqlite:{path}")
        assert (status, "in use by another bqserver" in error) == (1, True), error

    assert process.post() == 201
    backup(log, home / "backup.sqlite")
    for link, name in ((os.link, "hard.sqlite"), (os.symlink, "soft.sqlite")):
        link(log, home / name)
        check_refused("--port=0", "--open", path=home / name)
    check_refused("restore", str(home / "backup.sqlite"), path=home / "hard.sqlite")
    lock = log.with_name(f"{log.name}.lock")
    for remove in (lock.unlink, lambda: remove_all(log)):
        remove()
        eventually(lambda: lock.exists() and lock.read_text(), what="the lock is taken again")
        check_refused("--port=0", "--open", path=log)
    assert (process.health(), process.post()) == (503, 503)
    assert f"{log} was removed or replaced" in process.errors()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
def test_a_disk_without_locks_is_not_taken_for_another_server(home: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"can't be locked \(No locks available\): give another file"):
        LockFile(home / "log.sqlite")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has locks of a descriptor")
def test_a_server_starts_where_the_kernel_has_no_locks_of_descriptors(served, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with served() as server:
        assert server.post() == 201
