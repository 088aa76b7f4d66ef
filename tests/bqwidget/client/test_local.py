"""The user's local server: real processes, in temporary folders."""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.eventually import eventually
from support.processes import is_running

from bqwidget import LocalServerError, local
from bqwidget.local import LocalServer, end, find_or_start

pytestmark = pytest.mark.slow("starts servers as programs of their own", versions=True)


def request(server: LocalServer, method: str, path: str, body: object = None) -> tuple[int, object]:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def test_the_server_is_started_once_and_then_found(home: Path) -> None:
    server = find_or_start()
    assert request(server, "GET", "/health") == (200, {"ok": True})
    assert find_or_start() == server


def test_only_the_user_can_read_the_files(home: Path) -> None:
    server = find_or_start()
    request(server, "POST", "/messages", {"user": "ada", "text": "secret"})
    for folder in (home / "runtime", home / "data"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("server.json", "server.gateway", "server.socket"):
        assert stat.S_IMODE((home / "runtime" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "data" / "local-server.log").stat().st_mode) == 0o600


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="tells what `ps` shows by /proc")
def test_the_token_is_in_no_process_list_repr_or_log(home: Path) -> None:
    server = find_or_start()
    seen = [Path(f"/proc/{server.pid}/{file}").read_bytes() for file in ("cmdline", "environ")]
    seen += [(home / "data" / "local-server.log").read_bytes(), repr(server).encode()]
    assert server.token
    assert not [text for text in seen if server.token.encode() in text]


def test_a_new_server_after_a_crash_has_the_old_history(home: Path) -> None:
    first = find_or_start()
    _, entry = request(first, "POST", "/messages", {"user": "ada", "text": "still here"})
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not is_running(first.pid))
    assert (home / "runtime" / "server.json").exists()
    second = find_or_start()
    assert second.pid != first.pid
    assert request(second, "GET", "/messages") == (200, [entry])


def test_a_clean_end_removes_the_runtime_file(home: Path) -> None:
    server = find_or_start()
    os.kill(server.pid, signal.SIGTERM)
    eventually(lambda: not is_running(server.pid))
    assert not [path.name for path in (home / "runtime").iterdir() if path.stem == "server"]


def test_an_idle_server_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "IDLE_TIMEOUT", 2)  # found before, on a busy machine too
    server = find_or_start()
    eventually(lambda: not is_running(server.pid), what="the idle server's end")
    assert not (home / "runtime" / "server.json").exists()


def test_concurrent_starts_start_one_server(home: Path) -> None:
    ask = "from bqwidget.local import find_or_start; print(find_or_start(60).pid)"
    asking = [subprocess.Popen([sys.executable, "-c", ask], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    pids = {process.communicate(timeout=90)[0] for process in asking}
    assert len(pids) == 1
    assert find_or_start().pid == int(pids.pop())  # the server outlives the process that started it


class _OtherProgram(BaseHTTPRequestHandler):
    received: list[str]

    def do_GET(self) -> None:
        self.received.append(str(self.headers))
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_program() -> Iterator[HTTPServer]:
    """Another program on the port that the local server had."""
    _OtherProgram.received = []
    server = HTTPServer(("127.0.0.1", 0), _OtherProgram)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_program_on_the_old_port_never_gets_the_token(home: Path, other_program: HTTPServer) -> None:
    (home / "runtime").mkdir(mode=0o700)
    fields = {"url": f"http://127.0.0.1:{other_program.server_port}", "pid": os.getpid(), "token": "my-token"}
    (home / "runtime" / "server.json").write_text(json.dumps(fields))
    server = find_or_start()
    assert urlsplit(server.url).port != other_program.server_port
    assert _OtherProgram.received
    assert not [headers for headers in _OtherProgram.received if "my-token" in headers]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"url": 1, "token": null, "pid": "x"}', "\x00"])
def test_a_broken_runtime_file_is_replaced(home: Path, content: str) -> None:
    (home / "runtime").mkdir(mode=0o700)
    (home / "runtime" / "server.json").write_text(content)
    assert request(find_or_start(), "GET", "/health")[0] == 200


def test_a_folder_writable_by_others_is_refused(home: Path) -> None:
    (home / "runtime").mkdir()
    (home / "runtime").chmod(0o777)
    with pytest.raises(LocalServerError, match="chmod 700") as raised:
        find_or_start()
    assert raised.value.path == str(home / "runtime")
    assert raised.value.reason.startswith("other users can write to its folder: run `chmod 700` on it")


def test_a_folder_that_cannot_be_created_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    monkeypatch.setenv("BQWIDGET_RUNTIME_DIR", str(home / "file" / "runtime"))
    with pytest.raises(LocalServerError, match=r"file/runtime can't be created: Not a directory"):
        find_or_start()


def test_a_failed_start_shows_the_log(home: Path) -> None:
    (home / "data").mkdir(mode=0o700)
    (home / "data" / "local.sqlite").write_bytes(b"these are not the bytes of a database" * 100)
    with pytest.raises(LocalServerError, match="ended with code") as raised:
        find_or_start()
    assert "local.sqlite" in str(raised.value).split("ends with:")[1]
    assert raised.value.path == str(home / "data" / "local-server.log")
    assert raised.value.reason.startswith("local.sqlite is not a bqserver database")


def test_a_full_disk_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "data").mkdir(mode=0o700)
    (home / "data" / "local.sqlite").write_bytes(b"cut off")
    monkeypatch.setattr(local, "_MIN_FREE_BYTES", 1 << 80)
    with pytest.raises(LocalServerError, match=r"the disk of .*/data is full: free some space") as raised:
        find_or_start()
    assert raised.value.reason == "the disk of its folder is full: free some space"


