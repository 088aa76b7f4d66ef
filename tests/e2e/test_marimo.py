"""The marimo notebook: the room's window in ``mo.ui.anywidget``, and cells that run again with each new message."""

from __future__ import annotations

import subprocess
import sys
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from e2e.conftest import SLOW_TIMEOUT, Window
from support.eventually import eventually
from support.paths import PYTHONPATH, ROOT

from bqwidget import Room
from bqwidget.testing import private_server
from bqwidget.widget import OFFER_DELAYS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
NOTEBOOK = ROOT / "notebooks" / "reactive_marimo.py"
THREAD_CELL = """
@app.cell
def _(room):
    import threading

    cells = threading.get_ident()

    @room.on_message(where=lambda message: message.text == "where are you?")
    def answer(message):
        room.reply(message, f"on the cells' thread: {threading.get_ident() == cells}")

    return

"""
"""An additional cell: a handler that replies whether it runs on the thread of the cells."""
ROW_CELL = """
@app.cell
def _(mo, room):
    mo.hstack([mo.ui.anywidget(room.widget), mo.Html("<div style='width: 400px'>a plot</div>")])
    return

"""
"""An additional cell: the window in a row, of which it gets what the plot leaves."""
MIN_WIDTH = 280
"""Pixels: the least width of the window in a row."""
BOT_CELL = """
@app.cell
def _():
    from bqwidget import Room as BotRoom

    bot = BotRoom("lobby", user="bot").wait_open(20)
    bot.on_message(where=lambda message: message.text == "ping")(lambda message: bot.send("pong"))
    bot.send("the bot is here")
    return

"""
"""An additional cell: a bot, under a lambda."""
FITS = """
(region) => {
  const frame = region.getBoundingClientRect();
  const inside = (each) => each.getBoundingClientRect().bottom <= frame.bottom;
  const scroll = region.querySelector(".bq-scroll");
  const newest = [...region.querySelectorAll("[data-seq]")].at(-1);
  return { box: inside(region.querySelector("textarea")), newest: inside(newest), scrolls: scroll.scrollTop > 0 };
}
"""
"""Whether the box to write in and the newest message are inside of the window, of which the list scrolls."""
WORKER_CELL = """
@app.cell
def _():
    import os
    import signal
    import time

    from bqwidget import Room as WorkerRoom

    worker = WorkerRoom("lobby", user="worker").wait_open(20)
    print("the worker's cell")

    @worker.on_message
    def work(message):
        print("working on", message.text)
        if message.text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        while message.text == "stuck":
            time.sleep(0.05)
        if message.text == "fail":
            raise ValueError("no such work")
        worker.send(f"done: {message.text}")

    @worker.live
    def texts(messages):
        return f"newest: {messages[-1].text}" if messages else "no messages"

    worker.send("the worker is here")
    return

"""
"""An additional cell: a handler that can be stuck, fail or end its kernel, and an output that follows the room."""

ASKING_CELL = """
@app.cell
def _(mo, room):
    asking = mo.ui.anywidget(room.widget)
    asking
    return (asking,)


@app.cell
def _(asking, room):
    room.ask("Continue?", choices=["yes", "no"])
    room.send("continued")
    return

"""
"""Additional cells: one that shows the window, and one that waits for an answer at once."""


@pytest.fixture
def server():
    with private_server() as running:
        yield running


@pytest.fixture
def bob(server):
    with Room("lobby", user="bob", url=server.url, token=server.token) as room:
        yield room.wait_open(20)


@pytest.fixture(params=["run", "edit"])
def mode(request):
    return request.param


@pytest.fixture
def cells():
    """Additional cells of the notebook."""
    return THREAD_CELL + ROW_CELL


