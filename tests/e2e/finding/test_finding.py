"""Finding messages in a real browser: the search, jumps, links to messages, dates; on the page and in JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bqserver.testing import RunningServer, running_server
from e2e.conftest import Jupyter, Window, expect
from e2e.test_large_rooms import START_MS, write_room
from support.ws_client import member

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

XSS = "needle <img src=x onerror=window.ran=1><script>window.ran=1</script>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    path: Path = tmp_path_factory.mktemp("finding") / "log.sqlite"
    with running_server(log=f"sqlite:{path}", open=True):
        pass
    write_room(path, "large", 3_000)
    with running_server(log=f"sqlite:{path}", open=True) as running:
        yield running


def open_page(page: Page, server: RunningServer, room: str, fragment: str = "") -> Window:
    page.goto(f"{server.url}/rooms/{room}{fragment}")
    window = Window(page.get_by_role("region", name=f"Chat room {room}"))
    window.wait_connected()
    return window


def marked(window: Window) -> Locator:
    return window.region.locator("[aria-current=location]")


@pytest.fixture
def page(pages: Callable[..., Page]) -> Page:
    return pages()


def test_a_hit_that_is_not_loaded_is_opened_by_keyboard_alone(
    page: Page, server: RunningServer, axe: Callable[..., list[str]]
):
    window = open_page(page, server, "large")
    page.keyboard.press("Control+f")
    page.keyboard.type("range 1495")
    window.region.get_by_role("option").filter(has_text="1495").wait_for()
    assert axe(page) == []
    page.keyboard.press("Enter")
    expect(marked(window)).to_have_attribute("data-seq", "1495")
    expect(marked(window)).to_be_focused()
    assert axe(page) == []
    before = marked(window).bounding_box()
    with member(server.url, "large") as bob:
        bob.say("while you read", "reading", "bob")
        bob.until("ack")
    window.region.get_by_role("button", name="Jump to latest").filter(has_text="1").wait_for()
    assert marked(window).bounding_box() == before
    page.keyboard.press("Control+f")
    page.keyboard.press("Escape")
    expect(window.region.get_by_role("button", name="Search", exact=True)).to_be_focused()
    window.region.get_by_role("button", name="Jump to latest").click()
    window.wait_for("while you read")


def test_the_excerpt_grows_to_the_newest_messages_without_a_gap(page: Page, server: RunningServer):
    window = open_page(page, server, "large", "#m=2800")
    expect(marked(window)).to_have_attribute("data-seq", "2800")
    shown: set[int] = set()
    scroller = window.region.locator(".bq-scroll")
    jump = window.region.get_by_role("button", name="Jump to latest")
    while jump.is_visible():
        shown.update(window.seqs())
        scroller.evaluate("element => element.scrollBy(0, 500)")  # so that a slow page skips none of the rows it draws
        page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    shown.update(window.seqs())
    assert set(range(2800, 3001)) <= shown


def test_links_quotes_and_dates_lead_to_messages(page: Page, server: RunningServer):
    with member(server.url, "large") as bob:
        bob.say("see below", "re 40", "bob", re=40)
        bob.until("ack")
    window = open_page(page, server, "large", "#m=30")
    expect(marked(window)).to_have_attribute("data-seq", "30")
    page.evaluate("location.hash = 'm=1000'")
    window.region.locator("[data-seq='1000'][aria-current=location]").wait_for()
    window.region.get_by_role("button", name="Jump to latest").click()
    window.messages.filter(has_text="see below").get_by_role("button", name="an earlier message").click()
    window.region.locator("[data-seq='40'][aria-current=location]").wait_for()
    window.region.get_by_role("button", name="Search").click()
    day = page.evaluate(f"new Date({START_MS + 86_400_000}).toLocaleDateString('sv')")
    window.region.get_by_label("Date").fill(day)
    window.region.get_by_role("button", name="Go to date").click()
    expect(marked(window)).to_have_attribute("data-seq", re.compile(r"^300[1-9]$"))


def test_what_was_written_stays_text_in_results(page: Page, server: RunningServer):
    with member(server.url, "xss") as bob:
        bob.say(XSS, "xss", "<b>bob</b>")
        bob.until("ack")
    window = open_page(page, server, "xss")
    window.region.get_by_role("button", name="Search").click()
    window.region.get_by_role("searchbox").fill("needle")
    hit = window.region.get_by_role("option")
    hit.wait_for()
    assert XSS in hit.inner_text()
    assert "<b>bob</b>" in hit.inner_text()
    assert hit.locator("img, script, b b").count() == 0
    assert page.evaluate("window.ran") is None


def test_a_window_in_jupyterlab_finds_through_its_kernel(page: Page, jupyter: Callable[..., Jupyter]):
    lab = jupyter()
    cells = (
        "from bqwidget import Room\nroom = Room('lab', user='ada')\nroom",
        "for number in range(400):\n    room.send(f'step {number}', wait=False)\nroom.send('done')",
    )
    notebook = lab.open(page, lab.notebook("finding.ipynb", *cells))
    notebook.run(0)
    window = notebook.room("lab")
    window.wait_connected()
    notebook.run(1)
    window.wait_for("done")
    window.region.get_by_role("textbox", name="Message").focus()
    page.keyboard.press("Control+f")
    page.keyboard.type("step 7")
    window.region.get_by_role("option").first.wait_for()
    page.keyboard.type("7")
    window.region.get_by_role("option").filter(has_text="step 77").wait_for()
    page.keyboard.press("Enter")
    marked(window).filter(has_text="step 77").wait_for()
    window.region.get_by_role("button", name="Jump to latest").click()
    window.wait_for("done")
