"""A kernel under load: 1,000 messages per second during a computing cell, and hundreds of rooms opened and closed.

Small by default; ``BQWIDGET_TEST_FLOOD=10`` (seconds) and ``BQWIDGET_TEST_ROOMS=200`` are the large sizes.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import time
from threading import Event

import pytest
from support.eventually import eventually

from bqwidget import Room

pytestmark = pytest.mark.alone
FLOOD = float(os.environ.get("BQWIDGET_TEST_FLOOD", "3"))
"""Seconds."""
ROOMS = int(os.environ.get("BQWIDGET_TEST_ROOMS", "20"))
PHASE, MARGIN = 0.5, 0.05
"""Seconds."""
FLAT = 5e6
"""Bytes by which the kernel may grow after all rooms are closed, without memory that malloc holds back."""
RATE = 1000
"""Messages per second."""


@pytest.fixture
def bob(join):
    return join("bob")


@pytest.fixture
def notebook(room_server, home_environ, bob, kernel):
    environ = {**home_environ, "BQWIDGET_URL": room_server.url, "BQWIDGET_TOKEN": room_server.token}
    with kernel(environ) as running:
        running.run(f"""
            import ctypes, gc, json, os, sys, threading, time
            import psutil
            from ipywidgets import Widget
            from bqwidget import Room
            from bqwidget.connection import Connection
            name = {bob.name!r}
        """)
        yield running


def flood(room, seconds, sent=0):
    """Send RATE messages per second in steps of 20 ms, numbered from ``sent`` on; the number after the last."""
    began, first = time.monotonic(), sent
    while (elapsed := time.monotonic() - began) < seconds:
        while sent - first < elapsed * RATE:
            room.send(str(sent), wait=False)
            sent += 1
        Event().wait(0.02)
    return sent


COMPUTE = """
room.send("computing", wait=False)
turns = []
while not (room.messages and room.messages[-1].text == {last!r}):
    for _ in range(50_000):
        pass
    turns.append((time.monotonic(), time.thread_time(), time.process_time(), len(room.messages)))
print(json.dumps(turns))
"""


def test_a_flood_into_a_computing_cell(notebook, bob, room_server):
    """Compare the cell with itself while the same flood goes to another room, in turns, so that the load of the
    sender and the server is the same. A first bad result is measured again.
    """
    notebook.run("room = Room(name, user='ada', keep=100_000).wait_open(20)\nroom")
    slowed, sent = [], 0
    with Room("elsewhere", user="bob", url=room_server.url, token=room_server.token) as other:
        other.wait_open(20)
        while len(slowed) < 3 and min(slowed, default=1) > 0.1:
            sent, slower = compare(notebook, bob, other, sent)
            slowed.append(slower)
    print(f"{sent:,} messages at {RATE:,}/s: the cell is slowed by {min(slowed):.1%}, of {slowed}")
    output = notebook.run("print(json.dumps([message.text for message in room.messages]))").text
    assert [text for text in json.loads(output) if text.isdigit()] == [*map(str, range(sent))]
    assert min(slowed) <= 0.1


def compare(notebook, bob, other, sent):
    """FLOOD seconds in this room and in another one: the number of messages, and the slowdown of the cell.

    The cell waits while other threads of the kernel work on messages: at most their processor time for each message,
    RATE times a second, and at most the time in which the cell did not run, which includes waiting for a processor.
    Its own turns may need more processor time as well.
    """
    before, last = bob.messages[-1] if bob.messages else 0, f"enough after {sent}"
    cell = notebook.begin(COMPUTE.format(last=last))
    bob.wait_for(lambda message: message.text == "computing", 20, after=before)
    phases = []
    while len(phases) * PHASE < FLOOD:
        began = time.monotonic()
        sent = flood(bob, PHASE, sent)
        middle = time.monotonic()
        flood(other, PHASE)
        phases.append((began, middle, time.monotonic()))
    bob.send(last)
    notebook.until(lambda: cell.is_done, "the end of the cell")
    turns = json.loads(cell.text)
    (_, cell_time, process_time, received), end = turns[0], turns[-1]
    theirs = RATE * (end[2] - process_time - (end[1] - cell_time)) / (end[3] - received)

    def steps(spans):
        """Of all turns in the spans: the mean seconds that passed, and the mean processor time of the cell."""
        inside = [[turn for turn in turns if began + MARGIN < turn[0] < ended - MARGIN] for began, ended in spans]
        pairs = [pair for span in inside for pair in itertools.pairwise(span)]
        return [statistics.fmean(later[clock] - before[clock] for before, later in pairs) for clock in (0, 1)]

    passed, needed = steps([phase[:2] for phase in phases])
    elsewhere = steps([phase[1:] for phase in phases])[1]
    waited = min(theirs, 1 - needed / passed)
    print(f"others need {theirs:.1%}, the cell does not run for {1 - needed / passed:.1%}")
    return sent, needed / elsewhere / (1 - waited) - 1


ROUND = """
room = Room(name, user="ada").wait_open(20)
room.on_message(lambda message: None, background=True)
live = room.live(lambda messages: len(messages))
display(room)
"""
COUNT = """
gc.collect()
if sys.platform == "linux":
    ctypes.CDLL(None).malloc_trim(0)
me = psutil.Process()
ours = [thing for thing in gc.get_objects() if isinstance(thing, (Room, Widget, Connection))]
print(json.dumps([threading.active_count(), me.num_fds(), len(ours), me.memory_info().rss]))
del ours
"""
WARM = 5
"""Rooms after which all one-time allocations have happened."""


def test_closed_rooms_leave_no_memory_threads_or_files(notebook):
    """Rooms with a window, a handler and a live output, created again by cells; every second one is closed explicitly."""

    def count():
        return json.loads(notebook.run(COUNT).text)

    def one(number):
        notebook.run(ROUND, "cell-1")
        if number % 2:
            notebook.run("room.close()")

    for number in range(WARM):
        one(number)
    threads, descriptors, objects, memory = count()
    for number in range(ROOMS):
        one(number)

    def is_as_before():
        now = count()
        return now[0] <= threads + 1 and now[1] <= descriptors + 2 and now[2] <= objects

    # ipykernel closes the pipes of ended threads every ten seconds.
    eventually(is_as_before, 40, f"as few as {[threads, descriptors, objects]}")
    now = count()
    print(f"{ROOMS} rooms: {[threads, descriptors, objects, memory]} -> {now}")
    assert now[3] - memory < FLAT
