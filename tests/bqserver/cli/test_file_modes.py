"""Files that the server and its commands write: mode 0600, and the owner of the folder when root writes them."""

from __future__ import annotations

import os
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.forking.server import run
from support.pictures import png
from support.processes import OTHER_UID, ServerProcess, server_process

pytestmark = pytest.mark.sqlite


def command(*args: object, umask: int = -1, code: int = 0, **environ: str) -> str:
    done = run(*args, umask=umask, env={**os.environ, **environ})
    assert done.returncode == code, done.stderr
    return done.stdout.strip()


@contextmanager
def watched(folder: Path) -> Iterator[dict[str, int]]:
    """The files in ``folder`` that allowed more than mode 0600 at any moment meanwhile, and that mode."""
    wrong: dict[str, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            for entry in os.scandir(folder):
                try:
                    found = entry.stat()
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) & ~0o600:
                    wrong[entry.name] = stat.S_IMODE(found.st_mode)
            ended.wait(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield wrong
    finally:
        ended.set()
        thread.join()


def use_everything(server: ServerProcess, token: str) -> None:
    """Have the server write each kind of file."""
    picture = server.ask("POST", "/rooms/lobby/parts", png(), token=token, Content_Type="image/png")
    assert picture.status == 201, picture.body
    body = {"user": "ada", "text": "hello", "parts": [picture.json]}
    assert server.ask("POST", "/messages", body, token=token).status == 201
    assert len(server.ask("GET", "/rooms/lobby/search?q=hello", token=token).json) == 1
    assert server.ask("POST", "/rooms/x/moderation", {"do": "close"}, token=token).status == 204


@pytest.mark.slow("runs many commands")
@pytest.mark.parametrize("umask", [0, 0o277], ids=oct)
def test_every_file_has_mode_0600_at_every_moment(home, umask):
    folder = home / "data"
    folder.mkdir()
    folder.chmod(0o2777)
    (folder / "rights.toml").write_text('["*"]\nada = "moderate"\n')
    (folder / "rights.toml").chmod(0o600)
    log = f"--log=sqlite:{folder / 'history.sqlite'}"
    files = f"--audit-log={folder / 'audit.jsonl'}", f"--runtime-file={folder / 'server.json'}"
    with watched(folder) as wrong:
        token = command("token", "add", "ada", umask=umask)
        with server_process(log, *files, umask=umask) as server:
            use_everything(server, token)
            names = {path.name for path in folder.iterdir()}
            assert {"history.sqlite-search-wal", "history.sqlite-parts-wal", "history.sqlite-shm"} <= names
            command("backup", folder / "monday", log, umask=umask)
            command("check", log, umask=umask)
            server.process.send_signal(signal.SIGKILL)  # leaves a write-ahead log, which restoring keeps
            server.process.wait()
        command("restore", folder / "monday", log, umask=umask)
    assert wrong == {}
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()} == {"0o600"}


def test_a_readable_history_and_what_a_crash_left_of_it_become_private(home):
    folder = home / "data"
    with server_process() as server:
        token = (folder / "token").read_text().strip()
        assert server.ask("POST", "/messages", {"user": "ada", "text": "hi"}, token=token).status == 201
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    left = [folder / f"local.sqlite{end}" for end in ("", "-wal", "-shm")]
    for path in left:
        path.chmod(0o644)
    with server_process():
        assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in left} == {"0o600"}


def test_new_folders_have_mode_0700_with_their_parents(home):
    folder = home / "a" / "b" / "c"
    with server_process(f"--log=sqlite:{folder / 'history.sqlite'}", umask=0):
        assert {oct(stat.S_IMODE(one.stat().st_mode)) for one in (folder, *folder.parents[:2])} == {"0o700"}


# ---- root's commands on the files of a service


