"""The author's kernel, or the server, is killed while a message is written: none stays live, and all have one text.

Size 1: one kill of each; size 100: a hundred of each, which takes about half an hour.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from support.eventually import eventually
from support.sqlite_logs import list_problems
from support.ws_client import append, members, opened, request

from bqwidget import Room
from bqwidget.protocol import Message

from .load.server_process import ServerProcess, server_process
from .load.sizes import scaled, seconds

KILLS = scaled(1, 100)
HEARTBEAT = 2.0
OPTIONS = (f"--heartbeat={HEARTBEAT}", "--rate-limit=0")
MAX_WRITING_SECONDS = 2.5
"""Until the kill: the log gets the text once in 2 s."""
WRITE = """
import itertools, os, time
from bqwidget import Room
print(os.getpid(), flush=True)
room = Room("lobby", user="bot-{number}", url="{url}").wait_open(60)
with room.write() as out:
    for number in itertools.count():
        out.append(f"token {{number}} ")
        time.sleep(0.01)
"""


@pytest.mark.alone
@pytest.mark.timeout(seconds(120))
def test_the_messages_of_killed_kernels_end_with_one_text(tmp_path: Path, kernel: Any, home_environ: dict) -> None:
    times = []
    with server_process(tmp_path / "log.sqlite", *OPTIONS) as server, ExitStack() as stack:
        readers = [stack.enter_context(reader(server, name)) for name in ("ada", "eve")]
        for number in range(KILLS):
            with kernel(home_environ) as author:
                cell = author.begin(WRITE.format(number=number, url=server.url))
                seq = eventually(lambda: live(readers), 60, "the message").seq
                Event().wait(random.uniform(0, MAX_WRITING_SECONDS))
                author.until(lambda cell=cell: cell.text.strip(), "its process")
                os.kill(int(cell.text), signal.SIGKILL)
                killed_at = time.monotonic()
                times.append(stored_end(server, seq) - killed_at)
            ended(readers, seq, "lost")
            check_text(server, readers, seq)
    print(f"{KILLS} kills of the kernel: ended after at most {max(times) / HEARTBEAT:.2f} heartbeats")
    assert max(times) < 3 * HEARTBEAT


@pytest.mark.timeout(seconds(120))
def test_messages_go_on_after_kills_of_the_server(tmp_path: Path) -> None:
    """The author is still there: it sends what the server had not saved. On a busy machine it comes back late."""
    with server_process(tmp_path / "log.sqlite", "--heartbeat=15", "--rate-limit=0") as server, ExitStack() as stack:
        author, *readers = [stack.enter_context(reader(server, name)) for name in ("bot", "ada", "eve")]
        for _ in range(KILLS):
            with author.write(timeout=60) as out:
                seq, text = out.message.seq, ""
                for part in range(2):
                    until = time.monotonic() + random.uniform(0, MAX_WRITING_SECONDS)
                    while time.monotonic() < until:
                        out.append(token := f"token {len(text)} ")
                        text += token
                        Event().wait(0.01)
                    if part == 0:
                        server.kill()
                        server.start()
            ended(readers, seq, "done")
            assert check_text(server, readers, seq) == text
    assert list_problems(tmp_path / "log.sqlite") == []


@pytest.mark.alone
@pytest.mark.timeout(seconds(120))
def test_messages_end_after_kills_of_the_server_whose_author_does_not_come_back(tmp_path: Path) -> None:
    times = []
    with server_process(tmp_path / "log.sqlite", *OPTIONS) as server, ExitStack() as stack:
        readers = [stack.enter_context(reader(server, name)) for name in ("ada", "eve")]
        for number in range(KILLS):
            with members(server, f"bot{number}") as (bot,):
                seq, length = opened(bot, cid=f"open{number}"), 0
                until = time.monotonic() + random.uniform(0, MAX_WRITING_SECONDS)
                while time.monotonic() < until:
                    append(bot, seq, length, token := f"token {length} ")
                    length += len(token)
                    Event().wait(0.01)
                server.kill()
            server.start()
            started_at = time.monotonic()
            times.append(stored_end(server, seq) - started_at)
            ended(readers, seq, "lost")
            check_text(server, readers, seq)
    print(f"{KILLS} kills of the server: ended after at most {max(times) / HEARTBEAT:.2f} heartbeats")
    assert max(times) < 3 * HEARTBEAT


def reader(server: ServerProcess, name: str) -> Room:
    return Room("lobby", user=name, url=server.url, separate=True).wait_open(60)


def live(readers: Sequence[Room]) -> Message | None:
    """The message that is being written, once every reader has some text of it."""
    found = [next((each for each in room.messages[-1:] if each.live and each.text), None) for room in readers]
    return found[0] if all(found) else None


def ended(readers: Sequence[Room], seq: int, end: str) -> None:
    """Wait until every reader has seen message ``seq`` end so."""
    for room in readers:
        eventually(lambda room=room: found(room, seq).end, 60, f"the end of message {seq}")
    assert {found(room, seq).end for room in readers} == {end}


def stored_end(server: ServerProcess, seq: int) -> float:
    """Wait until the log has the end of message ``seq``. Returns when (monotonic seconds)."""
    eventually(lambda: stored(server, seq).get("end"), 60, f"the end of message {seq}")
    return time.monotonic()


def stored(server: ServerProcess, seq: int) -> dict[str, Any]:
    found: list[dict[str, Any]] = request(server.url, "GET", "/messages").json
    return next(message for message in found if message["seq"] == seq)


def found(room: Room, seq: int) -> Message:
    return next(message for message in room.messages if message.seq == seq)


def check_text(server: ServerProcess, readers: Sequence[Room], seq: int) -> str:
    """The text of message ``seq``, which the readers, the log and a member that joins now agree on."""
    message = stored(server, seq)
    with reader(server, "late") as late:
        [text] = {found(room, seq).text for room in [*readers, late]} | {message["text"]}
    assert "live" not in message
    return text
