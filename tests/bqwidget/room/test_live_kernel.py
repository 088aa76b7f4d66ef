"""Live messages of a real kernel: handlers that yield, cells that write, stop, interrupts, and a kernel that dies."""

from __future__ import annotations

import json
import re
import time
from urllib.request import Request, urlopen

import pytest
from bqserver.testing import running_server
from support.eventually import eventually

from bqwidget import Room

SETUP = """
import asyncio, signal, threading, time
from bqwidget import Room
room = Room({name!r}, user="ada").wait_open(20)
closed = []
"""
SYNC = """
@room.on_message
def answer(message):
    try:
        yield "on and on"
        while True:
            yield ""  # a reply of more characters than it may have would fail
            time.sleep(0.001)
    finally:
        closed.append(time.time())
        print("closed")
"""
ASYNC = """
@room.on_message
async def answer(message):
    try:
        yield "thinking… "
        await asyncio.sleep(10**6)
    finally:
        closed.append(time.time())
        print("closed")
"""
BACKGROUND = SYNC.replace("on_message", "on_message(background=True)").replace(
    "    try:\n",
    "    while signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # the main thread is about to handle it\n"
    "        time.sleep(0.001)\n"
    "    try:\n",
)


@pytest.fixture
def bob(join):
    return join("bob")


@pytest.fixture
def notebook(room_server, home_environ, bob, kernel):
    environ = {**home_environ, "BQWIDGET_URL": room_server.url, "BQWIDGET_TOKEN": room_server.token}
    with kernel(environ) as running:
        running.run(SETUP.format(name=bob.name))
        yield running


def growing(room, question=None):
    """The message that is being written, once it has some text: the reply to ``question``, if that is given."""

    def find():
        seq = None if question is None else question.seq
        return next((m for m in room.messages if m.live and m.text and m.re == seq), None)

    return eventually(find, what="a live message")


def ended(room, message):
    def find():
        return next((m for m in room.messages if m.seq == message.seq and not m.live), None)

    return eventually(find, what="the end")


@pytest.mark.slow
def test_a_thousand_tokens_are_a_few_entries_of_the_log(room_server, notebook, bob):
    notebook.run("""
@room.on_message
async def answer(message):
    begin = time.perf_counter()
    for number in range(1000):
        yield f"token{number} "
        await asyncio.sleep(max(0, begin + (number + 1) * 0.01 - time.perf_counter()))
""")
    sizes = set()
    bob.observe(lambda change: sizes.add(len(change.new[-1].text)), "messages")
    asked_at = time.monotonic()
    question = bob.send("?")
    reply = bob.wait_for(lambda message: message.re == question.seq, after=question, timeout=60)
    took = time.monotonic() - asked_at  # ten seconds, or more on a busy machine
    assert reply.text == "".join(f"token{number} " for number in range(1000))
    request = Request(
        f"{room_server.url}/rooms/{bob.name}/log?after={question.seq}&limit=200",
        headers={"Authorization": f"Bearer {room_server.token}"},
    )
    with urlopen(request) as answer:
        body = answer.read()
    entries = json.loads(body)
    assert len(entries) <= 3 + took / 2, [entry.get("kind") for entry in entries]
    assert len(body) <= 2 * len(reply.text)
    assert len(sizes) > 3 * len(entries)  # it grew all the time


@pytest.mark.parametrize("handler", [SYNC, ASYNC, BACKGROUND], ids=["sync", "async", "background"])
def test_a_stop_closes_the_generator_and_all_else_goes_on(notebook, bob, handler):
    cell = notebook.run(handler)
    notebook.run("other = 1")
    for _ in range(3):
        question = bob.send("?")
        message = growing(bob, question)
        assert notebook.run("print(other + 1)").text == "2\n"  # a cell runs meanwhile
        bob.stop(message)
        done = ended(bob, message)
        assert (done.end, done.stopped_by) == ("stopped", "bob")
    notebook.until(lambda: cell.text.count("closed") == 3, f"the finally under its cell: {cell.text!r}")


def test_output_and_errors_of_a_generator_are_under_its_cell(notebook, bob):
    cell = notebook.run("""
@room.on_message
def answer(message):
    print("begin")
    yield "half"
    raise ValueError("no more")
""")
    notebook.run("print('another cell')")
    question = bob.send("?")
    done = ended(bob, eventually(lambda: next((m for m in bob.messages if m.re == question.seq), None)))
    assert (done.text, done.end) == ("half\n\n✗ ValueError: no more", "failed")
    cell.shows("ValueError: no more")
    assert cell.text.startswith("begin\n")
    lines = [line for line in cell.text.splitlines() if line.startswith("  File ")]
    assert len(lines) == 1, cell.text
    assert re.search(r"in answer$", lines[0])


