"""What only a browser's own eyes tell: directions of writing, paper, forced colours, a link that is copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from bqserver.testing import running_server
from support.ws_client import member

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server() -> Iterator:
    with running_server(open=True) as running:
        yield running


def open_room(page: Page, server, room: str, *texts: str, user: str = "bob") -> Locator:
    """The rows of a room in which somebody said this."""
    with member(server.url, room) as somebody:
        for number, text in enumerate(texts):
            somebody.say(text, f"c{number}", user)
            somebody.until("ack")
    page.goto(f"{server.url}/rooms/{room}")
    page.get_by_role("status").filter(has_text="Connected").wait_for()
    rows = page.get_by_role("list", name="Messages").locator("[data-seq]")
    assert rows.count() == len(texts)
    return rows


def css(locator: Locator, name: str) -> str:
    return locator.evaluate("(element, name) => getComputedStyle(element).getPropertyValue(name)", name)


def left(locator: Locator) -> float:
    box = locator.bounding_box()
    assert box is not None
    return box["x"]


def test_each_block_runs_in_the_direction_of_its_own_words(server, pages):
    rows = open_room(
        pages(),
        server,
        "directions",
        "שלום לכולם (abc) 1.",
        "English, then שלום.",
        "> اقتباس\n\n- بند أول\n- بند ثان\n\n> said in English",
        "שלום `code()` https://example.org/",
    )
    assert css(rows.nth(0).locator(".bq-text > p"), "direction") == "rtl"
    assert css(rows.nth(1).locator(".bq-text > p"), "direction") == "ltr"
    mixed = rows.nth(2)
    assert css(mixed.locator("blockquote").first, "direction") == "rtl"
    assert css(mixed.locator("blockquote").first, "border-right-width") == "3px"
    assert css(mixed.locator("blockquote").last, "direction") == "ltr"
    assert css(mixed.locator("li").first, "direction") == "rtl"
    assert css(rows.nth(3).locator("code"), "direction") == "ltr"
    for row in rows.all():
        assert css(row.locator("time"), "direction") == "ltr"


def test_the_window_is_mirrored_where_the_page_runs_from_right_to_left(server, pages):
    page = pages()
    row = open_room(page, server, "mirrored", "hello").first
    assert left(row.locator(".bq-avatar")) < left(row.locator(".bq-bubble"))
    assert left(page.get_by_role("heading")) < left(page.get_by_role("button", name="Copy link"))
    page.evaluate("document.documentElement.dir = 'rtl'")
    assert left(row.locator(".bq-avatar")) > left(row.locator(".bq-bubble"))
    assert left(page.get_by_role("heading")) > left(page.get_by_role("button", name="Copy link"))


def test_on_paper_there_is_all_that_was_said_and_nothing_to_press(server, pages):
    page = pages(color_scheme="dark")
    rows = open_room(page, server, "paper", *(["short"] * 40), "line\n" * 60)
    assert rows.last.locator(".bq-text").evaluate("text => text.scrollHeight > text.clientHeight")
    page.emulate_media(media="print")
    assert rows.last.locator(".bq-text").evaluate("text => text.scrollHeight <= text.clientHeight")
    region = page.get_by_role("region", name="Chat room paper")
    assert region.evaluate("window => window.clientHeight >= window.scrollHeight")
    assert [name for name in region.get_by_role("button").all_inner_texts() if name] == []
    assert not page.locator("textarea").is_visible()
    assert css(region, "background-color") == "rgb(255, 255, 255)"
    assert css(region, "color") == "rgb(0, 0, 0)"
    assert page.pdf().count(b"/Type /Page\n") > 1


def test_where_colours_are_forced_borders_say_what_colours_said(server, pages):
    page = pages(forced_colors="active")
    rows = open_room(page, server, "forced", "hello")
    assert css(rows.first.locator(".bq-bubble"), "border-top-style") == "solid"
    with member(server.url, "forced") as somebody:
        for user in ("me", "ada"):
            somebody.send({"type": "chat.react", "cid": user, "user": user, "target": 1, "emoji": f"{user}!"})
            somebody.until("ack")
    page.get_by_role("textbox", name="Your name").fill("me")
    mine, theirs = (page.get_by_role("button", name=f"{user}! 1: {user}") for user in ("me", "ada"))
    theirs.wait_for()
    assert (css(mine, "border-top-width"), css(theirs, "border-top-width")) == ("2px", "1px")


def test_the_link_to_share_is_the_page_s_plain_address(server, pages):
    page = pages(permissions=["clipboard-read", "clipboard-write"])
    open_room(page, server, "shared")
    page.evaluate("history.replaceState(null, '', '?token=secret#invite=code')")
    page.reload()
    page.get_by_role("button", name="Copy link").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == f"{server.url}/rooms/shared"