@pytest.fixture
def marimo(mode, cells, server, home, home_environ, unused_port):  # noqa: PLR0917 - fixtures
    """The address of the running notebook, once as an app (``run``) and once in marimo's editor (``edit``)."""
    environ = {
        **home_environ,
        "BQWIDGET_URL": server.url,
        "BQWIDGET_TOKEN": server.token,
        "PYTHONPATH": PYTHONPATH,
    }
    copy = home / NOTEBOOK.name
    copy.write_text(NOTEBOOK.read_text().replace("\nif __name__", f"{cells}\nif __name__"))
    # The editor runs all cells when the page is opened.
    (home / "pyproject.toml").write_text("[tool.marimo.runtime]\nauto_instantiate = true\n")
    command = [sys.executable, "-m", "marimo", mode, copy, "--headless", "--no-token"]
    command += [f"--port={unused_port}", *(["--skip-update-check"] if mode == "edit" else [])]
    with (home / "marimo.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environ, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{unused_port}"

    def answers():
        assert process.poll() is None, (home / "marimo.log").read_text()
        try:
            with urlopen(f"{url}/health") as answer:
                return answer.status == 200
        except URLError:
            return False

    eventually(answers, 60, "the start of marimo")
    yield url
    process.terminate()
    process.wait(30)


def test_cells_follow_the_room(marimo, pages, bob):
    bob.send("before")
    page = pages()
    page.goto(marimo)
    window, in_a_row = (Window(page.get_by_role("region", name="Chat room lobby").nth(at)) for at in (0, 1))
    window.wait_for("before")
    window.wait_connected()
    newest = page.locator("pre")
    newest.get_by_text("before", exact=True).wait_for(timeout=SLOW_TIMEOUT)
    html = bob.send("<b>from outside</b>")
    newest.get_by_text("<b>from outside</b>", exact=True).wait_for(timeout=SLOW_TIMEOUT)
    window.wait_for("from outside")
    window.say("from the window")
    assert bob.wait_for(timeout=20, after=html).text == "from the window"
    newest.get_by_text("from the window", exact=True).wait_for(timeout=SLOW_TIMEOUT)
    for number in range(20):
        bob.send(f"line {number}")
    window.wait_for("line 19")
    fits = {"box": True, "newest": True, "scrolls": True}
    eventually(lambda: window.region.evaluate(FITS) == fits, what="a window that fits, at its newest message")
    in_a_row.wait_for("line 19")
    width = in_a_row.region.bounding_box()["width"]
    assert MIN_WIDTH <= width < window.region.bounding_box()["width"]
    where = bob.send("where are you?")
    assert bob.wait_for(timeout=20, after=where).text == "on the cells' thread: True"


@pytest.mark.parametrize(("mode", "cells"), [("edit", THREAD_CELL + BOT_CELL)])
def test_a_cell_that_runs_again_has_one_bot(marimo, pages, bob):
    page = pages()
    page.goto(marimo)
    here = bob.wait_for(lambda message: message.text == "the bot is here", after=0, timeout=SLOW_TIMEOUT / 1000)
    for _ in range(3):
        page.locator(".cm-content").filter(has_text="BotRoom").click()
        page.keyboard.press("Control+Enter")
        here = bob.wait_for(lambda message: message.text == "the bot is here", after=here, timeout=20)
    ping = bob.send("ping")
    bob.wait_for(lambda message: message.text == "pong", after=ping, timeout=20)
    bob.send("where are you?")  # answered after all answers to the ping
    bob.wait_for(lambda message: message.text.startswith("on the cells' thread"), after=ping, timeout=20)
    assert [message.text for message in bob.history() if message.seq > ping.seq].count("pong") == 1


@pytest.mark.parametrize(("mode", "cells"), [("edit", WORKER_CELL)])
def test_a_callback_shows_its_output_below_its_cell_and_can_be_stopped(marimo, pages, bob):
    page = pages()
    page.goto(marimo)
    bob.wait_for(lambda message: message.text == "the worker is here", after=0, timeout=SLOW_TIMEOUT / 1000)
    cell = page.locator(".marimo-cell").filter(has_text="the worker's cell")
    work = bob.send("one")
    bob.wait_for(lambda message: message.text == "done: one", after=work, timeout=20)
    bob.send("fail")
    cell.get_by_text("ValueError: no such work").wait_for(timeout=SLOW_TIMEOUT)
    cell.get_by_text("newest: fail").wait_for(timeout=SLOW_TIMEOUT)
    bob.send("stuck")
    cell.get_by_text("working on stuck").wait_for(timeout=SLOW_TIMEOUT)
    eventually(lambda: any(member.busy for member in bob.members if member.user == "worker"), 20, "a busy kernel")
    page.mouse.click(5, 400)  # outside the cells, where the key has another meaning
    page.keyboard.press("Control+i")
    cell.get_by_text("KeyboardInterrupt").wait_for(timeout=SLOW_TIMEOUT)
    again = bob.send("two")
    bob.wait_for(lambda message: message.text == "done: two", after=again, timeout=20)
    assert cell.get_by_text("callback.py").count() == 0
    eventually(lambda: not any(member.busy for member in bob.members), 20, "an idle kernel")


@pytest.mark.parametrize(("mode", "cells"), [("edit", WORKER_CELL)])
def test_the_window_tells_a_busy_kernel_from_one_that_has_ended(marimo, pages, bob):
    page = pages()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(marimo)
    bob.wait_for(lambda message: message.text == "the worker is here", after=0, timeout=SLOW_TIMEOUT / 1000)
    window = Window(page.get_by_role("region", name="Chat room lobby"))
    window.wait_connected()
    window.say("stuck")
    window.say("one more")
    window.status.filter(has_text="Kernel busy").wait_for(timeout=SLOW_TIMEOUT)
    page.mouse.click(5, 400)  # outside the cells, where the key has another meaning
    page.keyboard.press("Control+i")
    window.wait_connected()
    assert errors == []
    bob.send("die")
    window.status.filter(has_text="Disconnected: run the cell again").wait_for(timeout=SLOW_TIMEOUT)
    assert page.get_by_text("Failed to update model value").count() == 0


@pytest.mark.parametrize("cells", [ASKING_CELL])
def test_the_window_opens_while_the_next_cell_waits(marimo, pages, bob):
    """Also if the page is slow: its first script comes after what the kernel has sent without being asked."""
    page = pages()
    scripts = []
    page.route("**/@file/**", lambda route: scripts.append(route))  # noqa: PLW0108 - Playwright takes no builtin
    page.goto(marimo)
    question = bob.wait_for(lambda message: message.ask is not None, after=0, timeout=SLOW_TIMEOUT / 1000)
    while not scripts:
        page.wait_for_timeout(10)
    page.wait_for_timeout(OFFER_DELAYS[3] * 1_000)
    (script,) = scripts
    script.continue_()
    window = Window(page.get_by_role("region", name="Chat room lobby").first)
    window.wait_for("Continue?")
    bob.answer(question, "yes")
    assert bob.wait_for(lambda message: message.text == "continued", after=question, timeout=20)
    window.wait_for("continued")
