"""The last words of scripts: what is queued when a room or the whole program ends is delivered, or reported."""

from __future__ import annotations

import random
import socket
import subprocess
import sys

import pytest
from bqserver.testing import running_server
from support.paths import ROOT

from bqwidget import Room, RoomClosed

pytestmark = pytest.mark.slow("starts Python in each test", versions=True)

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ENDINGS = {
    "the end": "Room('lobby').send('last words', wait=False)",
    "with": "with Room('lobby') as room: room.send('last words', wait=False)",
    "close": "room = Room('lobby')\nroom.send('last words', wait=False)\nroom.close()",
    "sys.exit": "room = Room('lobby')\nroom.send('last words', wait=False)\nsys.exit()",
    "an exception": "room = Room('lobby')\nroom.send('last words', wait=False)\nraise ValueError('the end')",
    "a thread": "made = threading.Event()\ndef speak():\n"
    "    room = Room('lobby'); made.set(); threading.main_thread().join(); room.send('last words', wait=False)\n"
    "threading.Thread(target=speak).start(); made.wait()",
    "a forked process": "def speak(): Room('lobby').send('last words', wait=False)\n"
    "process = multiprocessing.get_context('fork').Process(target=speak); process.start(); process.join()",
    "collected": "room = Room('lobby')\nroom.send('last words', wait=False)\ndel room\ngc.collect()",
    "an attachment": f"Room('lobby').send(base64.b64decode({PNG!r}), 'last words', wait=False)",
    "a host's name": "Room('lobby', url=os.environ['BQWIDGET_URL'].replace('127.0.0.1', 'localhost')).send("
    "'last words', wait=False)",
}
IMPORTS = "import base64, gc, multiprocessing, os, sys, threading\nfrom bqwidget import Room\n"


def run_script(environ: dict[str, str], code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", IMPORTS + code]
    return subprocess.run(command, check=False, env=environ, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("code", ENDINGS.values(), ids=list(ENDINGS))
def test_queued_messages_are_delivered_at_the_end(home_environ: dict[str, str], code: str) -> None:
    with running_server(open=True) as server:
        ended = run_script({**home_environ, "BQWIDGET_URL": server.url}, code)
        with Room("lobby", user="reader", url=server.url) as reader:
            assert [message.text for message in reader.history()] == ["last words"], ended.stderr
    assert "not delivered" not in ended.stderr
    assert ended.returncode == ("ValueError" in code)


def test_a_room_that_a_thread_makes_after_the_main_thread_is_delivered_or_refused(home_environ: dict[str, str]) -> None:
    code = "def speak(): threading.main_thread().join(); Room('lobby').send('last words', wait=False)\n"
    with running_server(open=True) as server:
        ended = run_script(
            {**home_environ, "BQWIDGET_URL": server.url}, f"{code}threading.Thread(target=speak).start()"
        )
        with Room("lobby", user="reader", url=server.url) as reader:
            delivered = [message.text for message in reader.history()]
    if delivered or sys.version_info < (3, 12):
        assert (delivered, ended.stderr) == (["last words"], "")
    else:  # such a Python starts no thread any more
        assert ended.stderr.rstrip().endswith("interpreter shutdown"), "one error, and no warning of what is left open"


def test_a_local_server_is_started_for_them(home_environ: dict[str, str]) -> None:
    ended = run_script(home_environ, "Room('lobby').send('last words', wait=False)")
    assert (ended.returncode, ended.stderr) == (0, "")
    with Room("lobby", user="reader") as reader:
        assert [message.text for message in reader.history()] == ["last words"]


def test_a_sigterm_delivers_as_the_guide_says(home_environ: dict[str, str]) -> None:
    handler = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))"
    assert f"`{handler}`" in (ROOT / "bqwidget" / "README.md").read_text()
    code = "Room('lobby').send('last words', wait=False)\nos.kill(os.getpid(), signal.SIGTERM)\nsignal.pause()"
    with running_server(open=True) as server:
        ended = run_script({**home_environ, "BQWIDGET_URL": server.url}, f"import signal\n{handler}\n{code}")
        with Room("lobby", user="reader", url=server.url) as reader:
            assert [message.text for message in reader.history()] == ["last words"], ended.stderr
    assert (ended.returncode, ended.stderr) == (143, "")


def test_what_was_not_delivered_is_reported(home_environ: dict[str, str]) -> None:
    with running_server() as server:
        environ = {**home_environ, "BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": "wrong"}
        ended = run_script(environ, "room = Room('lobby')\nfor n in range(7): room.send(f'word {n}', wait=False)")
    assert ended.returncode == 0
    assert "bqwidget: 7 messages or changes were not delivered to room lobby (" in ended.stderr
    assert "'word 0', 'word 1', 'word 2', 'word 3', 'word 4', ..." in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("closes_soon")
def test_closing_without_a_server_reports_and_raises(capsys: pytest.CaptureFixture[str], unused_port: int) -> None:
    with Room("lobby", user="ada", url=f"http://127.0.0.1:{unused_port}") as room:
        sending = room.send("last words", wait=False)
    with pytest.raises(RoomClosed):
        sending.result(0)
    assert "bqwidget: 1 message or change was not delivered to room lobby (" in capsys.readouterr().err


def test_a_room_leaves_the_random_numbers_of_a_program_alone() -> None:
    before = random.getstate()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Room("lobby", user="ada", url=f"http://127.0.0.1:{server.getsockname()[1]}"),
    ):
        for _attempt in range(2):  # the second after a random time
            server.accept()[0].close()
    assert random.getstate() == before
