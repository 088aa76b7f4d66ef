"""The thread rule: in plain event loops, in a script, and in a real kernel."""

from __future__ import annotations

import asyncio
import contextvars
import re
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from bqserver.testing import running_server
from support.eventually import eventually

from bqwidget import Room, dispatch
from bqwidget._threads.callback import Callback
from bqwidget.dispatch import ThreadCallbackLoop, callback_loop, fallback_loop, wait


def callback(function, failed=lambda error: None):
    return Callback(function, failed)


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def busy(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


# ---- in a loop ----


def test_callbacks_run_in_order():
    order = []

    async def main():
        here = callback_loop()
        assert callback_loop() is here
        for n in range(5):
            here.post(order.append, n)
        assert order == []
        await turns()

    asyncio.run(main())
    assert order == [0, 1, 2, 3, 4]


def test_posts_from_any_thread_run_on_the_loops_thread():
    threads = []

    async def main():
        here, done = callback_loop(), asyncio.Event()
        poster = threading.Thread(
            target=lambda: here.post(lambda: (threads.append(threading.current_thread()), done.set()))
        )
        poster.start()
        await asyncio.wait_for(done.wait(), 20)
        poster.join()

    asyncio.run(main())
    assert threads == [threading.current_thread()]


def test_a_wait_lets_callbacks_run_and_a_sleep_does_not():
    order = []

    async def main():
        callback_loop().post(order.append, "callback")
        assert order == []
        assert wait(asyncio.sleep(0.01, "result")) == "result"
        assert order == ["callback"]
        assert asyncio.get_running_loop().is_running()
        await turns()

    asyncio.run(main())


def test_waits_can_be_nested():
    order = []

    async def main():
        here = callback_loop()

        def waits():
            order.append("outer begins")
            here.post(order.append, "inner")
            wait(asyncio.sleep(0.01))
            order.append("outer ends")

        here.post(waits)
        wait(asyncio.sleep(0.05))

    asyncio.run(main())
    assert order == ["outer begins", "inner", "outer ends"]


def test_an_async_callback_continues_after_its_wait():
    order, may_end = [], []

    async def main():
        here = callback_loop()

        async def slow():
            order.append("begins")
            while not may_end:
                await asyncio.sleep(0.001)
            order.append("ends")

        here.post(callback(slow))
        wait(asyncio.sleep(0.01))
        assert order == ["begins"]
        may_end.append(True)
        while len(order) < 2:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert order == ["begins", "ends"]


def test_calls_of_an_async_callback_go_on_whenever_waits_end():
    """Also when a call and the wait in which it runs end in the same turn of the loop."""
    done, errors = [], []

    async def handler(number, pauses):
        await turns(pauses)
        done.append(number)
        raise ValueError(number)

    async def main():
        here, each = callback_loop(), callback(handler, errors.append)
        for number in range(60):
            here.post(each, number, number % 4)
            wait(turns(number // 4 % 6))
        while len(errors) < 60:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert done == [*range(60)]
    assert [error.args[0] for error in errors] == done


def test_the_next_wait_runs_unfinished_callbacks():
    order = []

    async def main():
        here = callback_loop()

        async def slow():
            await asyncio.sleep(0.05)
            order.append("ends")

        here.post(callback(slow))
        wait(asyncio.sleep(0.01))
        deadline = time.monotonic() + 20
        while not order and time.monotonic() < deadline:  # a cell that blocks its loop
            wait(asyncio.sleep(0.01))
        await turns()

    asyncio.run(main())
    assert order == ["ends"]


def test_a_wait_restores_the_current_task():
    async def main():
        task = asyncio.current_task()
        wait(asyncio.sleep(0))
        assert asyncio.current_task() is task
        async with asyncio.timeout(20):
            await asyncio.sleep(0)

    asyncio.run(main())


def test_many_callbacks_do_not_block_the_loop():
    """A flood of messages does not block the kernel's other work."""
    done = []

    async def main():
        here = callback_loop()
        for n in range(50):
            here.post(lambda n=n: (busy(0.002), done.append(n)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 0 < len(done) < 50
        while len(done) < 50:
            await asyncio.sleep(0)

    asyncio.run(main())
    assert done == list(range(50))


def test_callbacks_of_a_closed_loop_run_in_the_fallback_loop():
    async def main():
        return callback_loop()

    threads, done = [], threading.Event()
    old = asyncio.run(main())
    old.post(lambda: (threads.append(threading.current_thread().name), done.set()))
    assert done.wait(20)
    assert threads == ["bqwidget-callbacks"]


# ---- without a loop ----


def test_without_a_loop_callbacks_run_on_a_thread():
    assert callback_loop() is fallback_loop()
    order, done = [], threading.Event()
    for n in range(3):
        callback_loop().post(order.append, n)
    callback_loop().post(done.set)
    assert done.wait(20)
    assert order == [0, 1, 2]


def test_a_callback_on_that_thread_may_wait_while_others_run():
    order, done = [], threading.Event()

    def waits():
        assert callback_loop() is fallback_loop()
        fallback_loop().post(order.append, "inner")
        wait(asyncio.sleep(0.01))
        order.append("outer")
        done.set()

    fallback_loop().post(waits)
    assert done.wait(20)
    assert order == ["inner", "outer"]


def test_a_thread_loop_starts_on_demand_and_stops():
    unused = ThreadCallbackLoop("unused")
    unused.stop()
    assert not unused.is_open
    used, done = ThreadCallbackLoop("used"), threading.Event()
    used.post(done.set)
    assert done.wait(20)
    used.stop()
    eventually(lambda: not used.is_open)


def test_wait_raises_the_coroutines_exception():
    async def fails():
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        wait(fails())


# ---- callbacks ----


def test_a_callback_runs_in_the_context_of_its_registration():
    cell = contextvars.ContextVar("cell", default="none")
    seen = []
    cell.set("registering")
    made = callback(lambda: (seen.append(cell.get()), cell.set("changed inside")))
    cell.set("later")
    made()
    made()
    assert seen == ["registering", "registering"]
    assert cell.get() == "later"


def test_an_async_callback_keeps_that_context_and_its_order():
    cell = contextvars.ContextVar("cell", default="none")
    seen = []

    async def main():
        cell.set("registering")

        async def slow(n):
            await asyncio.sleep(0.01 if n == 0 else 0)
            seen.append((n, cell.get()))

        made = callback(slow)
        cell.set("later")
        for n in range(3):
            made(n)
        while len(seen) < 3:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert seen == [(n, "registering") for n in range(3)]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_errors_are_printed_and_reported(error, capsys):
    def fails():
        raise error

    errors = []
    callback(fails, errors.append)()
    assert errors == [error]
    shown = capsys.readouterr().err
    assert "in fails" in shown
    assert "bqwidget/_threads/callback.py" not in shown


def test_a_callback_equals_its_function():
    def function():
        pass

    made = callback(function)
    assert made == function
    assert made == callback(function)
    assert made != print
    assert len({made, callback(function)}) == 1


# ---- a script, and its signals ----


SCRIPT = """
import os, signal, statistics, threading, time
from bqwidget import Room
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where the tests run
room = Room("lobby", user="ada").wait_open(20)
main = threading.main_thread()

@room.on_message
def on_message(message):
    print("received on main" if threading.current_thread() is main else "received elsewhere", flush=True)

ready = room.send("ready")
room.wait_for(lambda message: message.text == "go", after=ready, timeout=20)
def interrupt():
    global sent
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)
took = []
for _ in range(5):
    threading.Timer(0.2, interrupt).start()
    try:
        room.wait_for(lambda message: False, timeout=20)
    except KeyboardInterrupt:
        took.append(time.monotonic() - sent)
print(f"interrupted {len(took)} {statistics.median(took) < 0.2}", room.status, flush=True)
room.send("last words", wait=False)
"""


@pytest.mark.alone
def test_a_script(home_environ):
    with running_server(open=True) as server:
        environ = {**home_environ, "BQWIDGET_URL": server.url}
        script = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SCRIPT],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with Room("lobby", user="bob", url=server.url) as bob:
            bob.wait_for(lambda message: message.text == "ready", after=0, timeout=20)
            bob.send("go")
            bob.wait_for(lambda message: message.text == "last words", after=0, timeout=20)
        out, err = script.communicate(timeout=20)
    assert out.split("\n") == ["received elsewhere", "interrupted 5 True open", ""]
    assert (script.returncode, err) == (0, "")


# ---- a kernel ----


@pytest.fixture(scope="module")
def server():
    with running_server(open=True) as running:
        yield running


@pytest.fixture
def bob(server):
    with Room("lobby", user="bob", url=server.url) as room:
        yield room.wait_open(20)


@pytest.fixture
def notebook(server, home_environ, bob, kernel):
    with kernel({**home_environ, "BQWIDGET_URL": server.url}) as running:
        running.run("""
            import asyncio, threading, time
            from bqwidget import Room
            room = Room("lobby", user="ada").wait_open(20)
            on = lambda: "main" if threading.current_thread() is threading.main_thread() else "elsewhere"
        """)
        yield running


def cell(code):
    return textwrap.dedent(code)


HANDLER = """
@room.on_message
def on_message(message):
    print(f"received {message.text} on {on()}")
    if message.text == "shown":
        display({"an": "object"})
    if message.text == "boom":
        raise ValueError("cannot handle")
"""


def test_outputs_land_under_the_registering_cell(notebook, bob):
    registered = notebook.run(HANDLER)
    later = notebook.run("print('another cell')")
    bob.send("hi")
    registered.shows("received hi on main")
    bob.send("shown")
    registered.shows("{'an': 'object'}")
    bob.send("boom")
    registered.shows("ValueError: cannot handle")
    bob.send("after")
    registered.shows("received after on main")
    assert "bqwidget/_threads/callback.py" not in registered.text
    assert later.text == "another cell\n"


def test_observers_follow_the_same_rule(notebook, bob):
    registered = notebook.run("room.observe(lambda change: print(len(change.new), on()), 'messages')")
    notebook.run("pass")
    bob.send("hi")
    registered.shows("main")


def test_no_callback_runs_in_a_busy_cell_which_sees_all_messages(notebook, bob):
    registered = notebook.run(HANDLER)
    busy = notebook.begin(
        cell("""
            last = room.messages[-1].seq if room.messages else 0
            print("started", flush=True)
            deadline = time.monotonic() + 20
            seen = []
            while "stop" not in [message.text for message in seen] and time.monotonic() < deadline:
                seen += room.pending()
                time.sleep(0.01)
            print([message.text for message in seen], [m.text for m in room.messages if m.seq > last])
        """)
    )
    busy.shows("started")
    bob.send("hi")
    bob.send("stop")
    busy.shows("['hi', 'stop'] ['hi', 'stop']")
    assert "received" not in busy.text
    registered.shows("received hi on main\nreceived stop on main")
    notebook.until(lambda: busy.is_done, "the end of the cell")


@pytest.mark.parametrize(
    "waiting",
    [
        "message = room.wait_for(lambda message: message.text == 'go', timeout=20)",
        "message = await room.next_message(lambda message: message.text == 'go', timeout=20)",
    ],
    ids=["a wait", "an await"],
)
def test_callbacks_run_while_a_cell_waits(notebook, bob, waiting):
    registered = notebook.run(
        HANDLER
        + cell("""
            @room.on_message
            async def answer(message):
                await asyncio.sleep(0)
                print(f"awaited {message.text} on {on()}")
                await room.asend(f"re {message.text}")
        """)
    )
    coming = notebook.begin(f"print('started')\n{waiting}\nprint('got', message.text)")
    coming.shows("started")
    hi = bob.send("hi")
    registered.shows("received hi on main")
    registered.shows("awaited hi on main")
    bob.wait_for(lambda message: message.text == "re hi", after=hi, timeout=20)
    assert not coming.is_done
    bob.send("go")
    coming.shows("got go")


@pytest.mark.alone
def test_an_interrupt_ends_a_wait_but_not_the_room(notebook, bob):
    took = []
    for _ in range(5):  # on a busy machine, the kernel may have to wait for the processor
        waits = notebook.begin(
            cell("""
                try:
                    print("started", flush=True)
                    room.wait_for(lambda message: False)
                except KeyboardInterrupt:
                    print("stopped at", time.time(), "end")
            """)
        )
        waits.shows("started")
        pressed = time.time()
        notebook.interrupt()
        waits.shows("end")
        took.append(float(re.search(r"stopped at ([\d.]+) end", waits.text)[1]) - pressed)
    assert min(took) < 0.2
    bob.send("still there?")
    notebook.until(lambda: "still there?" in notebook.run("print(room.status, room.pending())").text, "the message")


def test_running_a_cell_again_replaces_its_handlers(notebook, bob):
    code = "room.on_message(lambda message: print('lambda', message.text))\n" + HANDLER
    first = notebook.run(code, cell_id="cell-1")
    bob.send("one")
    first.shows("lambda one")
    first.shows("received one")
    second = notebook.run(code, cell_id="cell-1")
    other = notebook.run("room.on_message(lambda message: print('other', message.text))", cell_id="cell-2")
    bob.send("two")
    second.shows("received two")
    second.shows("lambda two")
    other.shows("other two")
    assert "two" not in first.text


def test_running_a_cell_again_closes_its_previous_room(notebook, bob):
    code = cell("""
        bot = Room("lobby", user="bot").wait_open(20)
        made = globals().setdefault("made", []) + [bot]
        bot
    """)
    notebook.run(code, cell_id="cell-1")
    notebook.run("made.append(Room('lobby', user='bot').wait_open(20))", cell_id="cell-2")
    notebook.run(code, cell_id="cell-1")
    assert "['closed', 'open', 'open']" in notebook.run("print([room.status for room in made])").text


def test_background_handlers_run_during_a_busy_cell(notebook, bob):
    registered = notebook.run(
        cell("""
            @room.on_message(background=True)
            def on_message(message):
                print(f"received {message.text} on {on()}", flush=True)
                room.send(f"re {message.text}")
        """)
    )
    busy = notebook.begin("print('started')\nwhile True:\n    time.sleep(0.01)")
    busy.shows("started")
    hi = bob.send("hi")
    bob.wait_for(lambda message: message.text == "re hi", after=hi, timeout=20)
    assert not busy.is_done
    notebook.interrupt()
    registered.shows("received hi on elsewhere")


def test_a_room_created_on_another_thread_has_its_callbacks_on_the_main_thread(notebook, bob):
    notebook.run(
        cell("""
            def work():
                other = Room("lobby", user="other").wait_open(20)
                other.on_message(lambda message: print(message.text, on()))
                globals()["other"] = other
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            seen = []
            other.on_message(lambda message: seen.append(on()))
        """)
    )
    bob.send("hi")
    notebook.until(lambda: "['main']" in notebook.run("print(seen)").text, "the handler")


def test_a_room_as_the_value_of_a_cell_shows_its_window(notebook):
    shown = notebook.run("room")
    [data] = [content["data"] for kind, content in shown.outputs if kind == "execute_result"]
    assert data["text/plain"] == "Room('lobby', user='ada')"
    assert "application/vnd.jupyter.widget-view+json" in data


def test_closed_loops_are_forgotten():
    async def main():
        return callback_loop()

    for _ in range(3):
        asyncio.run(main())
    callback_loop()

    async def count():
        callback_loop()
        return len(dispatch._callback_loops)

    assert asyncio.run(count()) == 1
