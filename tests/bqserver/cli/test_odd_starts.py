"""Starts in odd surroundings: closed streams, no home folder, values out of range. The right thing, or one sentence."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from bqserver.app import ChatServer
from bqserver.auth.moderation import ModerationState, moderation_path
from bqserver.cli.listener import bind
from bqserver.errors import StartError
from bqserver.files import user_path
from bqserver.testing import running_server
from support.eventually import eventually
from support.processes import run_to_exit
from support.ws_client import request

from bqwidget.errors import LocalServerError
from bqwidget.local import data_folder

SERVER = [sys.executable, "-m", "bqserver", "--port=0", "--log=memory"]


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", ">&-", "2>&-", "<&-", ">/dev/full", "| true"])
def test_it_runs_with_closed_and_full_streams(home, streams):
    runtime = home / "runtime.json"
    command = f"exec {' '.join(SERVER)} --runtime-file={runtime} {streams}"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as shell:
        found = json.loads(eventually(lambda: runtime.exists() and runtime.read_text(), what="the runtime file"))
        try:
            assert request(found["url"], "GET", "/health").status == 200
        finally:
            os.kill(found["pid"], signal.SIGTERM)
        _, errors = shell.communicate(timeout=20)
        assert shell.returncode == 0
        assert "Traceback" not in errors
        assert "Exception ignored" not in errors


@pytest.mark.parametrize(
    "flag",
    ["heartbeat=nan", "heartbeat=inf", "idle-timeout=1e300", "ChatServer.rate_seconds=nan", "ChatServer.recheck=inf",
     "buffer=" + "9" * 30, "rate-limit=" + "9" * 30, "ChatServer.part_limit=" + "9" * 30, "port=" + "9" * 30, "ip="],
)  # fmt: skip
def test_a_number_out_of_range_is_named(home, flag):
    options = [] if flag.startswith("port") else ["--port=0"]
    status, error = run_to_exit(*options, "--log=memory", "--open", f"--{flag}")
    name = re.split(r"[.=]", flag)[-2].replace("-", "_")
    assert status == 2
    assert name in error


@pytest.mark.parametrize(
    "flag", ["log=sqlite:/", "log=sqlite:~no-such-user/x", "runtime-file=/", "audit-log=~no-such-user/x"]
)
def test_a_path_that_is_no_file_is_named(home, flag):
    status, error = run_to_exit("--port=0", "--open", f"--{flag}")
    assert status == 1
    assert flag.partition("=")[2].removeprefix("sqlite:") in error


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch):
    """As a uid of a container that no user has."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("BQWIDGET_DATA_DIR")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with pytest.raises(StartError, match="set BQWIDGET_DATA_DIR"):
        ChatServer(port=0, open=True).make_log()
    with pytest.raises(LocalServerError, match="set BQWIDGET_DATA_DIR"):
        data_folder()


def test_the_unspecified_ipv6_address_is_every_address():
    sockets = bind("::", 0)
    try:
        families = {one.family for one in sockets}
        assert len({one.getsockname()[1] for one in sockets}) == 1
        assert families == ({socket.AF_INET, socket.AF_INET6} if has_ipv6() else {socket.AF_INET})
        with socket.create_connection(("127.0.0.1", sockets[0].getsockname()[1]), 20):
            pass
    finally:
        for one in sockets:
            one.close()


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_a_full_disk_of_the_audit_log_is_reported_once(home, caplog):
    with running_server(open=True, audit_log="/dev/full") as server:
        for _ in range(5):
            assert request(server.url, "GET", "/health").status == 200
        eventually(lambda: "the audit log can't be written" in caplog.text)
    assert caplog.text.count("the audit log can't be written") == 1


def test_two_histories_of_one_folder_have_their_own_moderation(tmp_path: Path):
    first, second = (moderation_path(tmp_path / name) for name in ("rooms.2025", "rooms.2026"))
    ModerationState(first, lambda: 0.0).close("lobby", "ada")
    assert ModerationState(first, lambda: 0.0).is_closed("lobby")
    assert not ModerationState(second, lambda: 0.0).is_closed("lobby")
    names = ("history.sqlite", "history", "history.db", "history.sqlite3")
    assert len({moderation_path(tmp_path / name) for name in names}) == len(names)


def test_the_moderation_of_an_earlier_release_is_kept(tmp_path: Path):
    ModerationState(tmp_path / "rooms.moderation.json", lambda: 0.0).close("lobby", "ada")
    state = ModerationState(moderation_path(tmp_path / "rooms.2025"), lambda: 0.0)
    assert state.is_closed("lobby")
    state.reopen("lobby")
    assert not ModerationState(moderation_path(tmp_path / "rooms.2025"), lambda: 0.0).is_closed("lobby")
    assert ModerationState(moderation_path(tmp_path / "rooms.2026"), lambda: 0.0).is_closed("lobby")


@pytest.mark.parametrize("name", ["\u200b", "\u2800", "\u202e", "\u3164 \ufe0f", "\x07"])
def test_a_name_needs_a_visible_character(name):
    with running_server(open=True) as server:
        answer = request(server.url, "POST", "/messages", {"user": name, "text": "hi"})
        assert (answer.status, answer.code) == (400, "empty")


def test_user_path():
    assert user_path("~/x") == Path.home() / "x"
    for text in ("", ".", "/", "~no-such-user/x"):
        with pytest.raises(StartError):
            user_path(text)