@pytest.fixture
def service_folder(missing, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The data folder of a service that runs as another user."""
    if sys.platform == "win32" or os.geteuid() != 0:
        missing("root or sudo (to be another user on this machine)")
    with tempfile.TemporaryDirectory(prefix="bqwidget-service-") as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent) / "data"
        folder.mkdir(mode=0o700)
        os.chown(folder, OTHER_UID, OTHER_UID)
        monkeypatch.setenv("BQWIDGET_DATA_DIR", str(folder))
        yield folder


def not_of_the_service(folder: Path) -> dict[str, tuple[int, int]]:
    found = {path.name: path.stat() for path in folder.rglob("*")}
    owners = {name: (one.st_uid, one.st_gid) for name, one in found.items()}
    return {name: owner for name, owner in owners.items() if owner != (OTHER_UID, OTHER_UID)}


@pytest.mark.slow("runs many commands")
def test_what_root_writes_remains_usable_by_a_service_of_another_user(service_folder: Path):
    log = f"--log=sqlite:{service_folder / 'history.sqlite'}"
    ada = command("token", "add", "ada")  # the first file in the folder
    with server_process(log, uid=OTHER_UID) as server:
        assert server.ask("POST", "/messages", {"user": "ada", "text": "one"}, token=ada).status == 201
        bob = command("token", "add", "bob")
        server.process.send_signal(signal.SIGHUP)
        command("check", log)
        command("backup", service_folder / "backups" / "monday", log)
        assert not_of_the_service(service_folder) == {}
        server.process.send_signal(signal.SIGKILL)  # root then opens the write-ahead log first
        server.process.wait()
    command("check", log)
    with server_process(log, uid=OTHER_UID) as server:
        assert server.ask("POST", "/messages", {"user": "bob", "text": "two"}, token=bob).status == 201
    command("restore", service_folder / "backups" / "monday", log)
    command("token", "revoke", "bob")
    assert not_of_the_service(service_folder) == {}
    with server_process(log, uid=OTHER_UID) as server:
        assert server.ask("POST", "/messages", {"user": "ada", "text": "three"}, token=ada).status == 201
        assert server.ask("GET", "/messages", token=bob).code == "token_revoked"
        assert [one["text"] for one in server.ask("GET", "/messages", token=ada).json] == ["one", "three"]


@pytest.mark.slow("runs many commands")
def test_a_server_that_root_ran_once_leaves_files_that_the_service_can_use(service_folder: Path):
    (service_folder / "rights.toml").write_text('["*"]\nada = "moderate"\n')
    os.chown(service_folder / "rights.toml", OTHER_UID, OTHER_UID)
    log = f"--log=sqlite:{service_folder / 'history.sqlite'}"
    files = f"--audit-log={service_folder / 'audit.jsonl'}", f"--runtime-file={service_folder / 'server.json'}"
    ada = command("token", "add", "ada")
    for uid in (0, OTHER_UID):
        with server_process(log, *files, uid=uid) as server:
            use_everything(server, ada) if uid == 0 else None
            assert not_of_the_service(service_folder) == {}
            body = {"user": "ada", "text": f"as {uid}"}
            assert server.ask("POST", "/messages", body, token=ada).status == 201
    assert len((service_folder / "audit.jsonl").read_text().splitlines()) > 2


@pytest.mark.slow("runs many commands")
def test_what_root_accepts_and_purges_remains_usable_by_the_service(service_folder: Path):
    rights, moderation = service_folder / "rights.toml", service_folder / "history.moderation.json"
    rights.write_text('["*"]\nada = "moderate"\n')
    os.chown(rights, OTHER_UID, OTHER_UID)
    log = f"--log=sqlite:{service_folder / 'history.sqlite'}"
    ada = command("token", "add", "ada")
    with server_process(log, uid=OTHER_UID) as server:
        use_everything(server, ada)
        command("purge", log, "lobby", 1)
        assert server.ask("GET", "/messages", token=ada).json[0]["deleted"]
        rights.unlink()
        command("rights", "accept")
        assert not_of_the_service(service_folder) == {}
        assert server.ask("POST", "/messages", {"user": "ada", "text": "two"}, token=ada).status == 201
    command("purge", log, "lobby", 3)
    moderation.unlink()
    command("moderation", "accept", log)
    assert not_of_the_service(service_folder) == {}
    with server_process(log, uid=OTHER_UID) as server:
        assert server.ask("POST", "/messages", {"user": "ada", "text": "three"}, token=ada).status == 201
        texts = [one["text"] for one in server.ask("GET", "/messages", token=ada).json]
        assert texts == ["", "", "three"]
