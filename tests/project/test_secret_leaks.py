"""Secret leaks: a token used with everything that writes logs or files must not appear in any of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bqserver.auth import tokens
from support.eventually import eventually
from support.ws_client import member, request

SECRET = "SECRET-5f1d2c9b7a"

CLIENT = """
import logging, os, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
logging.getLogger("asyncio").setLevel(logging.DEBUG)
from bqwidget import Room, BqwidgetError
from bqwidget._client.endpoint import configured_endpoint
room = Room("lobby", user="ada").wait_open(20)
room.send("hi")
print(repr(room), str(room), room.url, repr(room.widget), room._repr_mimebundle_())
print(configured_endpoint(None, None, insecure=False), room.widget.get_state())
print(room.invite(uses=1, minutes=1))
def fails(make):
    try:
        make()
    except Exception:
        print(traceback.format_exc())
fails(lambda: room.send("x" * 40_000))
fails(lambda: Room("lobby", url="http://chat.example.org"))
fails(lambda: Room("lobby", url=os.environ["BQWIDGET_URL"], token=os.environ["BQWIDGET_TOKEN"] + "x").wait_open(2))
fails(lambda: Room("bad room"))
fails(lambda: Room("lobby", tokens=os.environ["BQWIDGET_TOKEN"]))
room.close()
fails(lambda: room.send("after the end"))
"""

CELLS = [
    "from bqwidget import Room\nroom = Room('lobby', user='ada').wait_open(20)\nroom.send('hi')\nroom",
    "room.widget",
    "print(room, room.url)\nroom.transcript()",
    "room.send('x' * 40_000)",
]


@pytest.fixture
def verbose_server(home):
    """The URL of a server with all its logs enabled, whose shared token is SECRET, and the file of its stderr."""
    key, stderr = home / "key", home / "stderr.txt"
    key.write_text(SECRET)
    key.chmod(0o600)
    command = [sys.executable, "-m", "bqserver", "--port=0", f"--token-file={key}", "--log-level=DEBUG"]
    command += [f"--audit-log={home / 'audit.jsonl'}", f"--runtime-file={home / 'server.json'}"]
    with stderr.open("w") as output:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True)
    try:
        yield process.stdout.readline().split()[-1], stderr
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=20)
        assert SECRET not in rest
        assert process.returncode == 0


def command_lines() -> str:
    """The command lines of all processes, from ``ps``."""
    done = subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True, text=True, check=True)
    return done.stdout


def files_containing(folder: Path, secret: str) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    }


def test_the_server_writes_no_token_to_its_logs_or_files(verbose_server, home):
    url, _ = verbose_server
    named, _ = tokens.add_grant(home / "data" / "tokens.json", "ada")
    for token in (SECRET, named):
        bearer = {"Authorization": f"Bearer {token}"}
        eventually(lambda sent=bearer: request(url, "GET", "/rooms", **sent).status == 200)
        for path in (
            "/messages",
            f"/messages?token={token}",
            "/rooms/bad.room",
            "/nowhere",
            "/messages?limit=x",
        ):
            request(url, "GET", path, **bearer)
        for body in (b"{", {"user": "ada2", "text": "x" * 200_000}, {"user": 3}):
            request(url, "POST", "/messages", body, **bearer)
        with member(url, **bearer) as one:
            one.until("synced")
            one.send("not json")
            one.until("echo")
            one.send(b"binary")
            assert one.close_code() == 1003
        assert SECRET not in command_lines()
    request(url, "GET", "/messages", Authorization=f"Bearer {SECRET}x")
    request(url, "GET", "/messages", Authorization=f"Basic {SECRET}")
    allowed = {"key", "server.json"}  # both are meant to contain it, and have mode 0600
    assert files_containing(home, SECRET) == allowed
    assert all((home / name).stat().st_mode & 0o077 == 0 for name in allowed)
    assert files_containing(home, named) == set()
    assert (home / "audit.jsonl").read_text()


def environment(home_environ: dict[str, str], url: str) -> dict[str, str]:
    return {
        **home_environ,
        "BQWIDGET_URL": url,
        "BQWIDGET_TOKEN": SECRET,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


def test_the_client_shows_no_token_in_logs_reprs_and_tracebacks(verbose_server, home_environ):
    url, _ = verbose_server
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", CLIENT],
        env=environment(home_environ, url),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Traceback") >= 6, done.stdout
    assert "DEBUG" in done.stdout
    leaks = [line for line in (done.stdout + done.stderr).splitlines() if SECRET in line]
    assert leaks == []


@pytest.mark.timeout(200)
@pytest.mark.usefixtures("kernel")
def test_a_saved_notebook_and_its_exports_contain_no_token(verbose_server, home, home_environ):
    url, _ = verbose_server
    folder = home / "saved"
    folder.mkdir()
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "room.ipynb")
    environ = environment(home_environ, url)
    for arguments in (
        ["--execute", "--allow-errors", "--to", "notebook", "--inplace", "room.ipynb"],
        ["--to", "html", "room.ipynb"],
        ["--to", "markdown", "room.ipynb"],
        ["--to", "script", "room.ipynb"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "nbconvert", "--log-level=DEBUG", *arguments],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert SECRET not in done.stdout + done.stderr
    saved = nbformat.read(folder / "room.ipynb", 4)
    state = saved.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert any("room_name" in model["state"] for model in state.values())  # it contains the widget's state
    assert "InvalidMessageError" in str(saved.cells[3].outputs)
    assert files_containing(folder, SECRET) == set()
