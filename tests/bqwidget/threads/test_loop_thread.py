"""The one thread of all rooms of a process: how long it lives, and that no room can stop the others."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from concurrent.futures import wait
from contextlib import ExitStack
from threading import Event

import pytest
from bqserver.testing import running_server
from support.eventually import eventually

from bqwidget import Room

ROOMS = 50


@pytest.fixture
def server():
    with running_server(open=True) as started:
        yield started


def room_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "bqwidget-rooms"]


def ended() -> None:
    """Wait until no room of this process is open; of earlier tests, some may wait to be collected."""
    gc.collect()
    eventually(lambda: not room_threads(), what="the end of the thread")


def test_fifty_rooms_share_one_thread_which_ends_with_the_last(server):
    ended()
    before = set(threading.enumerate())
    with ExitStack() as stack:
        rooms = [stack.enter_context(Room(f"room-{n}", user="ada", url=server.url)) for n in range(ROOMS)]
        sent = [room.send(room.name, wait=False) for room in rooms]
        assert not wait(sent, 20).not_done
        (shared,) = room_threads()
        started = [thread for thread in set(threading.enumerate()) - before if not thread.name.startswith("bqserver")]
        assert started == [shared]
        for room in rooms[1:]:
            room.close()
        assert rooms[0].send("still here").text == "still here"
        assert rooms[0]._connection.thread is shared
    ended()
    with Room("lobby", user="ada", url=server.url) as room:
        room.send("again")
        assert room_threads() == [room._connection.thread] != [shared]


def test_rooms_that_open_and_close_in_many_threads_at_once(server):
    def visit(number):
        for _ in range(5):
            with Room(f"room-{number}", user="ada", url=server.url) as room:
                texts.append(room.send("hi").text)

    texts: list[str] = []
    threads = [threading.Thread(target=visit, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(texts) == 30
    ended()


def test_the_callback_of_a_sending_may_block(server):
    release, called = Event(), Event()

    def block(_):
        called.set()
        release.wait(60)

    with Room("one", user="ada", url=server.url) as one, Room("two", user="ada", url=server.url) as two:
        one.send("hi", wait=False).add_done_callback(block)
        assert called.wait(20)
        assert two.send("not blocked").text == one.send("not blocked").text
        release.set()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError("broken")], ids=repr)
def test_an_error_on_the_thread_is_reported_and_ends_no_room(server, capsys, caplog, error):
    def fail():
        raise error

    with Room("one", user="ada", url=server.url) as one, Room("two", user="ada", url=server.url) as two:
        one.wait_open(20)
        one._connection.call_soon(fail)
        assert two.send("here").text == one.send("here").text == "here"
    assert type(error).__name__ in capsys.readouterr().err + caplog.text


LOCAL = """
import threading
from bqwidget import Room
most, opened = 0, threading.Event()
def watch():
    global most
    while not opened.wait(0.001):
        most = max(most, threading.active_count())
before = threading.active_count() + 1
threading.Thread(target=watch).start()
rooms = [Room(f"room-{n}", user="ada") for n in range(20)]
for room in rooms:
    room.wait_open(20)
opened.set()
print(most - before)
"""


def test_rooms_that_look_for_the_local_server_at_once_look_once(home_environ):
    ended = subprocess.run(
        [sys.executable, "-c", LOCAL], env=home_environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert int(ended.stdout) <= 5, (
        "theirs, one that looks, one whose look has ended, one that waits for the server's end"
    )


FORKED = """
import os, sys, threading
from bqwidget import Room
url = sys.argv[1]
with Room("lobby", user="ada", url=url) as room:
    room.wait_open(20)
    if os.fork() == 0:
        with Room("lobby", user="bob", url=url) as own:
            own.send("from the child")
        os._exit(len([thread for thread in threading.enumerate() if thread.name.startswith("bqwidget")]))
    _, status = os.wait()
    print(os.waitstatus_to_exitcode(status), [message.text for message in room.history()])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
def test_a_forked_child_has_a_thread_of_its_own_for_its_rooms(server):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, server.url]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.stdout, ended.stderr) == ("0 ['from the child']\n", "")
