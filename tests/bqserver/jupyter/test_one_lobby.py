"""One lobby: whatever a user opens on a machine is in one room, and what was acknowledged there survives every kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pexpect  # IPython itself needs it
import psutil
import pytest
from support.eventually import eventually
from support.kernels import kernel
from support.paths import PYTHONPATH
from support.ws_client import member
from websockets.exceptions import ConnectionClosed

from bqwidget import Room

TALK = """
from bqwidget import Room
room = Room("lobby", user={name!r}).wait_open(60)
room.send("from {name}", timeout=60)
room.wait_for(lambda message: message.text == "go", after=0, timeout=120)
with open({file!r}, "w") as file:
    file.write("\\n".join(message.text for message in room.messages))
"""
MARIMO = """
import marimo
app = marimo.App()

@app.cell
def _():
    {code}
    return

if __name__ == "__main__":
    app.run()
"""
SPEAKERS = 5


def test_everything_that_a_user_opens_is_in_one_room_in_one_order(home, home_environ, jupyter_server):
    pytest.importorskip("marimo")
    names = ["first-lab", "second-lab", "script", "terminal", "marimo", "kernel"]
    files = {name: home / f"{name}.txt" for name in names}
    code = {name: TALK.format(name=name, file=str(file)) for name, file in files.items()}
    notebook = home / "reactive.py"
    notebook.write_text(MARIMO.format(code=code["marimo"].strip().replace("\n", "\n    ")))
    (home / "terminal.py").write_text(code["terminal"])
    environ = {**home_environ, "PYTHONPATH": PYTHONPATH}

    def script(*args: str) -> None:
        subprocess.run([sys.executable, *args], env=environ, check=True, timeout=240, capture_output=True)

    def terminal() -> None:
        flags = ["-m", "IPython", "--no-banner", "--no-confirm-exit", "--simple-prompt"]
        child = pexpect.spawn(sys.executable, flags, env={**environ, "TERM": "xterm"}, timeout=240)
        child.sendline(f"%run {home / 'terminal.py'}")
        child.sendline("exit()")
        child.expect(pexpect.EOF)

    with (
        jupyter_server(home, home_environ, app="jupyterlab.labapp") as first,
        jupyter_server(home, home_environ, app="jupyterlab.labapp", shows="elsewhere") as second,
        kernel(environ) as plain,
        Room("lobby", user="ada").wait_open(60) as room,
        ThreadPoolExecutor() as pool,
    ):
        ends = [
            pool.submit(first.kernel().run, code["first-lab"], 240),
            pool.submit(second.kernel().run, code["second-lab"], 240),
            pool.submit(script, "-c", code["script"]),
            pool.submit(terminal),
            pool.submit(script, "-m", "marimo", "export", "html", str(notebook), "-o", str(home / "reactive.html")),
        ]
        running = plain.begin(code["kernel"])
        expected = {f"from {name}" for name in names}

        def all_here() -> bool:
            for end in ends:
                if end.done():
                    end.result()
            return expected <= {message.text for message in room.messages}

        eventually(all_here, 200, "a message of each")
        room.send("go")
        plain.until(lambda: running.is_done, "the end of the cell")
        for end in ends:
            end.result()
        in_order = [message.text for message in room.messages]
        assert sorted(in_order) == sorted([*expected, "go"])
        assert {name: file.read_text().splitlines() for name, file in files.items()} == dict.fromkeys(names, in_order)
        for server in (first, second):
            assert [one["text"] for one in server.ask("GET", "/bqserver/messages").json] == in_order


def test_two_jupyterlabs_that_start_at_once_start_one_server(home, home_environ, jupyter_server):
    with ExitStack() as opened, ThreadPoolExecutor(2) as pool:
        starts = [
            pool.submit(opened.enter_context, jupyter_server(home, home_environ, app="jupyterlab.labapp"))
            for _ in range(2)
        ]
        one, other = [start.result() for start in starts]
        assert one.ask("POST", "/bqserver/messages", {"user": "ada", "text": "hi"}).status == 201
        assert [each["text"] for each in other.ask("GET", "/bqserver/messages").json] == ["hi"]
        assert len(local_servers(home)) == 1


def local_servers(home: Path) -> list[int]:
    option = f"--runtime-file={home / 'runtime' / 'server.json'}"
    return [each.pid for each in psutil.process_iter(["cmdline"]) if option in (each.info["cmdline"] or ())]


@pytest.mark.parametrize("victims", [("local",), ("jupyter",), ("local", "jupyter")], ids=" and ".join)
def test_five_members_lose_nothing_that_was_acknowledged(home, home_environ, jupyter_server, victims):
    acknowledged: list[str] = []

    def talk(name: str, url: str, authorization: str) -> None:
        with member(url, query=f"?user={name}", Authorization=authorization) as one:
            try:
                for number in range(10_000):
                    one.say(f"{name} {number}", user=name, cid=f"{name}-{number}")
                    one.until("ack")
                    acknowledged.append(f"{name} {number}")
            except ConnectionClosed:
                return
            raise AssertionError("not killed")

    with jupyter_server(home, home_environ) as server, ThreadPoolExecutor(SPEAKERS) as pool:
        url = server.origin + server.rooms
        talks = [pool.submit(talk, f"m{number}", url, f"token {server.token}") for number in range(SPEAKERS)]
        eventually(lambda: len(acknowledged) >= 100 or any(talk.done() for talk in talks))
        if "local" in victims:
            (pid,) = local_servers(home)
            os.kill(pid, signal.SIGKILL)
        if "jupyter" in victims:
            server.process.kill()
            server.process.wait()
        for talk_end in talks:
            talk_end.result(60)
        if "jupyter" not in victims:
            answer = eventually(lambda: (found := server.ask("GET", "/bqserver/messages")).status == 200 and found)
            assert answer.json
    with jupyter_server(home, home_environ) as again:
        stored = read_all(lambda path: again.ask("GET", path).json)
    assert len(acknowledged) == len(set(acknowledged)) >= 100
    assert set(acknowledged) - set(stored) == set()
    assert len(stored) - len(acknowledged) <= SPEAKERS  # one each that was stored, and whose acknowledgement was lost
    assert len(stored) == len(set(stored))


def read_all(get: Callable[[str], list[dict]]) -> list[str]:
    texts: list[str] = []
    seq = 0
    while page := get(f"/bqserver/messages?limit=200&after={seq}"):
        texts += [one["text"] for one in page]
        seq = page[-1]["seq"]
    return texts
