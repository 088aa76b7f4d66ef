"""Live outputs in a real kernel, and in a script; and what others see of a kernel."""

from __future__ import annotations

import itertools
import re
import sys
import time
from subprocess import PIPE, Popen

import pytest
from support.eventually import eventually
from support.tcp_proxy import tcp_proxy

from bqwidget._room.live_output import DEFAULT_PAUSE
from bqwidget.protocol import Member

LIVE = """
@room.live
def table(messages):
    runs.append(threading.current_thread() is threading.main_thread())
    if messages and messages[-1].text == "boom":
        raise ValueError("no table today")
    return "|".join(message.text for message in messages)
"""


@pytest.fixture
def bob(join):
    return join("bob")


@pytest.fixture
def notebook(room_server, home_environ, bob, kernel):
    environ = {**home_environ, "BQWIDGET_URL": room_server.url, "BQWIDGET_TOKEN": room_server.token}
    with kernel(environ) as running:
        running.run(f"""
            import asyncio, threading, time
            from bqwidget import Room
            room = Room({bob.name!r}, user="ada").wait_open(20)
            name, runs = room.name, []
        """)
        yield running


def displays(cell):
    """The outputs of a cell after all updates: its display ids, and the current text of each."""
    now = {}
    for kind, content in cell.outputs:
        if kind in ("display_data", "update_display_data"):
            assert (kind == "display_data") == (content["transient"]["display_id"] not in now)
            now[content["transient"]["display_id"]] = content["data"]
    return [data["text/plain"] for data in now.values()]


def wait_for_output(notebook, cell, *expected):
    notebook.until(lambda: displays(cell) == list(expected), f"{expected}; there is {displays(cell)}")


def test_a_live_output_follows_the_room(notebook, bob):
    shown = notebook.run(LIVE)
    wait_for_output(notebook, shown, "''")
    notebook.run("print('another cell')")
    bob.send("one")
    wait_for_output(notebook, shown, "'one'")
    two = bob.send("two")
    wait_for_output(notebook, shown, "'one|two'")
    bob.edit(two, "2")
    wait_for_output(notebook, shown, "'one|2'")
    assert notebook.run("print(all(runs))").text == "True\n"


def test_a_burst_of_messages_is_one_or_few_computations(notebook, bob):
    shown = notebook.run(LIVE)
    began = time.monotonic()
    for number in range(200):
        bob.send(str(number), wait=False)
    texts = "|".join(map(str, range(200)))
    wait_for_output(notebook, shown, f"'{texts}'")
    took = time.monotonic() - began
    assert int(notebook.run("print(len(runs))").text) <= took / DEFAULT_PAUSE + 3


def test_a_live_output_waits_for_a_busy_cell_and_runs_while_a_cell_waits(notebook, bob):
    shown = notebook.run(LIVE)
    busy = notebook.begin("while not room.pending(): pass\nprint(len(runs))")
    bob.send("one")
    busy.shows("1\n")  # the first output
    wait_for_output(notebook, shown, "'one'")
    waiting = notebook.begin("room.wait_for(lambda message: message.text == 'go')")
    bob.send("two")
    wait_for_output(notebook, shown, "'one|two'")
    assert not waiting.is_done
    bob.send("go")
    wait_for_output(notebook, shown, "'one|two|go'")


def test_an_error_replaces_the_output_until_the_next_success(notebook, bob):
    shown = notebook.run(LIVE)
    bob.send("boom")
    notebook.until(lambda: "ValueError: no table today" in displays(shown)[0], "the error")
    assert "bqwidget" not in displays(shown)[0]
    assert len(displays(shown)) == 1
    bob.send("fine")
    wait_for_output(notebook, shown, "'boom|fine'")


@pytest.mark.parametrize("code", [LIVE, "room.live(lambda messages: len(messages))\nruns.append(1)"])
def test_running_the_cell_again_replaces_the_live_output(notebook, bob, code):
    first = notebook.run(code, "cell-1")
    second = notebook.run(code, "cell-1")
    before = displays(first)
    bob.send("one")
    notebook.until(lambda: displays(second) in (["'one'"], ["1"]), "the new one")
    assert displays(first) == before


def test_a_live_function_may_be_async(notebook, bob):
    shown = notebook.run("""
        @room.live
        async def count(messages):
            await asyncio.sleep(0)
            if len(messages) == 2:
                raise ValueError("two is too many")
            return len(messages)
    """)
    wait_for_output(notebook, shown, "0")
    bob.send("one")
    wait_for_output(notebook, shown, "1")
    bob.send("two")
    notebook.until(lambda: "ValueError: two is too many" in displays(shown)[0], "the error")


