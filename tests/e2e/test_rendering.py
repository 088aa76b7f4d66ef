"""Rendering that only a real browser shows: text direction, print, forced colours, and the copied link."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from bqserver.testing import running_server
from e2e.conftest import copy, expect
from support.eventually import eventually
from support.ws_client import member

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server() -> Iterator:
    with running_server(open=True) as running:
        yield running


def open_room(page: Page, server, room: str, *texts: str, user: str = "bob") -> Locator:
    """Open a room in which ``user`` has sent ``texts``. Returns its rows."""
    with member(server.url, room) as sender:
        for number, text in enumerate(texts):
            sender.say(text, f"c{number}", user)
            sender.until("ack")
    page.goto(f"{server.url}/rooms/{room}")
    page.get_by_role("status").filter(has_text="Connected").wait_for()
    rows = page.get_by_role("list", name="Messages").locator("[data-seq]")
    expect(rows).to_have_count(len(texts))
    return rows


def css(locator: Locator, name: str) -> str:
    return locator.evaluate("(element, name) => getComputedStyle(element).getPropertyValue(name)", name)


def left(locator: Locator) -> float:
    box = locator.bounding_box()
    assert box is not None
    return box["x"]


def test_each_block_has_the_direction_of_its_own_text(server, pages):
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


def test_the_window_is_mirrored_on_a_right_to_left_page(server, pages):
    page = pages()
    row = open_room(page, server, "mirrored", "hello").first
    assert left(row.locator(".bq-avatar")) < left(row.locator(".bq-bubble"))
    assert left(page.get_by_role("heading")) < left(page.get_by_role("button", name="Share"))
    page.evaluate("document.documentElement.dir = 'rtl'")
    eventually(lambda: left(row.locator(".bq-avatar")) > left(row.locator(".bq-bubble")), what="a mirrored row")
    assert left(page.get_by_role("heading")) > left(page.get_by_role("button", name="Share"))


def test_print_shows_all_messages_in_full_and_no_buttons(server, pages):
    page = pages(color_scheme="dark")
    rows = open_room(page, server, "paper", *(["short"] * 40), "line\n" * 60)
    long = rows.last.locator(".bq-text")
    eventually(lambda: long.evaluate("text => text.scrollHeight > text.clientHeight"), what="a folded message")
    page.emulate_media(media="print")
    eventually(lambda: long.evaluate("text => text.scrollHeight <= text.clientHeight"), what="the whole message")
    region = page.get_by_role("region", name="Chat room paper")
    assert region.evaluate("window => window.clientHeight >= window.scrollHeight")
    assert [name for name in region.get_by_role("button").all_inner_texts() if name] == []
    assert not page.locator("textarea").is_visible()
    assert css(region, "background-color") == "rgb(255, 255, 255)"
    assert css(region, "color") == "rgb(0, 0, 0)"
    assert page.pdf().count(b"/Type /Page\n") > 1


def test_with_forced_colours_borders_replace_colours(server, pages):
    page = pages(forced_colors="active")
    rows = open_room(page, server, "forced", "hello")
    assert css(rows.first.locator(".bq-bubble"), "border-top-style") == "solid"
    with member(server.url, "forced") as sender:
        for user in ("me", "ada"):
            sender.send({"type": "chat.react", "cid": user, "user": user, "target": 1, "emoji": f"{user}!"})
            sender.until("ack")
    page.get_by_role("textbox", name="Your name").fill("me")
    mine, theirs = (page.get_by_role("button", name=f"{user}! 1: {user}") for user in ("me", "ada"))
    theirs.wait_for()
    assert (css(mine, "border-top-width"), css(theirs, "border-top-width")) == ("2px", "1px")


def test_the_copied_link_is_the_page_s_address_without_secrets(server, pages):
    page = pages(permissions=["clipboard-read", "clipboard-write"])
    open_room(page, server, "shared")
    page.evaluate("history.replaceState(null, '', '?token=secret#invite=code')")
    page.reload()
    page.get_by_role("button", name="Share").click()
    copy(page.get_by_role("button", name="Copy link"))
    assert page.evaluate("navigator.clipboard.readText()") == f"{server.url}/rooms/shared"


def test_code_and_conversations_are_copied_as_they_read_also_over_plain_http(server, pages):
    page = pages()
    page.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', {value: undefined})")
    rows = open_room(page, server, "copies", "```python\nx = 1\n```", "below " * 20 + "\n\nmore" * 20)
    box = page.get_by_role("textbox", name="Message", exact=True)

    def pasted() -> str:
        box.fill("")
        box.press("ControlOrMeta+v")
        return box.input_value()

    rows.first.hover()
    copy(page.get_by_role("button", name="Copy", exact=True))
    assert pasted() == "x = 1"
    rows.last.get_by_role("button", name="Show all").wait_for()
    rows.first.hover()
    page.get_by_role("list", name="Messages").evaluate("list => getSelection().selectAllChildren(list)")
    page.keyboard.press("ControlOrMeta+c")
    text = pasted()
    assert all(words in text for words in ("bob", "x = 1", "below below", "more"))
    assert not [label for label in ("Copy", "Copied", "Show all", "React", "Reply") if label in text]