def test_what_cannot_be_sent_is_said_once_under_its_cell(notebook, bob):
    cell = notebook.run("@room.on_message\ndef count(message):\n    return len(message.text)")
    for text in ("one", "three", "done?"):
        bob.send(text)
    notebook.run("room.wait_for(lambda message: message.text == 'done?', after=0, timeout=20)")
    cell.shows("count returned 3 (int), which can't be sent")
    assert cell.text.count("can't be sent") == 1


@pytest.mark.parametrize("handler", [SYNC, ASYNC, BACKGROUND], ids=["sync", "async", "background"])
def test_an_interrupt_between_cells_ends_the_reply_as_stopped(notebook, bob, handler):
    cell = notebook.run(handler)
    message = growing(bob, bob.send("?"))
    notebook.interrupt()
    done = ended(bob, message)
    assert (done.end, done.stopped_by) == ("stopped", None)
    cell.shows("KeyboardInterrupt")
    notebook.until(lambda: notebook.run("print('alive', len(closed))").text == "alive 1\n", "the end of its generator")


def test_a_reply_that_began_while_a_cell_waits_goes_on_after_it(notebook, bob):
    notebook.run("""
@room.on_message(where=lambda message: message.text == "?")
def answer(message):
    for number in range(1500):
        yield f"{number} "
        time.sleep(0.001)
""")
    cell = notebook.begin("print(room.wait_for(lambda message: message.text == 'go on', timeout=60, after=0).text)")
    question = bob.send("?")
    growing(bob, question)
    bob.send("go on")
    cell.shows("go on")
    reply = bob.wait_for(lambda message: message.re == question.seq, after=question, timeout=60)
    assert reply.text == "".join(f"{number} " for number in range(1500))


WRITE = """
with room.write() as out:
    out.append("from a cell")
    {wait}
"""


@pytest.mark.parametrize("wait", ["time.sleep(10**6)", "while True: out.append('.'); time.sleep(0.01)"])
def test_interrupting_a_cell_that_writes_ends_the_message_as_stopped(notebook, bob, wait):
    cell = notebook.begin(WRITE.format(wait=wait))
    message = growing(bob)
    notebook.interrupt()
    done = ended(bob, message)
    assert (done.end, done.text.rstrip(".")) == ("stopped", "from a cell")
    notebook.until(lambda: cell.errors == ["KeyboardInterrupt"], "the interrupt")


def test_cells_that_await_and_threads_write(notebook, bob):
    notebook.run("""
async with room.write() as out:
    out.append("awaited")
def write():
    with room.write() as out:
        out.append("on a thread")
thread = threading.Thread(target=write)
thread.start()
thread.join()
""")
    eventually(lambda: len(bob.messages) == 2 and bob.messages[1].end)
    assert [(message.text, message.end) for message in bob.messages] == [("awaited", "done"), ("on a thread", "done")]


def test_an_exception_in_a_cell_ends_the_message_as_failed(notebook, bob):
    cell = notebook.begin(WRITE.format(wait="1 / 0"))
    notebook.until(lambda: cell.errors == ["ZeroDivisionError"], "the error")
    eventually(lambda: bob.messages and bob.messages[0].end == "failed")
    assert bob.messages[0].text == "from a cell\n\n✗ ZeroDivisionError: division by zero"


def test_a_kernel_that_dies_leaves_no_message_live(home_environ, kernel):
    with (
        running_server(open=True, heartbeat=2) as server,
        Room("lobby", user="bob", url=server.url) as bob,
        kernel({**home_environ, "BQWIDGET_URL": server.url}) as notebook,
    ):
        bob.wait_open(20)
        notebook.run(SETUP.format(name="lobby"))
        notebook.begin(WRITE.format(wait="time.sleep(10**6)"))
        message = growing(bob)
        notebook.kill()
        done = ended(bob, message)
        assert (done.end, done.text) == ("lost", "from a cell")


def test_what_a_member_does_is_shown(notebook, bob):
    def activity():
        return next((member.typing for member in bob.members if member.user == "ada"), None)

    cell = notebook.begin('with room.activity("reading the paper…"):\n    time.sleep(10**6)')
    eventually(lambda: activity() == "reading the paper…", what="the activity")
    notebook.interrupt()
    notebook.until(lambda: cell.errors == ["KeyboardInterrupt"], "the interrupt")
    eventually(lambda: not activity(), what="the end of the activity")
