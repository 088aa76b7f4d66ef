"""A live message in many windows: ``python tests/benchmarks/streaming.py [--windows 10] [--tokens 1000] [--rate 100]``.

A kernel writes it, token by token, with ``Room.write``; another kernel listens; the windows are pages in Chromium, and
with ``--jupyterlab`` one more is in a notebook. The server keeps its log in SQLite. Printed: the time from a token to
the DOM, long tasks, the size of the log, and the bytes that a page received. ``--characters 4``: shorter tokens.

``--stops 100`` measures instead how long it takes from a click on "Stop" in a browser until the handler's generator is
closed in its kernel: a sync, an async and a background one. All of it runs on this machine, so other load, and few
cores, lengthen the times.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent), str(TESTS.parent / "server")]

from bqserver.testing import running_server  # noqa: E402
from conftest import CHROMIUM_FLAGS, find_chromium  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from support.kernels import Kernel, kernel  # noqa: E402
from support.paths import PYTHONPATH  # noqa: E402

from bqwidget import Room  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RECORD = """
() => {
  window.seen = [];
  window.tasks = [];
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) window.tasks.push(Math.round(duration));
  }).observe({ entryTypes: ["longtask"] });
  new MutationObserver(() => {
    const numbers = [...document.querySelectorAll(".bq-written .bq-text")].at(-1)?.textContent.match(/\\d+/g);
    if (numbers) window.seen.push([performance.timeOrigin + performance.now(), Number(numbers.at(-1))]);
  }).observe(document.querySelector(".bq-list"), { subtree: true, childList: true, characterData: true });
}
"""
"""Records when each state of the text was in the DOM, by its last number."""
JOIN = """
import asyncio, json, time
from bqwidget import Room
room = Room("streaming", user="{user}", url="{url}", separate=True).wait_open(60)
"""
LISTEN = """
@room.on_message(live=True)
def heard(message):
    global length
    length = len(message.text)
"""
WRITE = """
sent = []
with room.write() as out:
    room.wait_for(lambda message: message.text == "go", timeout=300)
    start = time.monotonic()
    for number, token in enumerate({tokens!r}):
        time.sleep(max(0.0, start + number / {rate} - time.monotonic()))
        sent.append(time.time() * 1_000)
        out.append(token)
print(json.dumps(sent))
"""
HANDLER = """
closed = []
@room.on_message{options}
{kind}def answer(message):
    try:
        while True:
            yield "token "
            {pause}
    finally:
        closed.append(time.time() * 1_000)
"""
HANDLERS = {
    "sync": {"options": "", "kind": "", "pause": "time.sleep(0.02)"},
    "async": {"options": "", "kind": "async ", "pause": "await asyncio.sleep(0.02)"},
    "background": {"options": "(background=True)", "kind": "", "pause": "time.sleep(0.02)"},
}
CLICK = """
() => {
  [...document.querySelectorAll(".bq-stop")].at(-1).click();
  return performance.timeOrigin + performance.now();
}
"""
WINDOW = """
from bqwidget import Room
room = Room("streaming", user="reader", url="{url}", separate=True)
room
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="A live message in many windows.")
    parser.add_argument("--windows", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=100, help="tokens a second (default: %(default)s)")
    parser.add_argument("--characters", type=int, help="of each token (default: words with some Markdown)")
    parser.add_argument("--jupyterlab", action="store_true", help="with one window in JupyterLab")
    parser.add_argument("--stops", type=int, default=0, help="measure so many stops of each kind of handler")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bqwidget-bench-"))
        server = stack.enter_context(running_server(open=True, log=f"sqlite:{folder}/log.sqlite", rate_limit=0))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=find_chromium(playwright), args=CHROMIUM_FLAGS)
        environ = {**os.environ, "PYTHONPATH": PYTHONPATH}
        author, listener = (stack.enter_context(kernel(environ)) for _ in range(2))
        author.run(JOIN.format(user="bot", url=server.url))
        asker = stack.enter_context(Room("streaming", user="asker", url=server.url)).wait_open(60)
        url, sizes = f"{server.url}/rooms/streaming", list[int]()
        if options.stops:
            measure_stops(open_page(browser, url), author, asker, options.stops)
            return
        listener.run(JOIN.format(user="listener", url=server.url) + LISTEN)
        pages = [open_page(browser, url, sizes if number == 0 else None) for number in range(options.windows)]
        lab = open_lab(browser, stack, Path(folder), server.url) if options.jupyterlab else None
        sizes.clear()
        tokens = [token(number, options.characters) for number in range(1, options.tokens + 1)]
        cell = author.begin(WRITE.format(tokens=tokens, rate=options.rate))
        for page in [*pages, *([lab] if lab else [])]:
            page.get_by_text("writing…").wait_for()
        before = log_of(Path(folder) / "log.sqlite")
        asker.send("go")
        author.until(lambda: (pages[0].wait_for_timeout(20), cell.is_done)[1], "the end of the message")
        text, sent = "".join(tokens), json.loads(cell.text)
        for page in [*pages, *([lab] if lab else [])]:  # the end of the text may be drawn after the mark has gone
            page.wait_for_function("last => window.seen.at(-1)?.[1] === last", arg=options.tokens)
        show("page", pages, sent)
        if lab:
            show("JupyterLab", [lab], sent)
        print(f"received: {sum(sizes) / len(text):.1f} x the text, by a page")
        entries, size = (
            after - earlier for after, earlier in zip(log_of(Path(folder) / "log.sqlite"), before, strict=True)
        )
        print(f"log: {entries} entries after the begin, one of them 'go'; {size / len(text):.2f} x the text")


