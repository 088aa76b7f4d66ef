"""Markdown in Chromium: formulas, tables and headings, on the page and in JupyterLab's window, and payloads in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from bqserver.testing import running_server
from e2e.conftest import expect
from support.dom_monitor import DomMonitor
from support.ws_client import member
from support.xss_payloads import payloads

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PAYLOADS = [*payloads(), r"\href{javascript:ran(1)}{x}", r"\text{<img src=x onerror=ran(2)>}", r"\class{bq-send}{x}"]
MESSAGE_CHARACTERS = 1_900
"""Longer texts with so many delimiters are shown as they are."""
MESSAGES_AT_ONCE = 10
ARE_DRAWN = "seqs => seqs.every((seq) => document.querySelector(`[data-seq='${seq}'] :is(h1, table)`) !== null)"
COUNT_DRAWN = """seqs => ["h1", "td"].map((name) =>
  seqs.reduce((count, seq) => count + document.querySelectorAll(`[data-seq='${seq}'] ${name}`).length, 0))"""
FORMULA = r"\frac{a}{b} + \sqrt{x_1}"


@pytest.fixture(scope="module")
def server() -> Iterator:
    with running_server(open=True) as running:
        yield running


def open_room(page: Page, server, room: str, *texts: str) -> Locator:
    with member(server.url, room) as sender:
        for number, text in enumerate(texts):
            sender.say(text, f"c{number}", "bob")
            sender.until("ack")
    page.goto(f"{server.url}/rooms/{room}")
    page.get_by_role("status").filter(has_text="Connected").wait_for()
    return page.get_by_role("list", name="Messages").locator("[data-seq]")


def test_a_formula_loads_its_program_once_and_becomes_mathml(server, pages):
    page = pages()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[-1]))
    rows = open_room(page, server, "plain", "no formula here, only `code` and *em*")
    expect(rows).to_have_count(1)
    assert "math.js" not in asked
    with member(server.url, "plain") as sender:
        for number in range(3):
            sender.say(f"inline ${FORMULA}$ here\n\n$$\n{FORMULA} + {number}\n$$", f"f{number}", "bob")
            sender.until("ack")
    page.wait_for_function("() => document.querySelectorAll('math').length === 6")
    assert asked.count("math.js") == 1
    expect(rows.last.locator("math mfrac")).to_have_count(2)
    assert rows.last.locator(".bq-formula > math").get_attribute("display") == "block"


def test_a_formula_stays_as_typed_until_its_program_can_be_loaded(server, pages):
    page = pages()
    page.clock.install()
    broken = True
    page.route("**/static/math.js", lambda route: route.abort() if broken else route.continue_())
    with page.expect_request("**/static/math.js"):
        rows = open_room(page, server, "offline", f"see ${FORMULA}$ and $\\nosuchcommand$")
    expect(rows.first.locator(".bq-text")).to_have_text(f"see ${FORMULA}$ and $\\nosuchcommand$")
    broken = False
    page.clock.run_for(6_000)
    rows.first.locator("math mfrac").wait_for(state="attached")
    assert "$\\nosuchcommand$" in (rows.first.locator(".bq-text").text_content() or "")


def test_a_wide_table_scrolls_in_itself(server, pages):
    page = pages()
    header, line = "|".join(f"column {n}" for n in range(30)), "|".join("---" for _ in range(30))
    rows = open_room(page, server, "wide", f"{header}\n{line}\n{header}")
    grid = rows.first.get_by_role("group", name="Table")
    assert grid.evaluate("grid => grid.scrollWidth > grid.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    grid.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("grid => grid.scrollLeft > 0", arg=grid.element_handle())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_complete_markdown(server, pages, axe, scheme):
    page = pages(color_scheme=scheme)
    room = f"complete-{scheme}"
    rows = open_room(
        page,
        server,
        room,
        "# One\n\n### Three\n\n###### Six\n\ntext\n\n---\n\n> a\n>> b\n\n- [x] done\n- [ ] open\n\n3. a\n7. b",
        "a | b\n:-- | --:\n1 | **2**",
        f"inline ${FORMULA}$\n\n$$\n{FORMULA}\n$$",
        "x = 1\n# done\n\nTraceback (most recent call last):\n  File x\nValueError: y",
    )
    rows.nth(2).locator("math").nth(1).wait_for()
    page.get_by_role("textbox", name="Message").fill("*formatted*")
    page.get_by_role("button", name="Send as plain text").click()
    assert axe(page) == []


def test_payloads_in_formulas_cells_and_headings_run_nothing(server, pages):
    page = pages()
    monitor = DomMonitor(page, server.url)
    texts, parts = [], []
    headings = cells = 0
    for payload in PAYLOADS:
        one = payload.replace("\n", " ").replace("\r", " ")
        part = (
            f"# {one}\n\n| a |\n|---|\n| {one} |\n\n${one}$ and \\({one}\\)\n\n$$\n{one}\n$$\n\n$\\text{{{one}}}$\n\n"
        )
        if parts and sum(map(len, parts)) + len(part) > MESSAGE_CHARACTERS:
            texts.append("".join(parts))
            parts = []
        parts.append(part)
    texts.append("".join(parts))
    with member(server.url, "attempts") as attacker:
        page.goto(f"{server.url}/rooms/attempts")
        page.get_by_role("status").filter(has_text="Connected").wait_for()
        for start in range(0, len(texts), MESSAGES_AT_ONCE):
            for number, text in enumerate(texts[start : start + MESSAGES_AT_ONCE], start):
                attacker.say(text, f"c{number}", "eve")
            seqs = [attacker.until("ack")["seq"] for _ in texts[start : start + MESSAGES_AT_ONCE]]
            page.wait_for_function(ARE_DRAWN, arg=seqs)
            shown = page.evaluate(COUNT_DRAWN, seqs)
            headings, cells = headings + shown[0], cells + shown[1]
    page.wait_for_function("() => document.querySelectorAll('math').length > 50")
    assert monitor.report() == []
    assert min(headings, cells) > 0.9 * len(PAYLOADS)
