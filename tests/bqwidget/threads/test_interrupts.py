"""Stop ends callbacks that do not end, in a real kernel; and what is seen meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from support.eventually import eventually
from support.kernels import Kernel
from support.paths import PYTHONPATH

from bqwidget import Room

ENVIRON = {**os.environ, "PYTHONPATH": PYTHONPATH}
ENDLESS = """
import asyncio, signal, time
def begin():
    while signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # the main thread is about to handle it
        time.sleep(.001)
    print("begins", flush=True)
def endless(*_):
    begin()
    while True: time.sleep(.05)
async def blocks(*_):
    endless()
async def suspended(*_):
    begin()
    while True: await asyncio.sleep(.05)
def yields(message):
    yield "begins"
    endless()
async def yields_suspended(message):
    begin()
    yield "one"
    while True: await asyncio.sleep(.05)
def waits(*_):
    begin()
    room.wait_for(lambda message: False)
def asks(*_):
    begin()
    room.ask("go on?")
from traitlets import HasTraits, Unicode, dlink
class Target(HasTraits):
    text = Unicode()
async def blocks_later(*_):
    await asyncio.sleep(0)
    endless()
"""
CALLBACKS = {
    "a handler": "room.on_message(endless)",
    "a where": "room.on_message(where=endless)(print)",
    "a background handler": "room.on_message(background=True)(endless)",
    "an async handler": "room.on_message(blocks)",
    "an async handler, later": "room.on_message(blocks_later)",
    "a suspended handler": "room.on_message(suspended)",
    "a suspended background handler": "room.on_message(background=True)(suspended)",
    "an observer": "room.observe(endless, 'messages')",
    "a live output": "room.live(lambda messages: endless() if messages else None)",
    "a mention": "room.on_mention(endless)",
    "a command": "room.command(endless, name='endless')",
    "a generator": "room.on_message(yields)",
    "an async generator": "room.on_message(yields_suspended)",
    "a handler that waits": "room.on_message(waits)",
    "a background handler that waits": "room.on_message(background=True)(waits)",
    "a background handler that asks": "room.on_message(background=True)(asks)",
    "a widget's observer": "room.widget.observe(endless, 'messages')",
    "a link": "dlink((room, 'messages'), (Target(), 'text'), lambda messages: endless() if messages else '')",
}


@pytest.fixture
def bob(join: Callable[..., Room]) -> Room:
    return join("bob")


@pytest.fixture
def notebook(shared_kernel: Kernel, bob: Room) -> Iterator[Kernel]:
    shared_kernel.run(f"from bqwidget import Room\nroom = Room({bob.name!r}, user='ada').wait_open(20)\n{ENDLESS}")
    yield shared_kernel
    shared_kernel.run("room.close()")


def is_busy(bob: Room) -> bool:
    return any(member.busy for member in bob.members if member.user == "ada")


@pytest.mark.parametrize("code", CALLBACKS.values(), ids=list(CALLBACKS))
def test_stop_ends_a_callback_at_the_first_interrupt(notebook: Kernel, bob: Room, code: str) -> None:
    registered = notebook.run(code, cell_id="registers")
    bob.send("/endless" if "command" in code else "one, @ada")
    registered.shows("begins")
    if "suspended" not in code:
        eventually(lambda: is_busy(bob), what="busy")
    notebook.interrupt()
    registered.shows("KeyboardInterrupt")
    assert len(registered.text.splitlines()) < 20, registered.text  # asyncio may be in a call of its own
    assert "bqwidget/_threads" not in registered.text
    assert notebook.run("print('next', room.status)").text == "next open\n"
    eventually(lambda: not is_busy(bob), what="not busy")


def test_messages_that_waited_do_not_begin_it_again(notebook: Kernel, bob: Room) -> None:
    registered = notebook.run("room.on_message(endless)", cell_id="registers")
    arrives = notebook.run("room.on_message(background=True)(lambda message: print(message.text, 'is here'))")
    bob.send("one")
    registered.shows("begins")
    for text in ("two", "three"):
        bob.send(text)
    arrives.shows("three is here")
    notebook.interrupt()
    registered.shows("KeyboardInterrupt")
    assert notebook.run("print('next')").text == "next\n"
    assert registered.text.count("begins") == 1
    bob.send("four")
    notebook.until(lambda: registered.text.count("begins") == 2, "the next call")
    notebook.interrupt()
    notebook.until(lambda: registered.text.count("KeyboardInterrupt") == 2, "its end")


@pytest.mark.parametrize(
    "waiting", ["room.wait_for(lambda message: False)", "await room.next_message(lambda _: False)"]
)
def test_stop_ends_a_waiting_cell_and_the_callback_that_runs_in_it(notebook: Kernel, bob: Room, waiting: str) -> None:
    registered = notebook.run("room.on_message(endless)", cell_id="registers")
    waits = notebook.begin(waiting)
    bob.send("one")
    registered.shows("begins")
    notebook.interrupt()
    registered.shows("KeyboardInterrupt")
    notebook.until(lambda: waits.is_done, "the end of the cell")
    assert waits.errors in (["KeyboardInterrupt"], ["CancelledError"])


@pytest.mark.parametrize(
    "definition", ["def raises(message):", "async def raises(message):\n    await asyncio.sleep(0)"]
)
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit"])
def test_a_callback_that_raises_it_does_not_end_the_kernel(
    notebook: Kernel, bob: Room, definition: str, error: str
) -> None:
    registered = notebook.run(f"{definition}\n    raise {error}\nroom.on_message(raises)", cell_id="registers")
    bob.send("one")
    registered.shows(error)
    assert notebook.run("print('next', room.status)").text == "next open\n"


def test_stop_between_cells_without_a_callback_does_nothing(notebook: Kernel, bob: Room) -> None:
    registered = notebook.run("room.on_message(lambda message: print(message.text))", cell_id="registers")
    bob.send("one")
    registered.shows("one")
    notebook.run("pass")  # the callback has ended
    notebook.interrupt()
    bob.send("two")
    registered.shows("two")
    assert "KeyboardInterrupt" not in registered.text
    running = notebook.begin("print('runs')\nwhile True: time.sleep(.01)")
    running.shows("runs")
    notebook.interrupt()
    notebook.until(lambda: running.is_done, "the end of the cell")
    assert running.errors == ["KeyboardInterrupt"]


TRACED = """
import sys, threading, time
from bqwidget._threads import interrupts

def callback(interrupt):
    try:
        with interrupts.interruptible():
            if interrupt:
                with interrupts._lock:
                    interrupts._interrupted.update(interrupts._background)
    except KeyboardInterrupt:
        return

for interrupt in (False, True):
    thread = threading.Thread(target=callback, args=[interrupt])
    thread.start()
    thread.join()
    assert not interrupts._interrupted and not interrupts._background
sys.settrace(lambda *_: None)  # as a debugger does
(lambda: print("goes on"))()
"""


def test_a_background_callback_leaves_nothing_that_stops_a_traced_program() -> None:
    """With what a withdrawn interrupt leaves, Python 3.11 ran the first call of a traced program forever."""
    done = subprocess.run(
        [sys.executable, "-c", TRACED], capture_output=True, text=True, timeout=60, check=False, env=ENVIRON
    )
    assert (done.stdout, done.returncode) == ("goes on\n", 0), done.stderr
