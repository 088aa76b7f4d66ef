"""The author's kernel, or the server, is killed while a message is written: none stays live, and all have one text.

Size 1: one kill of each; size 100: a hundred of each, which takes about half an hour.
"""

from __future__ import annotations

import random
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
import itertools, time
from bqwidget import Room
room = Room("lobby", user="bot-{number}", url="{url}").wait_open(60)
with room.write() as out:
    for number in itertools.count():
        out.append(f"token {{number}} ")
        time.sleep(0.01)
"""


@pytest.mark.timeout(seconds(120))
def test_the_messages_of_killed_kernels_end_with_one_text(tmp_path: Path, kernel: Any, home_environ: dict) -> None:
    times = []
    with server_process(tmp_path / "log.sqlite", *OPTIONS) as server, ExitStack() as stack:
        readers = [stack.enter_context(reader(server, name)) for name in ("ada", "eve")]
        for number in range(KILLS):
            with kernel(home_environ) as author:
                author.begin(WRITE.format(number=number, url=server.url))
                seq = eventually(lambda: live(readers), 60, "the message").seq
                Event().wait(random.uniform(0, MAX_WRITING_SECONDS))
                author.kill()
                killed_at = time.monotonic()
                times.append(ended(readers, seq, "lost") - killed_at)
            check_text(server, readers, seq)
    print(f"{KILLS} kills of the kernel: ended after at most {max(times) / HEARTBEAT:.2f} heartbeats")
    assert max(times) < 3 * HEARTBEAT


@pytest.mark.timeout(seconds(120))
def test_messages_go_on_after_kills_of_the_server(tmp_path: Path) -> None:
    """The author is still there: it sends what the server had not saved."""
    with server_process(tmp_path / "log.sqlite", *OPTIONS) as server, ExitStack() as stack:
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
            times.append(ended(readers, seq, "lost") - started_at)
            check_text(server, readers, seq)
    print(f"{KILLS} kills of the server: ended after at most {max(times) / HEARTBEAT:.2f} heartbeats")
    assert max(times) < 3 * HEARTBEAT


def reader(server: ServerProcess, name: str) -> Room:
    return Room("lobby", user=name, url=server.url, separate=True).wait_open(60)


def live(readers: Sequence[Room]) -> Message | None:
    """The message that is being written, once every reader has some text of it."""
    found = [next((each for each in room.messages[-1:] if each.live and each.text), None) for room in readers]
    return found[0] if all(found) else None


def ended(readers: Sequence[Room], seq: int, end: str) -> float:
    """Wait until every reader has seen message ``seq`` end so. Returns when (monotonic seconds)."""
    for room in readers:
        eventually(lambda room=room: found(room, seq).end, 60, f"the end of message {seq}")
    now = time.monotonic()
    assert {found(room, seq).end for room in readers} == {end}
    return now


def found(room: Room, seq: int) -> Message:
    return next(message for message in room.messages if message.seq == seq)


def check_text(server: ServerProcess, readers: Sequence[Room], seq: int) -> str:
    """The text of message ``seq``, which the readers, the log and a member that joins now agree on."""
    [stored] = [each for each in request(server.url, "GET", "/messages").json if each["seq"] == seq]
    with reader(server, "late") as late:
        texts = {found(room, seq).text for room in [*readers, late]} | {stored["text"]}
    [text] = texts
    assert "live" not in stored
    return text