def test_a_server_of_an_earlier_version_is_replaced_and_loses_nothing(home: Path) -> None:
    first = find_or_start()
    _, entry = request(first, "POST", "/messages", {"user": "ada", "text": "still here"})
    file = home / "runtime" / "server.gateway"
    file.unlink()  # as with the first version
    second = find_or_start()
    eventually(lambda: not is_running(first.pid))
    assert second.pid != first.pid
    assert request(second, "GET", "/messages") == (200, [entry])
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": "99"}))
    assert find_or_start().pid == second.pid  # a newer one is used
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": "0.0.9"}))
    third = find_or_start()
    assert third.pid not in (first.pid, second.pid)
    assert request(third, "GET", "/messages") == (200, [entry])


def test_the_gateway_key_is_new_with_each_start(home: Path) -> None:
    first = find_or_start()
    end(first)
    eventually(lambda: not (home / "runtime" / "server.json").exists())
    second = find_or_start()  # waits for the history
    assert len({"", first.gateway_key, second.gateway_key}) == 3
    assert first.gateway_key not in repr(first)
    assert not first.is_current()
    assert second.is_current()


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="where no one can create a folder")
@pytest.mark.parametrize("variable", ["BQWIDGET_RUNTIME_DIR", "BQWIDGET_DATA_DIR"])
def test_a_home_that_cannot_be_written_is_named_with_a_remedy(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "/sys/bqwidget")
    with pytest.raises(
        LocalServerError, match=r"/sys/bqwidget can't be created: .* set BQWIDGET_RUNTIME_DIR and"
    ) as raised:
        find_or_start()
    assert raised.value.path == "/sys/bqwidget"
    assert raised.value.reason.startswith("its folder can't be created: ")


def test_a_disk_without_locks_is_named_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(LocalServerError, match=r"can't be locked .* folders on a local disk") as raised:
        find_or_start()
    assert raised.value.reason.startswith("its folder can't be locked (No locks available)")


def test_a_hanging_server_is_named_and_no_second_one_started(home: Path) -> None:
    server = find_or_start()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(LocalServerError, match=f"process {server.pid}, .* does not answer"):
            find_or_start(timeout=1)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert find_or_start() == server


def test_the_folders_are_those_of_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BQWIDGET_DATA_DIR")
    monkeypatch.delenv("BQWIDGET_RUNTIME_DIR")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert local.data_folder() == tmp_path / "share" / "bqwidget"
    assert local.runtime_folder() == tmp_path / "share" / "bqwidget" / "runtime"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert local.runtime_folder() == tmp_path / "run" / "bqwidget"
