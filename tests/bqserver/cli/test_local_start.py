"""A ``bqserver`` that a person starts: on loopback it is the local server, which notebooks and scripts join."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.forking.server import run, start
from support.processes import server_process
from support.ws_client import request

from bqwidget import Room
from bqwidget.local import find_or_start


def test_scripts_join_the_server_that_was_started_by_hand(home: Path):
    with server_process() as server:
        with Room("lobby", user="ada").wait_open(30) as room:
            room.send("kept")
            assert room.url == f"{server.url}/rooms/lobby"
        assert find_or_start().pid == json.loads((home / "runtime" / "server.json").read_text())["pid"]
    with Room("lobby", user="ada").wait_open(30) as room:  # of a server that it has started
        assert [message.text for message in room.messages] == ["kept"]
    assert not (home / "data" / "history.sqlite").exists()


@pytest.mark.parametrize("first", ["by hand", "by a script"])
def test_a_second_one_says_that_the_first_one_runs(home: Path, first: str):
    def second(*args: str):
        return run("--port=0", *args, env=os.environ)

    if first == "by hand":
        with server_process() as server:
            refused, url = second(), server.url
    else:
        url = find_or_start().url
        refused = second()
    assert refused.returncode == 1
    assert f"your local server runs already: {url} (process " in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("args", [["--log=memory"], ["--open"], ["--ip=0.0.0.0"], ["--behind-proxy"]])
def test_a_server_for_others_is_not_the_local_one(home: Path, args: list[str]):
    with server_process(*args):
        assert not (home / "runtime").exists()
    assert not (home / "data" / "local.sqlite").exists()


@pytest.mark.parametrize("args", [[], ["--ip=0.0.0.0"], ["--ip=::", "--allow-host=localhost"], ["--base-url=/chat/"]])
def test_the_link_that_a_terminal_shows_works(home: Path, args: list[str]):
    terminal, end = os.openpty()
    process = start("--port=0", *args, stdout=end, env=os.environ)
    os.close(end)
    try:
        with os.fdopen(terminal) as shown:
            link = next(line for line in shown if line.startswith("Invite link")).split()[-1]
        url, _, code = link.partition("#invite=")
        parts = urlsplit(url)
        origin, base = f"http://{parts.netloc}", parts.path.removesuffix("/rooms/lobby")
        assert request(origin, "GET", f"{base}/").status == 200
        assert request(origin, "GET", f"{base}/rooms/lobby").status == 200
        assert request(origin, "POST", f"{base}/session", {"invite": code}, Origin=origin).status == 204
    finally:
        process.terminate()
        process.wait()


def test_an_earlier_history_is_served_as_before(home: Path):
    (home / "data").mkdir(mode=0o700)
    with server_process("--open") as server:
        assert request(server.url, "POST", "/messages", {"user": "ada", "text": "kept"}).status == 201
    with server_process() as server:
        bearer = f"Bearer {(home / 'data' / 'token').read_text().strip()}"
        (message,) = request(server.url, "GET", "/messages", Authorization=bearer).json
        assert message["text"] == "kept"
        assert f"the rooms of {home / 'data' / 'history.sqlite'}, as before" in server.log()
    assert not (home / "runtime").exists()
