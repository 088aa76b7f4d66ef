"""A kernel under load: 1,000 messages per second during a computing cell, and hundreds of rooms opened and closed.

Small by default; ``BQWIDGET_TEST_FLOOD=10`` (seconds) and ``BQWIDGET_TEST_ROOMS=200`` are the large sizes.
"""

from __future__ import annotations

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


LISTEN = """
import asyncio, msgspec
from websockets.asyncio.client import connect
from bqwidget.protocol import SUBPROTOCOL

async def listen():
    headers = {{"Authorization": "Bearer {token}"}}
    async with connect({url!r}, subprotocols=[SUBPROTOCOL], additional_headers=headers, compression=None) as socket:
        async for data in socket:
            heard.append(msgspec.json.decode(data))

heard = []
threading.Thread(target=asyncio.run, args=(listen(),), daemon=True).start()
while not heard:
    time.sleep(0.01)
"""
"""A thread that only receives the messages of another room: by websockets and msgspec, as the room does."""
COMPUTE = """
room.send("computing", wait=False)
turns = []
while not (room.messages and room.messages[-1].text == {last!r}):
    for _ in range(50_000):
        pass
    turns.append((time.monotonic(), time.thread_time(), time.process_time()))
print(json.dumps(turns))
"""
MAX_COST = 4.0
"""What the room, its window and Jupyter's sending may cost, in units of what only receiving costs: 2.2 to 3.2 measured."""


def test_a_flood_into_a_computing_cell(notebook, bob, room_server):
    """The cell waits while other threads work on the messages. Their processor time depends on the machine and its
    other programs, so it is compared with that of a thread which only receives as many, in turns.
    """
    notebook.run("room = Room(name, user='ada', keep=100_000).wait_open(20)\nroom")
    with Room("elsewhere", user="bob", url=room_server.url, token=room_server.token) as other:
        other.wait_open(20)
        url = f"{room_server.url.replace('http', 'ws')}/rooms/elsewhere?user=listener"
        notebook.run(LISTEN.format(url=url, token=room_server.token))
        cell = notebook.begin(COMPUTE.format(last="enough"))
        bob.wait_for(lambda message: message.text == "computing", 20, after=0)
        phases, sent = [], 0
        while len(phases) * PHASE < FLOOD:
            began = time.monotonic()
            sent = flood(bob, PHASE, sent)
            middle = time.monotonic()
            flood(other, PHASE)
            phases.append((began, middle, time.monotonic()))
        bob.send("enough")
        notebook.until(lambda: cell.is_done, "the end of the cell")
    output = notebook.run("print(json.dumps([message.text for message in room.messages]))").text
    assert [text for text in json.loads(output) if text.isdigit()] == [*map(str, range(sent))]
    turns = json.loads(cell.text)
    here, there = (share_of_others(turns, [phase[at : at + 2] for phase in phases]) for at in (0, 1))
    print(f"{sent:,} messages at {RATE:,}/s take {here:.1%} of a core, only receiving them {there:.1%}")
    assert here <= MAX_COST * there


def share_of_others(turns, spans):
    """The processor time of the kernel's other threads in ``spans``, as a share of the time that passed."""
    inside = [[turn for turn in turns if began + MARGIN < turn[0] < ended - MARGIN] for began, ended in spans]
    pairs = [(span[0], span[-1]) for span in inside]
    return statistics.fmean((end[2] - begin[2] - (end[1] - begin[1])) / (end[0] - begin[0]) for begin, end in pairs)


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