def token(number: int, characters: int | None) -> str:
    """A word with its number; every 20th ends a paragraph, some are bold or code. Or so many ``characters``."""
    if characters is not None:
        return f"{number}".rjust(characters - 1, "x") + " "
    word = {7: f"**bold{number}**", 13: f"`code{number}`"}.get(number % 20, f"word{number}")
    return word + ("\n\n" if number % 20 == 0 else " ")


def open_page(browser: Browser, url: str, sizes: list[int] | None = None) -> Page:
    """``sizes`` gets those of its frames; only of one page, for to report them costs as much as to draw them."""
    page = browser.new_context(viewport={"width": 760, "height": 700}).new_page()
    if sizes is not None:
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: sizes.append(len(frame) + 4)))
    page.goto(url)
    page.get_by_role("status").filter(has_text="Connected").wait_for()
    page.get_by_role("textbox", name="Your name").fill("reader")
    page.evaluate(RECORD)
    return page


def open_lab(browser: Browser, stack: ExitStack, home: Path, url: str) -> Page:
    """A page of JupyterLab with a notebook whose cell shows the room."""
    from e2e.conftest import start_lab

    folders = {name: str(home / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    environ = {**os.environ, **folders, "HOME": str(home), "JUPYTER_RUNTIME_DIR": str(home / "jupyter-runtime")}
    process, lab = start_lab(home, environ, home / "notebooks", "JupyterLab Light")
    stack.callback(process.wait)
    stack.callback(process.kill)
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    lab.open(page, lab.notebook("streaming.ipynb", WINDOW.format(url=url))).run(0)
    page.get_by_role("status").filter(has_text="Connected").wait_for(timeout=60_000)
    page.evaluate(RECORD)
    return page


def measure_stops(page: Page, author: Kernel, asker: Room, count: int) -> None:
    question = None
    for name, parts in HANDLERS.items():
        author.run(HANDLER.format(**parts))
        times = []
        for _ in range(count):
            # A person asks: of two programs that only answer each other, the room stops both after a while.
            page.get_by_role("textbox", name="Message", exact=True).fill("?")
            page.keyboard.press("Enter")
            question = asker.wait_for(lambda message: message.text == "?", timeout=60, after=question or 0)
            stop = page.get_by_role("button", name="Stop", exact=True)
            stop.wait_for()
            clicked = page.evaluate(CLICK)
            asker.wait_for(lambda message, seq=question.seq: message.re == seq, timeout=60, after=question)
            times.append(float(author.run("print(closed[-1])").text) - clicked)
            stop.wait_for(state="detached")
        print(f"stop to closed, {name}: {quantiles(times)}")


def show(where: str, pages: Sequence[Page], sent: list[float]) -> None:
    latencies: list[float] = []
    tasks: list[int] = []
    for page in pages:
        tasks += page.evaluate("window.tasks")
        seen = iter(page.evaluate("window.seen"))
        at, last = next(seen)
        for number, sent_at in enumerate(sent, 1):
            while last < number:
                at, last = next(seen)
            latencies.append(at - sent_at)
    print(f"token to DOM, {where} ({len(pages)} windows): {quantiles(latencies)}")
    print(f"long tasks (over 50 ms), {where}: {len(tasks)}, the longest {max(tasks, default=0)} ms")


def quantiles(times: list[float]) -> str:
    """``times`` in milliseconds."""
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else times * 99
    return f"p50 {cuts[49]:.0f} ms, p95 {cuts[94]:.0f} ms, max {max(times):.0f} ms"


def log_of(path: Path) -> tuple[int, int]:
    """The number of entries, and the bytes of their records."""
    with closing(sqlite3.connect(path)) as log:
        return log.execute("SELECT count(*), sum(length(body)) FROM entry").fetchone()


if __name__ == "__main__":
    main()