def test_none_shows_nothing_and_prints_appear(notebook, bob):
    shown = notebook.run("@room.live\ndef count(messages): print(len(messages), 'printed')")
    wait_for_output(notebook, shown, "")
    bob.send("one")
    shown.shows("1 printed")


def test_closing_the_room_shows_the_last_change(notebook, bob):
    shown = notebook.run(LIVE)
    bob.send("last")
    notebook.run("while not room.messages: pass\nroom.close()")
    wait_for_output(notebook, shown, "'last'")


def test_a_slow_function_takes_at_most_half_of_the_time(notebook, bob):
    notebook.run("""
        @room.live(pause=0.01)
        def slow(messages):
            runs.append(time.monotonic())
            time.sleep(0.1)
    """)
    for number in range(3):
        count = number + 2
        bob.send(str(number))
        notebook.until(lambda count=count: int(notebook.run("print(len(runs))").text) >= count, "the next")
    gaps = notebook.run("print(min(after - before for before, after in zip(runs, runs[1:])))").text
    assert float(gaps) >= 0.2


def test_live_needs_a_function(join):
    with pytest.raises(TypeError, match="live takes a function of the messages, not str"):
        join().live("table")


SCRIPT = """
import sys
from bqwidget import Room
with Room(sys.argv[1], user="ada") as room:
    room.live(lambda messages: None)
    room.live(lambda messages: f"{len(messages)} so far" if len(messages) < 2 else 1 / 0)
    sys.stdin.read()
"""


def test_a_script_prints_the_live_output(room_server, home_environ, bob):
    environ = {**home_environ, "BQWIDGET_URL": room_server.url, "BQWIDGET_TOKEN": room_server.token}
    command = [sys.executable, "-u", "-c", SCRIPT, bob.name]
    with Popen(command, env=environ, stdin=PIPE, stdout=PIPE, text=True) as script:
        assert script.stdout.readline() == "0 so far\n"
        bob.send("one")
        assert script.stdout.readline() == "1 so far\n"
        bob.send("two")
        assert script.stdout.readline() == "Traceback (most recent call last):\n"
        script.stdin.close()
        assert script.stdout.read().endswith("\nZeroDivisionError: division by zero\n")


# ---- figures ----

DRAW = {
    "a figure": "figure, axes = plt.subplots()\n    return figure",
    "the current figure": "plt.plot([1, 2])\n    return plt.gcf()",
    "nothing": "plt.plot([1, 2])",
    "a figure that is shown": "plt.plot([1, 2])\n    plt.show()",
    "axes": "return plt.figure().gca()",
    "a figure without pyplot": "return Figure().subplots().figure",
    "one of two figures": "plt.plot([1])\n    return plt.figure().subplots().figure",
    "a table's plot": "return pd.Series([1, 2]).plot()",
}


def pictures(cell):
    return [content["transient"] for _, content in cell.outputs if "image/png" in content.get("data", {})]


def test_a_figure_is_shown_once_and_no_figure_is_left(notebook, bob):
    notebook.run("import matplotlib.pyplot as plt, pandas as pd\nfrom matplotlib.figure import Figure")
    for kind, (name, body) in itertools.product(["def", "async def"], DRAW.items()):
        shown = notebook.run(f"@room.live\n{kind} draw(messages):\n    {body}", cell_id="draws")
        notebook.until(lambda shown=shown: len(pictures(shown)) == 1, name)
        bob.send(name)
        notebook.until(lambda shown=shown: len(pictures(shown)) == 2, name)
        assert len({transient["display_id"] for transient in pictures(shown)}) == 1, name
        after = notebook.run("print(plt.get_fignums())")
        assert (after.text, pictures(after)) == ("[]\n", []), name


def test_a_figure_of_a_handler_appears_below_its_cell(notebook, bob):
    notebook.run("import matplotlib.pyplot as plt")
    handles = notebook.run("""
        @room.on_message
        def draw(message):
            plt.plot([1, 2])
        @room.on_message
        async def draw_later(message):
            await asyncio.sleep(0)
            plt.plot([1, 2])
    """)
    bob.send("one")
    notebook.until(lambda: len(pictures(handles)) == 2, "both figures")
    after = notebook.run("print(plt.get_fignums())")
    assert (after.text, pictures(after)) == ("[]\n", [])


