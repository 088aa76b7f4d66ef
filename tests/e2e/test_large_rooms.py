"""Large rooms: with 100,000 messages, or 5,000 arriving at once, the window opens, scrolls and follows as in a small one.

``BQWIDGET_TEST_SCROLL`` messages are scrolled through to the first (few by default; 100000 is the large size),
``BQWIDGET_TEST_BURST`` arrive at once. The limits are those of DESIGN 11; the measured values are printed.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bqserver.storage.sqlite.schema import SEQ_BITS, connect
from bqserver.testing import RunningServer, running_server
from e2e.conftest import longest_task
from support.ws_client import member

from bqwidget.protocol import Message, encode

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

LARGE_COUNT = 100_000
SCROLL_COUNT = int(os.environ.get("BQWIDGET_TEST_SCROLL", "1000"))
BURST_COUNT = int(os.environ.get("BQWIDGET_TEST_BURST", "5000"))

MAX_OPEN_MS = 500
MAX_JUMP_PX = 2
MAX_TASK_MS = 100
START_MS = 1_790_000_000_000
MAX_ROWS = 200
"""Rows in the DOM for any number of messages: 160, and drafts in flight."""
MAX_HEAP_GROWTH_BYTES = 2_000_000
"""Heap growth allowed after the same number of messages again, of which the newest 2,000 are kept."""


def text_of(number: int) -> str:
    """A short or long text or a code block, for rows of different heights."""
    if number % 23 == 0:
        return f"{number}:\n```python\nfor step in range({number}):\n    print(step)\n```"
    return f"{number}: {'words and ' * (number * 7 % 40)}so on"


def write_room(path: Path, name: str, count: int) -> None:
    """Write a room of ``count`` messages directly to the file, as ``MessageLog.append`` would."""
    with contextmanager(closing)(path) as db:
        (number,) = db.execute("INSERT INTO room (name) VALUES (?) RETURNING id", (name,)).fetchone()
        messages = (
            Message(seq=seq, room=name, user=("ada", "bob")[seq // 5 % 2], text=text_of(seq), at=START_MS + seq)
            for seq in range(1, count + 1)
        )
        rows = ((number << SEQ_BITS | m.seq, m.at, number, m.user, encode(m)) for m in messages)
        db.execute("BEGIN")
        db.executemany("INSERT INTO entry (id, at, room, principal, body) VALUES (?, ?, ?, ?, ?)", rows)
        db.execute("COMMIT")


def closing(path: Path) -> Iterator:
    db = connect(path)
    try:
        yield db
    finally:
        db.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    path = tmp_path_factory.mktemp("large") / "log.sqlite"
    write_room(path, "large", LARGE_COUNT)
    write_room(path, "long", SCROLL_COUNT)
    write_room(path, "read", 300)
    with running_server(log=f"sqlite:{path}", open=True) as running:
        yield running


# ---- opening

RECORD_FIRST_SHOWN = """
(last) => {
  const shown = () => document.querySelectorAll(".bq-chat li[data-seq]").length >= 50 &&
    document.querySelector(`.bq-chat li[data-seq="${last}"]`) !== null;
  const look = () => {
    if (shown()) window.shownAt ??= performance.now();
    else requestAnimationFrame(look);
  };
  look();
}
"""


@pytest.mark.alone
def test_a_room_of_100_000_messages_opens_at_its_end(server, pages):
    page = pages()
    page.add_init_script(f"({RECORD_FIRST_SHOWN})({LARGE_COUNT})")
    times = []
    for _ in range(5):
        page.goto(f"{server.url}/rooms/large")
        page.wait_for_function("() => window.shownAt")
        times.append(page.evaluate("window.shownAt"))
    print(f"the last 50 of {LARGE_COUNT:,}: {', '.join(f'{each:.0f}' for each in times)} ms after opening the page")
    assert statistics.median(times) < MAX_OPEN_MS
    assert page.locator(f".bq-chat li[data-seq='{LARGE_COUNT}']").is_visible()


# ---- scrolling up to the first message

SCROLL_UP = """
async ([step, first]) => {
  const scroll = document.querySelector(".bq-scroll");
  const frame = () => new Promise(requestAnimationFrame);
  const top = (row) => row.getBoundingClientRect().top;
  const rows = () => [...scroll.querySelectorAll("[data-seq]")];
  const result = { worst: 0, most: 0, seen: new Set(), disorder: 0 };
  for (let still = 0; still < 600;) {
    const all = rows();
    const seqs = all.map(({ dataset }) => Number(dataset.seq));
    result.most = Math.max(result.most, all.length);
    result.disorder += seqs.filter((seq, at) => at > 0 && seq <= seqs[at - 1]).length;
    for (const seq of seqs) result.seen.add(seq);
    if (seqs[0] <= first && (first > 1 || scroll.scrollTop === 0)) return { ...result, seen: result.seen.size };
    // Measure the bubble: the name above it may appear or disappear with the previous message.
    const anchored = all.find((row) => row.getBoundingClientRect().bottom > top(scroll)).querySelector(".bq-bubble");
    const before = scroll.scrollTop;
    const startTop = top(anchored);
    scroll.scrollTop = before - step;
    const moved = before - scroll.scrollTop;
    still = moved === 0 ? still + 1 : 0;
    for (let frames = 0; frames < 3; frames += 1) {
      await frame();
      if (anchored.isConnected) result.worst = Math.max(result.worst, Math.abs(top(anchored) - startTop - moved));
    }
  }
  throw new Error(`stopped at ${rows()[0]?.dataset.seq}`);
}
"""


def open_room(page: Page, server: RunningServer, room: str) -> None:
    page.goto(f"{server.url}/rooms/{room}")
    page.get_by_role("status").filter(has_text="Connected").wait_for()


def test_scrolling_up_to_the_first_message_does_not_jump(server, pages):
    page = pages()
    open_room(page, server, "long")
    result = page.evaluate(SCROLL_UP, [400 if SCROLL_COUNT <= 2_000 else 2_500, 1])
    print(f"{SCROLL_COUNT:,} messages up to the first: the line in view moved {result['worst']:.2f} px at most")
    assert result["worst"] <= MAX_JUMP_PX
    assert result["seen"] == SCROLL_COUNT
    assert result["disorder"] == 0
    assert result["most"] <= MAX_ROWS
    page.get_by_text("This is the beginning of long").wait_for()
    page.get_by_role("button", name="Jump to latest").click()
    page.locator(f"li[data-seq='{SCROLL_COUNT}']").wait_for()


READING_POSITION = """
() => {
  const scroll = document.querySelector(".bq-scroll").getBoundingClientRect();
  const bubbles = [...document.querySelectorAll(".bq-scroll [data-seq] .bq-bubble")];
  const read = bubbles.find((bubble) => bubble.getBoundingClientRect().top > scroll.top);
  return [Number(read.closest("[data-seq]").dataset.seq), read.getBoundingClientRect().top];
}
"""


def test_the_reading_position_is_kept_while_new_messages_arrive(server, pages):
    page = pages()
    open_room(page, server, "read")
    page.get_by_role("list", name="Messages").hover()
    page.mouse.wheel(0, -1_500)
    jump = page.get_by_role("button", name="Jump to latest")
    jump.wait_for()
    page.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    seq, top = page.evaluate(READING_POSITION)
    flood(server, "read", 300, "meanwhile")
    jump.get_by_text("99+").wait_for()
    assert page.evaluate(READING_POSITION)[0] == seq
    assert abs(page.evaluate(READING_POSITION)[1] - top) <= MAX_JUMP_PX
    jump.click()
    wait_over(page.get_by_role("list", name="Messages").locator("[data-seq]"), "meanwhile")


# ---- a flood

RECORD_ROWS = """
() => {
  window.disorder = 0;
  window.mostRows = 0;
  const look = () => {
    const last = [...document.querySelectorAll(".bq-chat")].at(-1);
    const seqs = [...last.querySelectorAll("[data-seq]")].map(({ dataset }) => Number(dataset.seq));
    window.disorder += seqs.filter((seq, at) => at > 0 && seq <= seqs[at - 1]).length;
    window.mostRows = Math.max(window.mostRows, seqs.length);
    requestAnimationFrame(look);
  };
  look();
}
"""


def flood(server: RunningServer, room: str, count: int, name: str) -> None:
    """Send ``count`` messages and wait for the last ack."""
    with member(server.url, room) as bob:
        for number in range(count):
            bob.say(f"{name} {text_of(number)}", f"{name}{number}", "bob")
        bob.say(f"{name} is over", f"{name}-end", "bob")
        while bob.until("ack")["cid"] != f"{name}-end":
            pass


def heap(page: Page) -> int:
    session = page.context.new_cdp_session(page)
    for _ in range(3):  # finalizers of the first collection free more
        session.send("HeapProfiler.collectGarbage")
    used: int = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return used


def wait_over(messages: Locator, name: str) -> None:
    messages.filter(has_text=f"{name} is over").wait_for(timeout=120_000)


def check_flood(page: Page, messages: Locator, server: RunningServer, room: str) -> int:
    """Flood up to six times, until a flood is not disturbed by other load. Returns the number of floods."""
    page.evaluate(RECORD_ROWS)
    longest: list[float] = []
    for attempt in ("first", "second", "third", "fourth", "fifth", "sixth"):
        with longest_task(page) as found:
            flood(server, room, BURST_COUNT, attempt)
            wait_over(messages, attempt)
        longest += found
        if longest[-1] <= MAX_TASK_MS:
            break
    rows = page.evaluate("window.mostRows")
    print(f"{BURST_COUNT:,} messages into {room}: the longest task {longest} ms, {rows} rows at most")
    assert min(longest) <= MAX_TASK_MS
    assert page.evaluate("window.disorder") == 0
    assert rows <= MAX_ROWS
    return len(longest)


@pytest.mark.alone
def test_a_flood_is_shown_in_order_and_leaks_no_memory(server, pages):
    page = pages()
    open_room(page, server, "flood")
    messages = page.get_by_role("list", name="Messages").locator("[data-seq]")
    flood(server, "flood", BURST_COUNT, "warm")
    wait_over(messages, "warm")
    before = heap(page)
    floods = check_flood(page, messages, server, "flood")
    growth = heap(page) - before
    print(f"the heap grew by {growth / 1e6:.2f} MB")
    assert growth < MAX_HEAP_GROWTH_BYTES
    result = page.evaluate(SCROLL_UP, [2_000, floods * (BURST_COUNT + 1) + 1])  # the start of the last flood
    assert result["seen"] >= BURST_COUNT + 1
    assert result["disorder"] == 0


SHOW = """
from bqwidget import Room
room = Room("{room}", user="ada", url="{url}").wait_open(30)
room
"""


@pytest.mark.alone
def test_a_large_room_and_a_flood_in_a_notebook(server, pages, jupyter):
    """A large room opens in a second view of a Room, then a flood arrives in a widget."""
    lab, page = jupyter(), pages()
    cells = [SHOW.format(room=room, url=server.url) for room in ("large", "widget")]
    notebook = lab.open(page, lab.notebook("large.ipynb", cells[0], "room", "room.close()", cells[1]))
    notebook.run(0)
    notebook.room("large").wait_connected()
    times = []
    while len(times) < 5 and min(times, default=MAX_OPEN_MS) >= MAX_OPEN_MS:  # until other load does not disturb it
        page.evaluate(RECORD_NEW_SHOWN, LARGE_COUNT)
        notebook.run(1)
        page.wait_for_function("() => window.shownAt")
        times.append(page.evaluate("window.shownAt - window.pressedAt"))
    print(f"the last 50 of {LARGE_COUNT:,}: {', '.join(f'{each:.0f}' for each in times)} ms after running the cell")
    assert min(times) < MAX_OPEN_MS
    notebook.run(2)
    for index in (0, 1):
        notebook.room("large", index).status.filter(has_text="You left").wait_for()
    notebook.run(3)
    window = notebook.room("widget")
    window.wait_connected()
    check_flood(page, window.messages, server, "widget")


RECORD_NEW_SHOWN = """
(last) => {
  const known = new Set(document.querySelectorAll(".bq-chat"));
  window.shownAt = undefined;
  addEventListener("keydown", ({ key }) => { if (key === "Enter") window.pressedAt = performance.now(); }, true);
  const look = () => {
    const shown = [...document.querySelectorAll(".bq-chat")].find((chat) => !known.has(chat));
    if (shown?.querySelector(`li[data-seq="${last}"]`)) window.shownAt ??= performance.now();
    else requestAnimationFrame(look);
  };
  look();
}
"""
