"""A live message in many windows: ``python tests/benchmarks/streaming.py [--windows 10] [--tokens 1000] [--rate 100]``.

A member writes it, token by token, with ``Room.write``; another member listens; the windows are pages in Chromium. The
server keeps its log in SQLite. Printed: the time from a token to the page's DOM, long tasks, the size of the log, and
the bytes that a window received. All of it runs on this machine, so other load, and few cores, lengthen the times.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent), str(TESTS.parent / "server")]

from bqserver.testing import running_server  # noqa: E402
from conftest import CHROMIUM_FLAGS, find_chromium  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

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
    const numbers = [...document.querySelectorAll(".bq-text")].at(-1)?.textContent.match(/\\d+/g);
    if (numbers) window.seen.push([performance.timeOrigin + performance.now(), Number(numbers.at(-1))]);
  }).observe(document.querySelector(".bq-list"), { subtree: true, childList: true, characterData: true });
}
"""
"""Records when each state of the text was in the DOM, by its last number."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A live message in many windows.")
    parser.add_argument("--windows", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=100, help="tokens a second (default: %(default)s)")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bqwidget-bench-") as folder,
        running_server(open=True, log=f"sqlite:{folder}/log.sqlite") as server,
        Room("streaming", user="bot", url=server.url) as author,
        Room("streaming", user="reader", url=server.url) as reader,
        sync_playwright() as playwright,
    ):
        for room in (author, reader):
            room.wait_open(20)
        browser = playwright.chromium.launch(executable_path=find_chromium(playwright), args=CHROMIUM_FLAGS)
        sizes: list[int] = []
        pages = [open_page(browser, f"{server.url}/rooms/streaming", sizes) for _ in range(options.windows)]
        sizes.clear()
        tokens = [token(number) for number in range(1, options.tokens + 1)]
        sent = write(author, tokens, options.rate, pages)
        text = "".join(tokens)
        for page in pages:
            page.get_by_text("writing…").wait_for(state="detached")
        show(pages, sent)
        print(f"received: {sum(sizes) / len(pages) / len(text):.1f} x the text, per window")
        entries, size = log_of(Path(folder) / "log.sqlite")
        print(f"log: {entries} entries, {size / len(text):.2f} x the text")


def token(number: int) -> str:
    """A word with its number; every 20th ends a paragraph, some are bold or code."""
    word = {7: f"**bold{number}**", 13: f"`code{number}`"}.get(number % 20, f"word{number}")
    return word + ("\n\n" if number % 20 == 0 else " ")


def open_page(browser: Browser, url: str, sizes: list[int]) -> Page:
    page = browser.new_context(viewport={"width": 760, "height": 700}).new_page()
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: sizes.append(len(frame))))
    page.goto(url)
    page.get_by_role("status").filter(has_text="Connected").wait_for()
    page.evaluate(RECORD)
    return page


def write(author: Room, tokens: list[str], rate: float, pages: list[Page]) -> list[float]:
    """Returns when each token was sent, in milliseconds since the epoch."""
    sent: list[float] = []
    with author.write() as out:
        for page in pages:
            page.get_by_text("writing…").wait_for()
        start = time.monotonic()
        for number, each in enumerate(tokens):
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            sent.append(time.time() * 1_000)
            out.append(each)
    return sent


def show(pages: list[Page], sent: list[float]) -> None:
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
    cuts = statistics.quantiles(latencies, n=100)
    print(
        f"token to DOM, {len(pages)} windows: p50 {cuts[49]:.0f} ms, p95 {cuts[94]:.0f} ms, max {max(latencies):.0f} ms"
    )
    print(f"long tasks (over 50 ms): {len(tasks)}, the longest {max(tasks, default=0)} ms")


def log_of(path: Path) -> tuple[int, int]:
    """The number of entries, and the bytes of their records."""
    with closing(sqlite3.connect(path)) as log:
        return log.execute("SELECT count(*), sum(length(body)) FROM entry").fetchone()


if __name__ == "__main__":
    main()