def test_a_figure_of_a_suspended_handler_is_not_shown_by_a_cell_that_ends_meanwhile(notebook, bob):
    notebook.run("go_on, waits = asyncio.Event(), []")
    handles = notebook.run("""
        @room.on_message
        async def draw(message):
            import matplotlib.pyplot as plt
            plt.plot([1, 2])
            waits.append(plt.gcf())
            await go_on.wait()
            plt.title("later")
            waits.append(plt.gcf())
            raise ValueError("at last")
    """)
    bob.send("one")
    eventually(lambda: notebook.run("print(len(waits))").text == "1\n")
    cell = notebook.run("import matplotlib.pyplot as plt\nplt.plot([3, 4])\ngo_on.set()")
    assert len(pictures(cell)) == 1  # its own
    notebook.until(lambda: "at last" in handles.text and pictures(handles), "the handler's figure, and its error")
    after = notebook.run("print(waits[0] is waits[1], plt.get_fignums())")
    assert (after.text, pictures(after), len(pictures(handles))) == ("True []\n", [], 1)


# ---- what others see of a kernel ----


def member(bob, user="ada"):
    return next((member for member in bob.members if member.user == user), None)


def wait_until_busy(bob, expected):
    eventually(lambda: member(bob) is not None and member(bob).busy is expected, what=f"{member(bob)}")


def test_a_kernel_is_busy_while_a_cell_runs(notebook, bob):
    wait_until_busy(bob, False)
    cell = notebook.begin("room.wait_for(lambda message: message.text == 'go', after=0)")
    wait_until_busy(bob, True)
    bob.send("go")
    notebook.until(lambda: cell.is_done, "the end")
    wait_until_busy(bob, False)
    assert member(bob).kind == "kernel"


def test_busy_is_sent_again_after_a_reconnect(notebook, bob, room_server, join):
    with tcp_proxy(room_server.port) as wire:
        cell = notebook.begin(f"""
            cleo = Room({bob.name!r}, user="cleo", url={wire.url!r}, token={room_server.token!r})
            cleo.wait_for(lambda message: message.text == "go", after=0)
        """)
        eventually(lambda: member(bob, "cleo") == Member(user="cleo", kind="kernel", busy=True))
        before = wire.connections
        wire.cut()
        eventually(lambda: wire.connections > before, what="a new connection")
        dan = join("dan")  # the restarted server knows no earlier state
        eventually(lambda: member(dan, "cleo") == Member(user="cleo", kind="kernel", busy=True))
        bob.send("go")
        notebook.until(lambda: cell.is_done, "the end")
        eventually(lambda: member(dan, "cleo") == Member(user="cleo", kind="kernel", busy=False))


def test_the_last_room_removes_the_hooks(notebook):
    hooks = "len(get_ipython().events.callbacks['post_run_cell'])"
    seen = notebook.run(f"before = {hooks}\nroom.close()\nprint(before - {hooks})").text
    assert seen == "1\n"


def test_a_killed_kernel_leaves_the_members(notebook, bob):
    wait_until_busy(bob, False)
    notebook.begin("while True: pass")
    notebook.kill()
    eventually(lambda: member(bob) is None)


def test_the_switch_interval_is_short_while_a_cell_runs_and_a_room_is_open(notebook):
    output = notebook.run("import sys\nprint(sys.getswitchinterval())\nroom.close()\nprint(sys.getswitchinterval())")
    assert output.text == "0.0005\n0.005\n"
    output = notebook.run(
        "room = Room(name, user='ada').wait_open(20)\nprint(sys.getswitchinterval())\nsys.setswitchinterval(0.01)"
    )
    assert output.text == "0.0005\n"
    assert notebook.run("print(sys.getswitchinterval())").text == "0.0005\n"


# ---- how a loop in a cell ends ----


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("raise ValueError('boom')", r"✗ epoch 3: 0 % · 0/10 in \S+ s · ValueError: boom"),
        ("break", r"■ epoch 3: 0 % · 0/10 in \S+ s · stopped"),
        ("try: 1 / 0\n  except ZeroDivisionError: pass", r"✓ epoch 3: 100 % · 10/10 in \S+ s.*"),
    ],
)
def test_a_loop_in_a_cell_names_the_error_that_ended_it(notebook, bob, body, line):
    cell = notebook.begin(f"for item in room.track(range(10), 'epoch 3'):\n  {body}")
    notebook.until(lambda: cell.is_done, "the end")
    eventually(lambda: bob.messages and re.fullmatch(line, bob.messages[-1].text), what=str(bob.messages))


def test_an_interrupt_is_shown_in_the_progress_message(notebook, bob):
    cell = notebook.begin("import itertools\nfor item in room.track(itertools.count(), 'epoch 3'): pass")
    eventually(lambda: bob.messages)
    notebook.interrupt()
    notebook.until(lambda: cell.is_done, "the end")
    assert cell.errors == ["KeyboardInterrupt"]
    eventually(lambda: bob.messages[-1].text.startswith("✗ epoch 3: "))
    eventually(lambda: bob.messages[-1].text.endswith("interrupted"))
